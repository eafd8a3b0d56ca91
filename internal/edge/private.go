package edge

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
)

// PrivateConfig of the private listener. What is nil answers 404.
type PrivateConfig struct {
	Signer *imageurl.Signer // needed
	// Explain returns what is held of a variant (imagecache.Cache.Explain); needed.
	Explain func(ctx context.Context, ref imageurl.Ref) []imagecache.Held
	// Purge removes (imagecache.Cache.Purge); needed.
	Purge func(ctx context.Context, what imagecache.Target) (imagecache.Receipt, error)
	// SoftPurge makes stale (imagecache.Cache.SoftPurge); needed.
	SoftPurge func(ctx context.Context, what imagecache.Target) (imagecache.Receipt, error)
	// Takedown removes an original and what was made of it, and keeps it from coming back,
	// also after a restart; Lift undoes the latter, and reports whether there was anything
	// to undo. Needed, both.
	Takedown func(ctx context.Context, of imagecache.Original) (imagecache.Receipt, error)
	Lift     func(of imagecache.Original) (bool, error)
	// Tagged returns the originals that are known to bear a tag; nil: purges by tag are refused.
	Tagged func(tag string) []imagecache.Original
	// Info returns the facts about an original, or why there are none (imagecache.Cache.Get
	// of ShapeInfo). nil: POST /v1/info answers 404.
	Info func(ctx context.Context, ref imageurl.Ref) (imagecache.Image, imagecache.Outcome, error)
	// Intake takes events and notifications; nil: POST /v1/events and /v1/events/s3 are 404.
	Intake Intake
	// WebhookSecrets are what an S3 server may show instead of the admin token (see notifier).
	WebhookSecrets []string
	// Warmer warms by hand; nil: POST /v1/warm is 404.
	Warmer Warmer
	// DeadLetters are the jobs that failed for good; nil: /v1/warm/dead is 404.
	DeadLetters DeadLetters
	// Observe is told what became of an event (measure.Set.Event); nil is nobody.
	Observe func(kind, outcome string)
	// Sources and Watermarks are those of Config.
	Sources    map[string]Source
	Watermarks map[string]bool
	Answers    *Answers // that of Config
	// AdminToken is what POST and DELETE have to bring; "": they are refused, unless Dev.
	AdminToken string
	// Dev lets POST and DELETE pass without a token where none is configured.
	Dev bool
	// Hosts are names that the listener may be called by, besides those that foreignHost
	// lets pass.
	Hosts []string
	// Ready returns nil if requests should come here, and why not; nil: they always should.
	Ready func() error
	// Metrics answers /metrics.
	Metrics http.Handler
	// Stats returns what /v1/stats shows: anything that encoding/json can write.
	Stats func() any
	// Console answers / and what is below /console/.
	Console http.Handler
	// Log gets a line for each change that is asked for, and for each fault; nil drops them.
	Log *slog.Logger
	// Now is the clock that ages are reckoned with; nil is time.Now.
	Now func() time.Time
}

// How long a client of the private listener may take.
const (
	privateReadTime  = 10 * time.Second // to send a body
	privateWriteTime = time.Minute      // from its headers to the end of the answer
	profileWriteTime = 10 * time.Minute // the same of a profile, which is taken meanwhile
)

// maxPrivateBody bounds what is posted, in bytes.
const maxPrivateBody = 64 << 10

