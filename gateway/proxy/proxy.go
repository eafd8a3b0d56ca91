// Package proxy is a reverse proxy in front of a GraphQL or REST service. It turns the image URLs
// in its answers into signed thumbnail URLs, as they stream. The service and its clients need no
// change; answers without such URLs, or in another format than JSON, pass unchanged.
//
// It does not rewrite WebSocket messages, JSON in UTF-16, or aliases in queries that are
// compressed, begin beyond maxQuery, or were persisted before this process started. A field to fill
// stays empty if it precedes its source. Cache-Control: no-transform (RFC 9110, 7.7) is not
// honoured: the service's owner deploys this proxy to rewrite answers.
//
// The path of a request is ServeHTTP, request.go (its body and its query), outgoing.go (the request to
// the service), answer.go (how the answer is handled) and body.go (the stream).
package proxy

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/novasocial/imagetier/gateway/budget"
	"github.com/novasocial/imagetier/gateway/imagelink"
	"github.com/novasocial/imagetier/gateway/rewrite"
)

// Field is a member of JSON objects whose value is an image URL.
type Field struct {
	Name    string // as in the service's schema, "imageUrl"; its aliases in queries are recognized
	Profile string // of its thumbnails
	// Fill is the field that supplies the value if this one is null or "". It must precede this one
	// in the same object. "" leaves the field empty.
	Fill string
}

// Config configures a Proxy.
type Config struct {
	// Upstream has the scheme and host of the service. Required.
	Upstream *url.URL
	// Linker mints the URLs. Required.
	Linker *imagelink.Linker
	// Fields are the JSON fields that are rewritten.
	Fields []Field
	// Salt identifies the configuration that URLs depend on: base, keys, profiles, prefixes. The
	// ETags of rewritten answers change with it.
	Salt string
	// UpstreamHost is the Host that the service sees; "" is that of the client's request.
	UpstreamHost string
	// AnswerTimeout is how long the service may take to begin an answer before the proxy answers
	// 504; 0 means 10 s. The rest of an answer has no timeout, since event streams do not end.
	AnswerTimeout time.Duration
	// IdleTimeout is how long a connection to the service is kept for the next request; 0 is 4 s.
	// Keep it shorter than the service's own: a request that meets a connection which the service
	// is closing fails with 502, unless it is a query, which is sent again.
	IdleTimeout time.Duration
	// MaxRequestBytes is the maximum size of a request's body; a larger one is answered 413. 0
	// means 64 MiB.
	MaxRequestBytes int64
	// TrustedProxies are the addresses whose Forwarded, X-Forwarded-* and X-Real-IP headers reach
	// the service. The headers of all others are removed.
	TrustedProxies []netip.Prefix
	// Observe is called once for every finished request. If nil, it is not called.
	Observe func(Observation)
	// Log receives failures. If nil, nothing is logged.
	Log *slog.Logger
}

// Kind is how an answer was handled.
type Kind string

const (
	Passed    Kind = "passed"    // as it is
	JSON      Kind = "json"      // rewritten
	Multipart Kind = "multipart" // rewritten in parts
	Events    Kind = "events"    // rewritten event by event
	Unread    Kind = "unread"    // JSON in an unsupported coding or charset: passed on as it is
	Upgraded  Kind = "upgraded"  // an upgraded connection, such as a WebSocket
	Failed    Kind = "failed"    // the service gave no answer, or not all of it: 502, 504
)

// Kinds lists all kinds.
var Kinds = []Kind{Passed, JSON, Multipart, Events, Unread, Upgraded, Failed}

// Observation describes one request.
type Observation struct {
	Kind     Kind
	Status   int           // 499 if the client left before an answer
	First    time.Duration // time to the headers of the answer
	Total    time.Duration
	Signed   int  // URLs that were replaced
	Foreign  int  // values of fields that are not images of the tier, or already signed
	Broken   bool // the answer was not completed
	Upstream bool // ... because of the service: the client was still connected
}

// Proxy is an http.Handler.
type Proxy struct {
	cfg       Config
	salt      atomic.Pointer[string] // 8 characters
	fields    rewrite.Fields
	profiles  map[string]string // of fields by name
	forward   *httputil.ReverseProxy
	transport *http.Transport
	queries   aliasCache
	codings   codings
	buffers   sync.Pool      // of *[chunk]byte
	outs      sync.Pool      // of *[]byte, maxOut at most
	bodies    *budget.Budget // of requests whose query is read
}

// New returns a Proxy. It dials nothing.
func New(cfg Config) (*Proxy, error) {
	if cfg.Upstream == nil || cfg.Linker == nil {
		return nil, errors.New("proxy: Upstream and Linker are required")
	}
	cfg.AnswerTimeout = cmp.Or(cfg.AnswerTimeout, 10*time.Second)
	cfg.IdleTimeout = cmp.Or(cfg.IdleTimeout, 4*time.Second)
	cfg.MaxRequestBytes = cmp.Or(cfg.MaxRequestBytes, 64<<20)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	p := &Proxy{cfg: cfg, fields: rewrite.Fields{}, profiles: map[string]string{}, bodies: budget.New(maxBodies)}
	p.queries.known.Max = maxQueries
	source := ""
	for _, f := range cfg.Fields {
		if f.Fill != "" && source != "" && f.Fill != source {
			return nil, fmt.Errorf("proxy: %s is filled from %s and another field from %s: there can be one only", f.Name, f.Fill, source)
		}
		source = max(source, f.Fill)
	}
	for _, f := range cfg.Fields {
		p.fields[f.Name] = &rewrite.Field{Name: f.Name, Fill: f.Fill != "", Source: f.Name == source}
		p.profiles[f.Name] = f.Profile
	}
	p.SetSalt(cfg.Salt)
	p.buffers.New = func() any { return new([chunk]byte) }
	p.transport = newTransport(cfg.AnswerTimeout, cfg.IdleTimeout)
	p.forward = &httputil.ReverseProxy{
		Rewrite:        p.outgoing,
		Transport:      p.transport,
		FlushInterval:  -1, // nothing waits here
		ModifyResponse: p.incoming,
		ErrorHandler:   p.failed,
		// errors are logged with the Observation
		ErrorLog:   slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
		BufferPool: bufferPool{&p.buffers},
	}
	return p, nil
}

