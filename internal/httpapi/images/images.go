// Package images is the handler of the public listener: it answers image URLs.
//
// The read path is serve.go, top to bottom: parse, look up, answer. success.go writes
// images, problem.go errors (by the table of package problem). testdata shows the behaviour
// as conversations.
//
// There is no router: the handler decides by the raw path of the request line, which is
// what was signed.
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

// Cache has the images; it is implemented by [imagecache.Cache].
type Cache interface {
	// Get returns the image of ref, whose format is never auto. The error wraps a sentinel
	// of origin, resize or imagecache, or ctx's; Outcome is valid with it too.
	Get(ctx context.Context, ref imageurl.Ref) (imagecache.Image, imagecache.Outcome, error)
}

// Config configures the handler.
type Config struct {
	Signer  *imageurl.Signer // required; parses paths
	Cache   Cache            // required
	Catalog httpapi.Catalog
	// NegativeTTL is how long others may cache a 404, in whole seconds; 0 is 10 s.
	NegativeTTL time.Duration
	// TagHeader is the canonical name of the header that gives a CDN the tag of the
	// original ([imagecache.Original.CDNTag]) with every cacheable answer; "" is none.
	TagHeader string
	// Pace is the slowest client that is still served.
	Pace httpserver.Pace
	// Log receives one line per request; nil drops them.
	Log *slog.Logger
	// AccessLevel is the level of that line for successes; its zero value is
	// slog.LevelInfo. The line of an error has the level of its problem row, if higher.
	AccessLevel slog.Level
	// Observe is called with each answered request, on the goroutine that served it; nil
	// is not called. Health checks are not observed.
	Observe func(metrics.Observation)
	// Origins records what origins answered; may be nil.
	Origins *httpapi.OriginAnswers
	// Now is the clock of Age and durations; nil is time.Now.
	Now func() time.Time
}

// New returns the handler of /i/ and /healthz for GET and HEAD. It panics without a Signer
// or a Cache.
func New(cfg Config) http.Handler {
	if cfg.Signer == nil || cfg.Cache == nil {
		panic("images.New: Signer and Cache are required")
	}
	if cfg.NegativeTTL == 0 {
		cfg.NegativeTTL = 10 * time.Second
	}
	cfg.Pace = cfg.Pace.WithDefaults()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &handler{Config: cfg, problems: problem.New(cfg.NegativeTTL)}
}

type handler struct {
	Config
	problems problem.Table
}
