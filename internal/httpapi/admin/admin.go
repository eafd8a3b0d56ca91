// Package admin is the API of the private listener: purges and takedowns, events, warming,
// facts about images, metrics and pprof.
//
// Start with admin.go: New lists the routes, and every request passes guard first.
// operator.go lists what the handlers need of the tier.
package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/guard"
	"github.com/novasocial/imagetier/internal/httpapi"
	"github.com/novasocial/imagetier/internal/httpapi/problem"
	"github.com/novasocial/imagetier/internal/httpserver"
	"github.com/novasocial/imagetier/internal/jsoncheck"
)

// Config configures the private API.
type Config struct {
	Signer *imageurl.Signer // required
	// Operator carries out requests. Required.
	Operator Operator
	Observe  func(kind, outcome string) // called for each event; may be nil
	Catalog  httpapi.Catalog
	Origins  *httpapi.OriginAnswers // the one of images.Config; may be nil
	Changes  *httpapi.RecentChanges // records purges and takedowns; may be nil
	// Locate maps the plain URL of an image by the --image-prefix rules. Its errors are shown to the client. If nil, no
	// URL is mapped.
	Locate func(url string) (source, name, version string, err error)
	// AdminToken is required by POST, DELETE and GET /v1/originals, and S3EventsToken by S3 notifications. Without
	// one they are refused, unless Dev.
	AdminToken    *guard.Token
	S3EventsToken *guard.Token
	// SNS confirms subscriptions of Amazon SNS to S3 notifications; nil confirms none.
	SNS *SNS
	Dev bool
	// Metrics answers /metrics; nil: 404.
	Metrics http.Handler
	// Console answers / and /console/; nil: 404.
	Console http.Handler
	// Log receives a line for each change and each failure; nil drops them.
	Log *slog.Logger
	// Now is the clock for ages; nil is time.Now.
	Now func() time.Time
}

// maxPrivateBody is the default maximum of a request body, in bytes.
const maxPrivateBody = 64 << 10

