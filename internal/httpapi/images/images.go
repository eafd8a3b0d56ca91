// Package images is the handler of the public listener, which serves image URLs.
//
// The read path is serve.go, top to bottom: parse, look up, answer. success.go writes
// images, problem.go writes errors (from the table of package problem). testdata shows the
// behaviour as conversations.
//
// There is no router: the handler uses the raw path of the request line, since that is what was
// signed.
package images

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/httpapi"
	"github.com/novasocial/imagetier/internal/httpapi/problem"
	"github.com/novasocial/imagetier/internal/httpserver"
	"github.com/novasocial/imagetier/internal/metrics"
)

// Cache returns images. It is implemented by [imagecache.Cache].
type Cache interface {
	// Get returns the image of ref, whose format is never auto. The error wraps a sentinel
	// of origin, resize or imagecache, or ctx's. Outcome is valid in case of an error too.
	Get(ctx context.Context, ref imageurl.Ref) (imagecache.Image, imagecache.Outcome, error)
}

// Config configures the handler.
type Config struct {
	Signer  *imageurl.Signer // required; parses paths
	Cache   Cache            // required
	Catalog httpapi.Catalog
	// NegativeTTL is how long others may cache a 404, in whole seconds.
	NegativeTTL time.Duration
	// TagHeader is the canonical name of the header that gives a CDN the tag of the
	// original ([imagecache.Original.CDNTag]) with every cacheable answer; if "", the header is not sent.
	TagHeader string
	// Pace is the minimum speed of clients.
	Pace httpserver.Pace
	// Log receives at most one line per request; nil drops them.
	Log *slog.Logger
	// LogErrors is the level from which on a request is logged that failed with an error of that
	// level in the problem table; its zero value is slog.LevelInfo. Of all other requests one in
	// LogEvery is logged, chosen at random; 0 logs none of them.
	LogErrors slog.Level
	LogEvery  int
	// Observe is called for each request but health checks, on the goroutine that served it;
	// may be nil.
	Observe func(metrics.Observation)
	// Origins records what origins answered; may be nil.
	Origins *httpapi.OriginAnswers
	// Errors records requests that are answered with an error; may be nil.
	Errors *httpapi.RecentErrors
	// Now is the clock of Age and durations; nil is time.Now.
	Now func() time.Time
}

// New returns the handler of /i/ and /healthz for GET and HEAD. It panics without a Signer
// or a Cache, or if TagHeader cannot be the name of a header.
func New(cfg Config) *Handler {
	if cfg.Signer == nil || cfg.Cache == nil {
		panic("images.New: Signer and Cache are required")
	}
	cfg.Pace = cfg.Pace.WithDefaults()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	h := &Handler{cfg: cfg, problems: problem.New(cfg.NegativeTTL)}
	if cfg.TagHeader != "" {
		h.tagName = httpserver.NewName(cfg.TagHeader)
	}
	h.std = httpserver.NetHTTP(h)
	return h
}

// Handler answers requests for images. It is an [httpserver.Responder], and an [http.Handler].
type Handler struct {
	cfg      Config
	problems problem.Table
	tagName  httpserver.Name // of cfg.TagHeader
	std      http.Handler
}

// ServeHTTP answers a request that net/http has read.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.std.ServeHTTP(w, r) }
