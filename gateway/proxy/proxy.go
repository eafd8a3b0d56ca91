// Package proxy stands before a GraphQL or REST service and turns the image URLs in its
// answers into signed thumbnail URLs, as they stream. The service and its clients need no
// change; what is not JSON with such URLs in it passes as it is.
//
// What it does not see: messages of a WebSocket, JSON in UTF-16, aliases in queries that are
// compressed, or begin beyond maxQuery, or were persisted before this process started. A field
// that is to be filled stays empty where it comes before its source. Cache-Control:
// no-transform (RFC 9110, 7.7) is not honoured: the service's owner deploys this proxy to
// rewrite answers.
//
// The way of a request is ServeHTTP, outgoing (what the service is asked), answer.go (what
// is done with its answer) and body.go (the stream).
package proxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"

	"github.com/novasocial/imagetier/gateway/imagelink"
	"github.com/novasocial/imagetier/gateway/rewrite"
	"github.com/novasocial/imagetier/prefetch/profile"
)

// Field is a member of JSON objects whose value is an image URL.
type Field struct {
	Name    string // as the service's schema has it, "imageUrl"; aliases of it in queries are understood
	Profile string // of its thumbnails
	// Fill is the field from which this one is filled where it is null or "", if it comes
	// before it in the same object; "" leaves it empty.
	Fill string
}

// Config of a Proxy.
type Config struct {
	// Upstream is scheme and host of the service. Needed.
	Upstream *url.URL
	// Linker makes the URLs. Needed.
	Linker *imagelink.Linker
	// Fields are what is looked for; all that are filled are filled from one field.
	Fields []Field
	// Salt names what the URLs depend on besides: base, keys, profiles, prefixes. ETags of
	// rewritten answers change with it.
	Salt string
	// AnswerTimeout is how long the service may take to begin an answer, 504 then; 0 is 10 s.
	// The rest of an answer may take as long as it likes: events have no end.
	AnswerTimeout time.Duration
	// HandedOut receives the images in an answer, by profile, when the answer is complete and
	// after every 100 images of a profile. It must not block. If nil, it is not called.
	HandedOut func(profile string, images []profile.Image)
	// Observe is called once for every finished request. If nil, it is not called.
	Observe func(Observation)
	// Log gets what went wrong; nil drops it.
	Log *slog.Logger
}

// Kind is what was done with an answer.
type Kind string

const (
	Passed    Kind = "passed"    // as it is
	JSON      Kind = "json"      // rewritten
	Multipart Kind = "multipart" // rewritten in parts
	Events    Kind = "events"    // rewritten event by event
	Unread    Kind = "unread"    // JSON in an unsupported coding or charset: passed on as it is
	Upgraded  Kind = "upgraded"  // a WebSocket or the like
	Failed    Kind = "failed"    // the service gave no answer: 502, 504
)

// Kinds are all there are.
var Kinds = []Kind{Passed, JSON, Multipart, Events, Unread, Upgraded, Failed}

// Observation is one request.
type Observation struct {
	Kind     Kind
	Status   int           // 499: the client went away before there was one
	First    time.Duration // to the answer's headers
	Total    time.Duration
	Signed   int  // URLs that were replaced
	Foreign  int  // values of fields that are no image of the tier, or signed already
	Broken   bool // the answer was not brought to its end
	Upstream bool // ... and the client was still there: it was the service's doing
}

// Proxy is an http.Handler.
type Proxy struct {
	cfg       Config
	salt      string // 8 characters
	fields    rewrite.Fields
	profiles  map[string]string // of fields by name
	forward   *httputil.ReverseProxy
	transport *http.Transport
	queries   aliasCache
	codings   codings
	buffers   sync.Pool // of *[]byte, chunk long
}

// New returns a Proxy. It dials nothing.
func New(cfg Config) (*Proxy, error) {
	if cfg.Upstream == nil || cfg.Linker == nil {
		return nil, errors.New("proxy: Upstream and Linker are needed")
	}
	if cfg.AnswerTimeout == 0 {
		cfg.AnswerTimeout = 10 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	p := &Proxy{cfg: cfg, fields: rewrite.Fields{}, profiles: map[string]string{}}
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
	hash := sha256.Sum256(fmt.Appendf(nil, "%q %q", cfg.Salt, cfg.Fields))
	p.salt = base64.RawURLEncoding.EncodeToString(hash[:6])
	p.buffers.New = func() any { return new([chunk]byte) }
	p.transport = newTransport(cfg.AnswerTimeout)
	p.forward = &httputil.ReverseProxy{
		Rewrite:        p.outgoing,
		Transport:      p.transport,
		FlushInterval:  -1, // nothing waits here
		ModifyResponse: p.incoming,
		ErrorHandler:   p.failed,
		// each is an Observation, and logged there
		ErrorLog:   slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
		BufferPool: bufferPool{&p.buffers},
	}
	return p, nil
}

func newTransport(answer time.Duration) *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   5 * time.Second,
		ResponseHeaderTimeout: answer,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          1024,
		MaxIdleConnsPerHost:   1024, // there is one host
		IdleConnTimeout:       90 * time.Second,
		DisableCompression:    true, // what the client accepts is asked for, and it gets it
	}
}

// Close lets go of idle connections.
func (p *Proxy) Close() { p.transport.CloseIdleConnections() }