// New returns the handler of the private listener. It panics if a required field is missing.
//
// Package guard says who may use it.
func New(cfg Config) http.Handler {
	if cfg.Signer == nil || cfg.Operator == nil {
		panic("admin.New: Signer and Operator are required")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	p := &api{
		Config: cfg,
		door: guard.Guard{
			Token: cfg.AdminToken, Dev: cfg.Dev, Signed: []string{eventsPath, noticesPath},
		},
		intakes: make(limiter, intakesAtOnce),
		warms:   make(limiter, warmsAtOnce),
	}
	r := chi.NewRouter()
	r.Use(p.guard)
	r.NotFound(p.handle(func(http.ResponseWriter, *http.Request) error { return problem.ErrPath }))
	r.MethodNotAllowed(p.handle(func(w http.ResponseWriter, req *http.Request) error {
		w.Header()["Allow"] = []string{strings.Join(methodsOf(r, req.URL.Path), ", ")}
		return problem.ErrNoMethod
	}))
	get := func(path string, h http.HandlerFunc) {
		r.Get(path, h)
		r.Head(path, h)
	}
	get("/healthz", p.handle(p.healthy))
	get("/readyz", p.handle(p.ready))
	get("/v1/explain", p.handle(p.explain))
	get("/v1/stats", p.handle(p.stats))
	get("/v1/originals", p.handle(p.originals))
	if cfg.Metrics != nil {
		get("/metrics", cfg.Metrics.ServeHTTP)
	}
	if cfg.Console != nil {
		get("/", cfg.Console.ServeHTTP)
		get("/console/*", cfg.Console.ServeHTTP)
	}
	// cmdline is left out: flags can contain secrets.
	get("/debug/pprof", http.RedirectHandler("/debug/pprof/", http.StatusMovedPermanently).ServeHTTP)
	get("/debug/pprof/*", pprof.Index)
	get("/debug/pprof/profile", pprof.Profile)
	get("/debug/pprof/symbol", pprof.Symbol)
	get("/debug/pprof/trace", pprof.Trace)
	r.Post("/v1/info", p.handle(p.infos))
	r.Post(eventsPath, p.handle(p.event))
	r.Post(noticesPath, p.handle(p.notice))
	r.Post("/v1/warm", p.handle(p.warm))
	get("/v1/warm/dead", p.handle(p.dead))
	r.Post("/v1/warm/dead", p.handle(p.settle))
	r.Post("/v1/purge", p.handle(p.purge))
	get("/v1/takedown", p.handle(p.takedowns))
	r.Post("/v1/takedown", p.handle(p.takedown))
	r.Delete("/v1/takedown", p.handle(p.lift))
	return httpserver.Paced(httpserver.Pace{}, r)
}

type api struct {
	Config
	door    guard.Guard
	intakes limiter
	warms   limiter
}

// guard checks every request before its route.
func (p *api) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := httpapi.RequestID(r.Header["X-Request-Id"])
		h := w.Header()
		h["X-Request-Id"] = []string{id}
		h["Cache-Control"] = []string{"no-store"}
		h["X-Content-Type-Options"] = []string{"nosniff"}
		defer func() {
			if v := recover(); v != nil {
				if v == http.ErrAbortHandler {
					panic(v)
				}
				p.refuse(w, r, fmt.Errorf("panic: %v\n%s", v, debug.Stack()))
			}
		}()
		if err := p.admit(r); err != nil {
			p.refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// admit returns an error if r must be refused.
func (p *api) admit(r *http.Request) error {
	err := p.door.Check(r)
	switch {
	case err == guard.ErrHost:
		return problem.Errorf(problem.ErrHost,
			"This listener is not called %q. Ask for it by its address or as localhost.",
			r.Host)
	case err == nil && r.URL.Path == noticesPath && r.Method == http.MethodPost:
		return p.notifies(r)
	}
	return err
}

// handle turns a function that returns an error into a handler.
func (p *api) handle(serve func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := serve(w, r); err != nil {
			p.refuse(w, r, err)
		}
	}
}

func (p *api) refuse(w http.ResponseWriter, r *http.Request, err error) {
	row := problem.Of(err)
	h := w.Header()
	id := h.Get("X-Request-Id")
	if row.Level >= slog.LevelError {
		p.Log.Error("private request failed", "method", r.Method, "path", r.URL.Path, "request_id", id, "err", err)
	}
	body := row.Body(h, err, id)
	h["Cache-Control"] = []string{"no-store"}
	if row.Status == http.StatusUnauthorized && r.URL.Path == noticesPath {
		h.Add("Www-Authenticate", `Basic realm="imagetier"`)
	}
	w.WriteHeader(row.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// methodsOf returns the methods that a path accepts.
func methodsOf(routes chi.Routes, path string) (methods []string) {
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete} {
		if routes.Match(chi.NewRouteContext(), method, path) {
			methods = append(methods, method)
		}
	}
	return methods
}

// writeJSON responds with v as JSON.
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

// readJSON decodes the body of r, one JSON value without lists, into v. Unknown and repeated fields are an error.
func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	return readJSONUpTo(w, r, v, maxPrivateBody, nil)
}

// readJSONUpTo is readJSON with a limit of most bytes, and with limits of lists. A list that is longer is refused
// before v has any of it.
func readJSONUpTo(w http.ResponseWriter, r *http.Request, v any, most int64, lists jsoncheck.Limits) error {
	body, err := readBody(w, r, most)
	if err != nil {
		return err
	}
	err = jsoncheck.Check(body, lists)
	var long *jsoncheck.LengthError
	if errors.As(err, &long) {
		return problem.Errorf(problem.ErrBodyLarge, "%v.", err)
	}
	if err == nil {
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.DisallowUnknownFields()
		if err = dec.Decode(v); err == nil && len(bytes.TrimSpace(body[dec.InputOffset():])) > 0 {
			err = errors.New("there is more after the JSON value")
		}
	}
	if err != nil {
		return problem.Errorf(problem.ErrRequest, "The body is not the JSON that is expected here: %s.",
			strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

func (p *api) healthy(w http.ResponseWriter, r *http.Request) error {
	w.Header()["Content-Type"] = []string{"text/plain; charset=utf-8"}
	w.Header()["Content-Length"] = []string{"3"}
	if r.Method != http.MethodHead {
		_, _ = w.Write([]byte("ok\n"))
	}
	return nil
}

func (p *api) ready(w http.ResponseWriter, r *http.Request) error {
	if err := p.Operator.Ready(); err != nil {
		return problem.Errorf(problem.ErrNotReady, "Not ready: %v.", err)
	}
	return p.healthy(w, r)
}

func (p *api) stats(w http.ResponseWriter, r *http.Request) error {
	return writeJSON(w, r, http.StatusOK, p.Operator.Stats(r.Context()))
}
