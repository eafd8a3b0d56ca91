// Package weborigin is an origin.Source over HTTP: names are paths below one base URL.
// The read path is Source.Open, request, object.
//
// The base URL is configured, so clients never choose a host. The address that a host
// resolves to is checked when it is dialed: addresses that are not public are refused
// (unless Config.AllowPrivate), whatever their spelling and however DNS changes. At most
// three redirects are followed, to allowed hosts only, with the same check.
//
// Every request has the same headers: no credentials, no Range, identity encoding, and no
// cookies, except that a redirect to the same host gets those that the host has set just
// before. An answer is accepted only if it is a 200 (or 203), coded in gzip at most, whose
// body has the stated length and digest.
//
// A request is sent once. The only exception is in net/http: if an idle connection turns
// out to be closed before a byte of the answer has arrived, it sends the request again on
// a new connection.
package weborigin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/origin/internal/body"
	"github.com/novasocial/imagetier/origin/rfc9111"
)

// Config configures a Source.
type Config struct {
	// Base is the URL that names are appended to: http or https, a host, and a path
	// in the server's own spelling. A final "/" is added if missing. Required; no user,
	// query or fragment.
	Base string
	// RedirectHosts are the hosts, in addition to Base's, to which redirects are followed, as
	// written in a URL: "cdn.example.com", "cdn.example.com:8443". Redirects keep Base's scheme or
	// go from http to https.
	RedirectHosts []string
	// AllowPrivate allows connections to addresses that are not public: loopback,
	// private, link-local and so on.
	AllowPrivate bool
	// MissingIs403 maps status 403 to ErrNotFound, for servers that answer so for a
	// missing file.
	MissingIs403 bool
	// MaxHeuristic bounds the heuristic lifetime of answers without an explicit one: a
	// tenth of the time since Last-Modified (RFC 9111, 4.2.2). 0 disables the
	// heuristic: such answers are Silent.
	MaxHeuristic time.Duration
	// UserAgent is sent with every request. If "", it is "imagetier/1".
	UserAgent string
	// TLS is the configuration for https. If nil: the system's roots, TLS 1.2 and up.
	TLS *tls.Config
	// Resolver resolves hosts. If nil, net.DefaultResolver is used.
	Resolver *net.Resolver
	// Now is the clock for computing ages. If nil, time.Now is used.
	Now func() time.Time
}

// Source opens originals below a base URL. It is safe for concurrent use.
type Source struct {
	base   *url.URL
	hosts  map[string]bool // allowed hosts, as returned by hostOf
	cfg    Config
	client *http.Client
}