// SetSalt replaces Config.Salt. Call it after a change of what the salt names: earlier ETags
// no longer match then.
func (p *Proxy) SetSalt(salt string) {
	text := hashSalt(fmt.Sprintf("%q %q", salt, p.cfg.Fields))
	p.salt.Store(&text)
}

// hashSalt returns 8 characters.
func hashSalt(text string) string {
	hash := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(hash[:6])
}

func newTransport(answer, idle time.Duration) *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    5 * time.Second,
		ResponseHeaderTimeout:  answer,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    1024, // there is one host
		IdleConnTimeout:        idle,
		DisableCompression:     true, // the service gets the client's Accept-Encoding
		// A host that has vanished is noticed in 15 s.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second},
	}
}

// Close closes idle connections.
func (p *Proxy) Close() { p.transport.CloseIdleConnections() }

// exchange is one request and its answer.
type exchange struct {
	client imagelink.Client
	query  parsed
	head   bool
	body   *requestBody // nil: the request has none
	// release gives back the memory of the part of the body that was read for its query.
	release func()
	// repeatable: all operations in the body are queries, which may be sent twice.
	repeatable bool
	tags       map[string]string // tags of the service to those of the client
	started    time.Time
	page       *imagelink.Page
	Observation
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// ServeHTTP forwards a request. After a truncated answer it closes the connection
// (http.ErrAbortHandler), so that the answer does not look complete.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{
		client: imagelink.ClientOf(r.Header), query: parsed{fields: p.fields},
		head: r.Method == http.MethodHead, started: time.Now(),
	}
	x.Kind, x.page = Passed, p.cfg.Linker.Page(x.client)
	through := false
	x.release = func() {}
	defer func() {
		x.release()
		x.Total = time.Since(x.started)
		x.Broken = !through
		if x.Upstream = x.Broken && r.Context().Err() == nil; x.Upstream {
			p.cfg.Log.Warn("upstream response cut short", "path", r.URL.Path, "status", x.Status)
		}
		x.page.Done()
		if p.cfg.Observe != nil {
			p.cfg.Observe(x.Observation)
		}
	}()
	r = withoutUpgrade(r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x)))
	if status, detail := p.readRequest(w, r, x); status != 0 {
		x.Status = status
		problem(w, status, detail)
		through = true
		return
	}
	p.forward.ServeHTTP(w, r)
	through = true
}

// failed answers if the service did not.
func (p *Proxy) failed(w http.ResponseWriter, r *http.Request, err error) {
	x := exchangeOf(r.Context())
	x.Kind, x.First = Failed, time.Since(x.started)
	var timeout net.Error
	var over *http.MaxBytesError
	switch {
	case r.Context().Err() != nil:
		// The client has gone, or closed its half of the connection. Without an abort, net/http
		// would answer with an empty 200.
		x.Status = 499
		panic(http.ErrAbortHandler)
	case errors.As(err, &over):
		x.Status = http.StatusRequestEntityTooLarge
		problem(w, x.Status, p.tooLarge())
		return
	case errors.Is(err, os.ErrDeadlineExceeded) && x.slowBody():
		x.Status = http.StatusRequestTimeout
		problem(w, x.Status, "The request body arrived too slowly.")
		return
	case errors.As(err, &timeout) && timeout.Timeout():
		x.Status = http.StatusGatewayTimeout
		problem(w, x.Status, "The service took too long to answer.")
	case errors.Is(err, errAnswer):
		x.Status = http.StatusBadGateway
		problem(w, x.Status, "The answer of the service was cut short or is invalid.")
	default:
		x.Status = http.StatusBadGateway
		problem(w, x.Status, "The service did not answer.")
	}
	p.cfg.Log.Warn("upstream request failed", "method", r.Method, "path", r.URL.Path, "status", x.Status, "err", err)
}

// problem answers as RFC 9457 says.
func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	text, _ := json.Marshal(map[string]any{
		"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": detail,
	})
	_, _ = w.Write(text)
}

// link returns the function that the rewriters call.
func (p *Proxy) link(x *exchange) rewrite.Link {
	var profileName, plain, url string // the last one: thumbnailUrl often follows its imageUrl
	return func(field *rewrite.Field, text string) (string, bool) {
		name := p.profiles[field.Name]
		if url == "" || name != profileName || text != plain {
			minted, err := p.cfg.Linker.Mint(x.client, name, text, imagelink.Post{})
			if err != nil || minted.Image.IsZero() {
				x.Foreign++
				return "", false
			}
			profileName, plain, url = name, text, minted.URL
			x.page.Add(minted)
		}
		x.Signed++
		return url, true
	}
}

// chunk is the size of a read from a body, in bytes.
const chunk = 32 << 10

type bufferPool struct{ pool *sync.Pool }

func (b bufferPool) Get() []byte  { return b.pool.Get().(*[chunk]byte)[:] }
func (b bufferPool) Put(p []byte) { b.pool.Put((*[chunk]byte)(p)) }