// exchange is one request and its answer.
type exchange struct {
	client  imagelink.Client
	fields  rewrite.Fields
	head    bool
	tags    map[string]string // of the service, to what the client calls them
	started time.Time
	handed  map[string][]profile.Image
	Observation
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// ServeHTTP forwards a request. An answer that breaks off is never closed as if it were
// whole: the connection is (http.ErrAbortHandler).
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{
		client: imagelink.ClientOf(r.Header), fields: p.fields,
		head: r.Method == http.MethodHead, started: time.Now(),
	}
	x.Kind = Passed
	through := false
	defer func() {
		x.Total = time.Since(x.started)
		x.Broken = !through
		if x.Upstream = x.Broken && r.Context().Err() == nil; x.Upstream {
			p.cfg.Log.Warn("the service's answer broke off", "path", r.URL.Path, "status", x.Status)
		}
		p.tell(x)
		if p.cfg.Observe != nil {
			p.cfg.Observe(x.Observation)
		}
	}()
	r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
	if err := p.readQuery(r, x); err != nil {
		x.Status = http.StatusBadRequest
		problem(w, http.StatusBadRequest, "The request broke off.")
		through = true
		return
	}
	p.forward.ServeHTTP(w, r)
	through = true
}

// outgoing says what the service is asked: what the client asked, less what would bring an
// answer that cannot be rewritten.
func (p *Proxy) outgoing(pr *httputil.ProxyRequest) {
	pr.SetURL(p.cfg.Upstream)
	pr.Out.Host = pr.In.Host                 // the service sees the name that its clients use
	pr.Out.URL.RawQuery = pr.In.URL.RawQuery // and the query as they spell it
	h := pr.Out.Header
	// A range of the service's answer is none of ours, which has another length.
	h.Del("Range")
	h.Del("If-Range")
	narrowEncodings(h)
	x := exchangeOf(pr.In.Context())
	x.tags = p.originalTags(h, x.client)
	// What stands before us knows better how the client came in.
	for _, name := range []string{"X-Forwarded-For", "Forwarded"} {
		if said := pr.In.Header[name]; said != nil {
			h[name] = said
		}
	}
	pr.SetXForwarded()
	for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Proto"} {
		if said := pr.In.Header[name]; said != nil {
			h[name] = said
		}
	}
}

// failed answers where the service did not.
func (p *Proxy) failed(w http.ResponseWriter, r *http.Request, err error) {
	x := exchangeOf(r.Context())
	x.Kind, x.First = Failed, time.Since(x.started)
	var timeout net.Error
	switch {
	case r.Context().Err() != nil:
		x.Status = 499 // the client has gone: not an error
		return
	case errors.As(err, &timeout) && timeout.Timeout():
		x.Status = http.StatusGatewayTimeout
		problem(w, x.Status, "The service took too long to answer.")
	default:
		x.Status = http.StatusBadGateway
		problem(w, x.Status, "The service did not answer.")
	}
	p.cfg.Log.Warn("no answer of the service", "method", r.Method, "path", r.URL.Path, "status", x.Status, "err", err)
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

// link returns what the rewriters ask.
func (p *Proxy) link(x *exchange) rewrite.Link {
	var profileName, plain, url string // the last one: thumbnailUrl often follows its imageUrl
	return func(field *rewrite.Field, text string) (string, bool) {
		name := p.profiles[field.Name]
		if url == "" || name != profileName || text != plain {
			minted, err := p.cfg.Linker.Mint(x.client, name, text, time.Time{})
			if err != nil || minted.Image.IsZero() {
				x.Foreign++
				return "", false
			}
			profileName, plain, url = name, text, minted.URL
			p.handOut(x, name, minted.Image)
		}
		x.Signed++
		return url, true
	}
}

// handOutAt is the batch size for HandedOut within one answer, so that long or endless
// answers report their images as they go.
const handOutAt = 100

func (p *Proxy) handOut(x *exchange, name string, image profile.Image) {
	if p.cfg.HandedOut == nil {
		return
	}
	images := x.handed[name]
	if x.handed == nil {
		x.handed = map[string][]profile.Image{}
	}
	x.handed[name] = append(images, image)
	if len(images)+1 >= handOutAt {
		p.tell(x)
	}
}

func (p *Proxy) tell(x *exchange) {
	for name, images := range x.handed {
		p.cfg.HandedOut(name, images)
	}
	x.handed = nil
}

// chunk is how much of a body is read at once, in bytes.
const chunk = 32 << 10

type bufferPool struct{ pool *sync.Pool }

func (b bufferPool) Get() []byte  { return b.pool.Get().(*[chunk]byte)[:] }
func (b bufferPool) Put(p []byte) { b.pool.Put((*[chunk]byte)(p)) }

// maxQuery is the longest request body in which aliases are looked for, in bytes.
const maxQuery = 256 << 10

// readQuery reads the query of a GraphQL request, for its aliases. The body is read before
// it is forwarded, as far as maxQuery, and only where it may be a query.
func (p *Proxy) readQuery(r *http.Request, x *exchange) error {
	if r.URL.RawQuery != "" {
		x.fields = p.queries.fields(p.fields, []operation{operationOf(r.URL.Query())})
	}
	form := queryForm(r.Header)
	if r.Body == nil || r.Body == http.NoBody || form == noQuery {
		return nil
	}
	head, err := io.ReadAll(io.LimitReader(r.Body, maxQuery+1))
	if err != nil {
		return err
	}
	if len(head) > maxQuery {
		r.Body = &joined{io.MultiReader(bytes.NewReader(head), r.Body), r.Body}
	} else {
		// All of it: its length is known now, and it can be sent again where a connection that
		// was kept turns out to be closed.
		_ = r.Body.Close()
		r.ContentLength, r.TransferEncoding = int64(len(head)), nil
		r.Body = io.NopCloser(bytes.NewReader(head))
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(head)), nil }
	}
	if operations := readOperations(form, r.Header.Get("Content-Type"), head); len(operations) > 0 {
		x.fields = p.queries.fields(p.fields, operations)
	}
	return nil
}

type joined struct {
	io.Reader
	io.Closer
}
