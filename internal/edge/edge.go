// Package edge is the tier as clients see it: the public listener that answers image
// URLs (Public), the private one that operators look at (Private), and the server that
// keeps slow clients from exhausting either (Server).
//
// The read path is serve.go, top to bottom; what a success looks like is success.go,
// and what an error looks like is the one table in refusal.go. testdata holds
// the same as conversations.
//
// The public listener has no router: it decides by the raw path of the request line,
// which is what was signed, and has two places to go. chi routes the private one.
package edge

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
)

// Cache has the images; imagecache.Cache is the one that there is.
type Cache interface {
	// Get returns the image that ref names. ref's format is never auto. The error wraps
	// a sentinel of origin, resize or imagecache, or ctx's; Outcome is valid with it too.
	Get(ctx context.Context, ref imageurl.Ref) (imagecache.Image, imagecache.Outcome, error)
}

// Source is what the edge must know of a configured source.
type Source struct {
	Originals bool // orig is allowed: it hands out GPS and all
}

// Config of the public listener.
type Config struct {
	Signer *imageurl.Signer // reads paths; needed
	Cache  Cache            // needed
	// Sources by alias. Any other alias is 400.
	Sources map[string]Source
	// Watermarks by name. Any other name is 400.
	Watermarks map[string]bool
	// NegativeTTL is how long a 404 may be kept by others, in whole seconds; 0 is 10 s.
	NegativeTTL time.Duration
	// TagHeader is the header that tells a CDN the tag of the original (imagecache.Original's
	// CDNTag) on every answer that it may keep; "" is none. Its spelling is the canonical one.
	TagHeader string
	// Pace is what is expected of a client that takes an answer.
	Pace Pace
	// Log gets one line a request; nil drops them.
	Log *slog.Logger
	// AccessLevel is the level of that line where nothing is wrong; its zero value is
	// slog.LevelInfo. The line of a refusal has the level of its row, if that is higher.
	AccessLevel slog.Level
	// Observe is told of each request when its answer has been written, on the goroutine
	// that served it; nil is nobody. Health checks are not reported.
	Observe func(Observation)
	// Answers is told what came of asking an origin, for PrivateConfig; nil is nobody.
	Answers *Answers
	// Now is the clock that Age and durations are read from; nil is time.Now.
	Now func() time.Time
}

// Observation is what one request came to, for metrics.
type Observation struct {
	// Status is that of the answer; StatusClientGone if the client hung up, or was hung
	// up on, before it had the whole of it.
	Status int
	// Cache is where the answer came from; None if no cache took part.
	Cache imagecache.Detail
	// Format is jpg png webp avif gif heic jxl (that of the answer, never auto), json,
	// orig, or none where the URL was refused before its Spec was known.
	Format   string
	Duration time.Duration // from the end of the request's headers to the last byte handed to the kernel
	Bytes    int64         // of the body that were handed over
}

// StatusClientGone is the status, in logs and metrics, of a request whose client hung up
// first. The number is nginx's.
const StatusClientGone = 499

// Public returns the handler of the public listener: /i/ and /healthz, GET and HEAD.
// It panics if cfg has no Signer or no Cache.
func Public(cfg Config) http.Handler {
	if cfg.Signer == nil || cfg.Cache == nil {
		panic("edge.Public: Config.Signer and Config.Cache are needed")
	}
	if cfg.NegativeTTL == 0 {
		cfg.NegativeTTL = 10 * time.Second
	}
	cfg.Pace = cfg.Pace.withDefaults()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &public{Config: cfg, refusals: newRefusals(cfg.NegativeTTL)}
}

type public struct {
	Config
	refusals refusals
}