// Private returns the handler of the private listener (CONTRACT 3). It panics if what
// cfg needs is missing.
//
// Whoever can reach it can read; that is for the network to decide. To change something
// takes the admin token. A web page that an operator happens to visit can reach it as well,
// so requests that come from other sites' pages, and under names that a foreign DNS server
// could have pointed here, are refused.
func Private(cfg PrivateConfig) http.Handler {
	if cfg.Signer == nil || cfg.Explain == nil || cfg.Purge == nil || cfg.SoftPurge == nil || cfg.Takedown == nil || cfg.Lift == nil {
		panic("edge.Private: Signer, Explain, Purge, SoftPurge, Takedown and Lift are needed")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	p := &private{PrivateConfig: cfg, token: sha256.Sum256([]byte(cfg.AdminToken)), intakes: make(gate, intakesAtOnce), warms: make(gate, warmsAtOnce)}
	for _, secret := range cfg.WebhookSecrets {
		p.notifiers = append(p.notifiers, sha256.Sum256([]byte(secret)))
	}
	r := chi.NewRouter()
	r.Use(p.guard)
	r.NotFound(p.handle(func(http.ResponseWriter, *http.Request) error { return errNoSuchPage }))
	r.MethodNotAllowed(p.handle(func(w http.ResponseWriter, req *http.Request) error {
		w.Header()["Allow"] = []string{strings.Join(methodsOf(r, req.URL.Path), ", ")}
		return errNoMethod
	}))
	get := func(path string, h http.HandlerFunc) {
		r.Get(path, h)
		r.Head(path, h)
	}
	get("/healthz", p.handle(p.healthy))
	get("/readyz", p.handle(p.ready))
	get("/v1/explain", p.handle(p.explain))
	if cfg.Stats != nil {
		get("/v1/stats", p.handle(p.stats))
	}
	if cfg.Metrics != nil {
		get("/metrics", cfg.Metrics.ServeHTTP)
	}
	if cfg.Console != nil {
		get("/", cfg.Console.ServeHTTP)
		get("/console/*", cfg.Console.ServeHTTP)
	}
	// Without cmdline: secrets may be given as flags.
	get("/debug/pprof", http.RedirectHandler("/debug/pprof/", http.StatusMovedPermanently).ServeHTTP)
	get("/debug/pprof/*", pprof.Index)
	get("/debug/pprof/profile", pprof.Profile)
	get("/debug/pprof/symbol", pprof.Symbol)
	get("/debug/pprof/trace", pprof.Trace)
	if cfg.Info != nil {
		r.Post("/v1/info", p.handle(p.infos))
	}
	if cfg.Intake != nil {
		r.Post(eventsPath, p.handle(p.event))
		r.Post(noticesPath, p.handle(p.notice))
	}
	if cfg.Warmer != nil {
		r.Post("/v1/warm", p.handle(p.warm))
	}
	if cfg.DeadLetters != nil {
		get("/v1/warm/dead", p.handle(p.dead))
		r.Post("/v1/warm/dead", p.handle(p.settle))
	}
	r.Post("/v1/purge", p.handle(p.purge))
	r.Post("/v1/takedown", p.handle(p.takedown))
	r.Delete("/v1/takedown", p.handle(p.lift))
	return r
}

type private struct {
	PrivateConfig
	token     [sha256.Size]byte
	notifiers [][sha256.Size]byte // digests of WebhookSecrets
	origin    http.CrossOriginProtection
	intakes   gate
	warms     gate
}

// privateError is a refusal of the private listener; its detail is shown as it is.
type privateError struct {
	status int
	detail string
}

func (e *privateError) Error() string { return e.detail }

func refused(status int, format string, args ...any) error {
	return &privateError{status, fmt.Sprintf(format, args...)}
}

var (
	errNoSuchPage = refused(http.StatusNotFound, "There is nothing at this path.")
	errNoMethod   = refused(http.StatusMethodNotAllowed, "This path does not answer that method.")
	errNoToken    = refused(http.StatusUnauthorized, "This needs the header Authorization: Bearer with the admin token.")
	errTokenUnset = refused(http.StatusForbidden, "No admin token is configured (--admin-token), so nothing can be changed here.")
	errCrossSite  = refused(http.StatusForbidden, "A page of another site cannot ask for this.")
	errNoUndo     = refused(http.StatusInternalServerError, "Not every tier could remove it, so it may still be served: repeat the purge.")
)

// guard stands before every route.
func (p *private) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := requestID(r)
		h := w.Header()
		h["X-Request-Id"] = []string{id}
		h["Cache-Control"] = noStore
		h["X-Content-Type-Options"] = nosniff
		defer func() {
			if v := recover(); v != nil {
				if v == http.ErrAbortHandler {
					panic(v)
				}
				p.Log.Error("private request panicked", "path", r.URL.Path, "request_id", id, "panic", v, "stack", string(debug.Stack()))
				p.refuse(w, r, refused(http.StatusInternalServerError, detailFailed))
			}
		}()
		// A writer that has no deadlines is a test's.
		control := http.NewResponseController(w)
		limit := privateWriteTime
		if strings.HasPrefix(r.URL.Path, "/debug/pprof") {
			limit = profileWriteTime
		}
		_ = control.SetWriteDeadline(time.Now().Add(limit))
		if r.ContentLength != 0 {
			_ = control.SetReadDeadline(time.Now().Add(privateReadTime))
		}
		if err := p.admit(r); err != nil {
			p.refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// admit returns why r may not pass.
func (p *private) admit(r *http.Request) error {
	if host, foreign := p.foreignHost(r); foreign {
		return refused(http.StatusMisdirectedRequest, "This listener is not called %q. Ask for it by its address or as localhost.", host)
	}
	if err := p.origin.Check(r); err != nil {
		return errCrossSite
	}
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		return nil
	case r.URL.Path == eventsPath:
		return nil // its signature says who sends it
	case r.URL.Path == noticesPath:
		return p.notifier(r)
	case p.AdminToken == "" && p.Dev:
		return nil
	case p.AdminToken == "":
		return errTokenUnset
	case !p.authorized(r):
		return errNoToken
	}
	return nil
}

// authorized compares digests: neither the time it takes nor where it ends tells anything
// about the token.
func (p *private) authorized(r *http.Request) bool {
	lines := r.Header["Authorization"]
	if len(lines) != 1 {
		return false
	}
	scheme, given, _ := strings.Cut(lines[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	sum := sha256.Sum256([]byte(strings.TrimLeft(given, " ")))
	return subtle.ConstantTimeCompare(sum[:], p.token[:]) == 1
}

// handle makes a handler of a function that returns its refusal.
func (p *private) handle(serve func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := serve(w, r); err != nil {
			p.refuse(w, r, err)
		}
	}
}

func (p *private) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var known *privateError
	if !errors.As(err, &known) {
		known = &privateError{http.StatusInternalServerError, detailFailed}
		p.Log.Error("private request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	h := w.Header()
	switch {
	case known.status == http.StatusUnauthorized:
		h["Www-Authenticate"] = []string{`Bearer realm="imagetier"`}
	case known.status == http.StatusServiceUnavailable, known.status == http.StatusTooManyRequests:
		h["Retry-After"] = []string{"5"}
	}
	if r.ContentLength != 0 && r.ProtoMajor == 1 {
		h["Connection"] = closeAfterward // its body may not have been read
	}
	body := problemBody(h, known.status, known.detail, w.Header().Get("X-Request-Id"))
	w.WriteHeader(known.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// methodsOf returns those that a path answers to.
func methodsOf(routes chi.Routes, path string) (methods []string) {
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete} {
		if routes.Match(chi.NewRouteContext(), method, path) {
			methods = append(methods, method)
		}
	}
	return methods
}

// writeJSON answers with v.
func writeJSON(w http.ResponseWriter, r *http.Request, status int, v any) error {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	body = append(body, '\n')
	h := w.Header()
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
	return nil
}

// readJSON reads the body of r, which is one JSON value with no field that v has not.
func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	return readJSONUpTo(w, r, v, maxPrivateBody)
}

// readJSONUpTo is readJSON of a body of at most most bytes.
func readJSONUpTo(w http.ResponseWriter, r *http.Request, v any, most int64) error {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, most))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if err == nil {
		if _, err = dec.Token(); err == nil {
			err = errors.New("something follows the JSON value")
		} else if err == io.EOF {
			err = nil
		}
	}
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return refused(http.StatusRequestEntityTooLarge, "The body has more than %d bytes.", most)
	case err != nil:
		return refused(http.StatusBadRequest, "The body is not the JSON that is expected here: %s.", strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

func (p *private) healthy(w http.ResponseWriter, r *http.Request) error {
	w.Header()["Content-Type"] = textPlain
	w.Header()["Content-Length"] = okLength
	if r.Method != http.MethodHead {
		_, _ = w.Write(okBody)
	}
	return nil
}

func (p *private) ready(w http.ResponseWriter, r *http.Request) error {
	if p.Ready != nil {
		if err := p.Ready(); err != nil {
			return refused(http.StatusServiceUnavailable, "Not ready: %v.", err)
		}
	}
	return p.healthy(w, r)
}

func (p *private) stats(w http.ResponseWriter, r *http.Request) error {
	return writeJSON(w, r, http.StatusOK, p.Stats())
}