// New returns a Source. It checks the configuration without using the network.
func New(cfg Config) (*Source, error) {
	base, err := parseBase(cfg.Base)
	if err != nil {
		return nil, err
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "imagetier/1"
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Source{base: base, cfg: cfg, hosts: map[string]bool{hostOf(base): true}}
	for _, host := range cfg.RedirectHosts {
		u, err := url.Parse("//" + host)
		if err != nil || u.Host != host || u.Hostname() == "" {
			return nil, fmt.Errorf("HTTP origin: redirect host %q is not a host or host:port", host)
		}
		s.hosts[hostOf(u)] = true
	}
	s.client = &http.Client{Transport: transport(cfg), CheckRedirect: s.checkRedirect}
	return s, nil
}

func parseBase(base string) (*url.URL, error) {
	u, err := url.Parse(base)
	switch {
	case err != nil:
		return nil, fmt.Errorf("HTTP origin: %w", err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "":
		return nil, fmt.Errorf("HTTP origin: %q is not http://host/prefix or https://host/prefix", u.Redacted())
	case u.User != nil:
		return nil, fmt.Errorf("HTTP origin: %q has a user: credentials are not sent to HTTP origins", u.Redacted())
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, fmt.Errorf("HTTP origin: %q has a query or a fragment: names are appended to it", u.Redacted())
	}
	if !strings.HasSuffix(u.Path, "/") {
		u.RawPath = u.EscapedPath() + "/"
		u.Path += "/"
	}
	if strings.Contains(u.EscapedPath(), "//") {
		return nil, fmt.Errorf("HTTP origin: %q has an empty segment", u.Redacted())
	}
	return u, nil
}

// transport returns a Transport that ignores the environment, decodes no content
// codings, and detects dead connections.
func transport(cfg Config) *http.Transport {
	dialer := &net.Dialer{Timeout: 3 * time.Second, Resolver: cfg.Resolver}
	if !cfg.AllowPrivate {
		dialer.ControlContext = refuseInternal
	}
	origin.DetectDeadPeers(dialer)
	return &http.Transport{
		Proxy:                  nil, // a proxy would dial for us and bypass the address check
		DialContext:            dialer.DialContext,
		TLSClientConfig:        cfg.TLS.Clone(),
		TLSHandshakeTimeout:    3 * time.Second,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 3 * time.Second},
		DisableCompression:     true, // package body decodes coded answers itself
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    128,
		IdleConnTimeout:        60 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// Open implements origin.Source. name is a path below the base with an optional query,
// percent-encoded as in a URL. It is sent unchanged, or is ErrName if malformed.
func (s *Source) Open(ctx context.Context, name string, cond origin.Cond) (*origin.Object, error) {
	obj, err := s.request(ctx, http.MethodGet, name, cond)
	if err != nil {
		return nil, fmt.Errorf("get %q: %w", name, err)
	}
	return obj, nil
}

// Head implements origin.Source. If the server does not support HEAD (405, 501), it sends
// a GET and does not read the body.
func (s *Source) Head(ctx context.Context, name string) (origin.Metadata, error) {
	obj, err := s.request(ctx, http.MethodHead, name, origin.Cond{})
	if errors.Is(err, errHeadRefused) {
		obj, err = s.request(ctx, http.MethodGet, name, origin.Cond{})
	}
	if err != nil {
		return origin.Metadata{}, fmt.Errorf("head %q: %w", name, err)
	}
	obj.Body.Close()
	return obj.Metadata, nil
}

// request sends one request. After a HEAD the Object's Body must not be read.
func (s *Source) request(ctx context.Context, method, name string, cond origin.Cond) (*origin.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t, err := parseTarget(name)
	switch {
	case err != nil:
		return nil, err
	case cond.VersionID != "":
		return nil, fmt.Errorf("%w: HTTP has no versions", origin.ErrNotFound)
	case !cond.CanMatch():
		return nil, fmt.Errorf("%w: no entity tag can be %q", origin.ErrChanged, cond.Match)
	}
	req := &http.Request{Method: method, URL: t.under(s.base), Host: s.base.Host, Header: s.header(cond)}
	requested := s.cfg.Now()
	resp, err := s.client.Do(req.WithContext(ctx))
	if err != nil {
		return nil, explain(ctx, err)
	}
	obj, err := s.object(ctx, resp, cond, rfc9111.Answer{
		Header: resp.Header, Requested: requested, Received: s.cfg.Now(), MaxHeuristic: s.cfg.MaxHeuristic,
	})
	if err != nil {
		discard(resp)
		return nil, err
	}
	return obj, nil
}

// header returns the headers of a request: those of every request, and the condition.
func (s *Source) header(cond origin.Cond) http.Header {
	h := http.Header{
		"Accept":          {"*/*"},
		"Accept-Encoding": {"identity"},
		"User-Agent":      {s.cfg.UserAgent},
	}
	if cond.Match != "" {
		h.Set("If-Match", `"`+cond.Match+`"`)
	}
	if origin.ValidETag(cond.NoneMatch) {
		h.Set("If-None-Match", cond.NoneMatch)
	}
	if !cond.ModifiedSince.IsZero() {
		h.Set("If-Modified-Since", cond.ModifiedSince.UTC().Format(http.TimeFormat))
	}
	return h
}

// object returns the Object of a 200, or of a 203 (a 200 that a proxy on the way has
// transformed, RFC 9110, 15.3.4), or the error of any other answer.
func (s *Source) object(
	ctx context.Context, resp *http.Response, cond origin.Cond, a rfc9111.Answer,
) (*origin.Object, error) {
	if resp.StatusCode == http.StatusNotModified {
		return nil, notModified(a, cond)
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNonAuthoritativeInfo {
		return nil, s.statusError(resp, cond)
	}
	etag := etagOf(resp.Header)
	if err := cond.CheckETag(etag); err != nil {
		return nil, err
	}
	obj := &origin.Object{Metadata: origin.Metadata{
		ETag: etag, LastModified: lastModified(resp.Header), Date: a.Date(), Fresh: rfc9111.Freshness(a),
	}}
	err := body.Open(ctx, body.Answer{Body: resp.Body, Size: resp.ContentLength, Header: resp.Header}, obj)
	if err != nil {
		return nil, err
	}
	return obj, nil
}

func notModified(a rfc9111.Answer, cond origin.Cond) error {
	etag := etagOf(a.Header)
	if cond.NoneMatch == "" && cond.ModifiedSince.IsZero() {
		return fmt.Errorf("%w: status 304 for an unconditional request", origin.ErrRejected)
	}
	if etag != "" && cond.NoneMatch != "" && !origin.SameETag(etag, cond.NoneMatch) {
		return fmt.Errorf("%w: status 304 for another entity tag", origin.ErrRejected)
	}
	if etag == "" {
		etag = cond.NoneMatch
	}
	return &origin.NotModified{
		ETag: etag, LastModified: lastModified(a.Header), Date: a.Date(), Fresh: rfc9111.Revalidated(a),
	}
}

// etagOf returns the entity tag of an answer, or "" if it is malformed or ambiguous.
func etagOf(h http.Header) string {
	tags := h.Values("ETag")
	for _, tag := range tags {
		if !origin.ValidETag(tag) || tag != tags[0] {
			return ""
		}
	}
	return h.Get("ETag")
}

func lastModified(h http.Header) time.Time {
	t, err := http.ParseTime(h.Get("Last-Modified"))
	if err != nil {
		return time.Time{}
	}
	return t
}

// discard closes the body. A short one is read first, for at most 50 ms, so that the
// connection can be reused: many answers are short errors.
func discard(resp *http.Response) {
	if resp.ContentLength >= 0 && resp.ContentLength <= 16<<10 {
		late := time.AfterFunc(50*time.Millisecond, func() { resp.Body.Close() })
		_, _ = io.Copy(io.Discard, resp.Body)
		late.Stop()
	}
	resp.Body.Close()
}

// explain wraps the error of a request without an answer in its sentinel.
func explain(ctx context.Context, err error) error {
	var inURL *url.Error
	if errors.As(err, &inURL) {
		err = inURL.Err // without the URL, which may contain a signature
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return origin.NoAnswer(err)
}
