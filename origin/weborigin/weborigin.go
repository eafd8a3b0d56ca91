// Package weborigin is an origin.Source over HTTP: names are paths below one base URL.
//
// The base is configuration, so no URL of a client ever chooses a host, and what the host's
// name resolves to is checked when it is dialed: addresses that are not public are refused
// (Config.AllowPrivate), however they are spelled and however often DNS changes its mind.
// Redirects are followed at most three times, to allowed hosts only, through the same check.
//
// The tier asks like a cache and not for anyone: always the same headers, no cookies, no
// credentials, no Range, identity encoding. What comes back is taken only if it is a 200 that
// is not encoded and as long as it says.
//
// A request is made once. The one exception is net/http's: a connection that was kept from
// an earlier request, and turns out to be closed before a byte of the answer has come, is
// replaced by a new one.
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

// Config says what is asked, and how.
type Config struct {
	// Base is where names begin: http or https, host, and a path in the spelling that
	// the server knows, to which a "/" is added if it does not end in one. Required; no
	// user, query or fragment.
	Base string
	// RedirectHosts are the hosts besides Base's that may be redirected to, as a URL
	// spells them: "cdn.example.com", "cdn.example.com:8443". Redirects stay on Base's
	// scheme or go from http to https.
	RedirectHosts []string
	// AllowPrivate lets addresses be dialed that are not public: loopback, private,
	// link-local and the rest.
	AllowPrivate bool
	// MaxHeuristic is the most that a lifetime may be that is guessed, as a tenth of
	// the time since Last-Modified, where the origin said nothing (RFC 9111, 4.2.2).
	// 0 guesses nothing: such answers are Silent.
	MaxHeuristic time.Duration
	// UserAgent is sent with every request. "" is "imagetier/1".
	UserAgent string
	// TLS is for https. nil is the default: the system's roots, TLS 1.2 and up.
	TLS *tls.Config
	// Resolver looks hosts up. nil is net.DefaultResolver.
	Resolver *net.Resolver
	// Now is the clock that ages are reckoned with. nil is time.Now.
	Now func() time.Time
}

// Source opens what is below its base. It is safe for concurrent use.
type Source struct {
	base   *url.URL
	hosts  map[string]bool // may be asked, as hostOf spells them
	cfg    Config
	client *http.Client
}

// New checks the configuration and asks the network for nothing.
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
		return nil, fmt.Errorf("HTTP origin: %q has a query or a fragment: names are put at its end", u.Redacted())
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

// transport is one that takes nothing from the environment, decodes nothing, and
// notices when a connection that many requests share has died.
func transport(cfg Config) *http.Transport {
	dialer := &net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second, Resolver: cfg.Resolver}
	if !cfg.AllowPrivate {
		dialer.ControlContext = refuseInternal
	}
	return &http.Transport{
		Proxy:                  nil, // a proxy would resolve and dial for us, past the check
		DialContext:            dialer.DialContext,
		TLSClientConfig:        cfg.TLS.Clone(),
		TLSHandshakeTimeout:    3 * time.Second,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 3 * time.Second},
		DisableCompression:     true,
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    128,
		IdleConnTimeout:        60 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// Open implements origin.Source. name is the path below the base, with its query, in the
// spelling of a URL: it is sent as it is, and ErrName if it is none.
func (s *Source) Open(ctx context.Context, name string, cond origin.Cond) (*origin.Object, error) {
	obj, err := s.request(ctx, http.MethodGet, name, cond)
	if err != nil {
		return nil, fmt.Errorf("get %q: %w", name, err)
	}
	return obj, nil
}

// Head implements origin.Source. A server that refuses the method (405, 501) is asked with a
// GET whose body is not read.
func (s *Source) Head(ctx context.Context, name string) (origin.Metadata, error) {
	obj, err := s.request(ctx, http.MethodHead, name, origin.Cond{})
	if errors.Is(err, errMethod) {
		obj, err = s.request(ctx, http.MethodGet, name, origin.Cond{})
	}
	if err != nil {
		return origin.Metadata{}, fmt.Errorf("head %q: %w", name, err)
	}
	obj.Body.Close()
	return obj.Metadata, nil
}

// request asks once. Of a HEAD the Object's Body is not to be read.
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
	req := &http.Request{Method: method, URL: t.below(s.base), Host: s.base.Host, Header: s.header(cond)}
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

// header is what every request says, and the condition.
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

// object takes a 200, or says what the answer was.
func (s *Source) object(ctx context.Context, resp *http.Response, cond origin.Cond, a rfc9111.Answer) (*origin.Object, error) {
	if resp.StatusCode == http.StatusNotModified {
		return nil, notModified(a, cond)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, refusal(resp, cond)
	}
	for _, coding := range resp.Header.Values("Content-Encoding") {
		if coding = strings.TrimSpace(coding); coding != "" && !strings.EqualFold(coding, "identity") {
			return nil, fmt.Errorf("%w: Content-Encoding %.40q although identity was asked for", origin.ErrUnavailable, coding)
		}
	}
	etag := etagOf(resp.Header)
	if err := cond.CheckETag(etag); err != nil {
		return nil, err
	}
	meta := origin.Metadata{
		Size: resp.ContentLength, ETag: etag, LastModified: lastModified(resp.Header), Fresh: rfc9111.Freshness(a),
	}
	return &origin.Object{Metadata: meta, Body: body.New(ctx, resp.Body, resp.ContentLength)}, nil
}

func notModified(a rfc9111.Answer, cond origin.Cond) error {
	etag := etagOf(a.Header)
	if cond.NoneMatch == "" && cond.ModifiedSince.IsZero() {
		return fmt.Errorf("%w: status 304 unasked", origin.ErrUnavailable)
	}
	if etag != "" && cond.NoneMatch != "" && !origin.SameETag(etag, cond.NoneMatch) {
		return fmt.Errorf("%w: status 304 for another entity tag", origin.ErrUnavailable)
	}
	if etag == "" {
		etag = cond.NoneMatch
	}
	return &origin.NotModified{ETag: etag, LastModified: lastModified(a.Header), Fresh: rfc9111.Revalidated(a)}
}

// etagOf returns the one entity tag of an answer; what is malformed, or said twice and
// differently, is none.
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

// discard closes the body, having read it first if it is short and comes at once: then
// the connection can be used again, and refusals are what many answers are.
func discard(resp *http.Response) {
	if resp.ContentLength >= 0 && resp.ContentLength <= 16<<10 {
		late := time.AfterFunc(50*time.Millisecond, func() { resp.Body.Close() })
		_, _ = io.Copy(io.Discard, resp.Body)
		late.Stop()
	}
	resp.Body.Close()
}

// explain gives a request that got no answer its sentinel.
func explain(ctx context.Context, err error) error {
	var inURL *url.Error
	if errors.As(err, &inURL) {
		err = inURL.Err // without the URL: it may hold a signature
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	if origin.IsSentinel(err) {
		return err
	}
	return fmt.Errorf("%w: %w", origin.ErrUnavailable, err)
}
