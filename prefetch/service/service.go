// Package service makes images before they are requested. Reading order: intake.go takes events and
// S3 notifications, warm.go takes images and paths from an operator, queue.go puts both into the
// durable queue, and make.go and balancer.go make the images of the jobs that a worker takes from it.
// pages.go makes the paths of a page at once, and watch.go counts which images were requested.
// deadletters.go lists jobs that failed for good. Package warmer decides which images to make, and
// how a job is done.
package service

import (
	"context"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/jetstream"
	"github.com/novasocial/imagetier/internal/webhook"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/prefetch/events"
	"github.com/novasocial/imagetier/prefetch/profile"
	"github.com/novasocial/imagetier/prefetch/warmer"
)

// Cache is the part of the cache that the service needs.
type Cache interface {
	Get(ctx context.Context, ref imageurl.Ref) (imagecache.Image, imagecache.Outcome, error)
	Purge(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error)
}

// Tags maps tags to originals. Implementations replicate it in a fleet.
type Tags interface {
	// Of and LiveOf return an error if they may lack originals.
	Of(ctx context.Context, tag string) ([]imagecache.Original, error)
	LiveOf(ctx context.Context, tag string) ([]imagecache.Original, error)
	// Knows reports whether storing the tag of a page would change nothing.
	Knows(warmer.Tagged) bool
	Ended(tag string, since time.Time) bool
	Forget(tag string) error
	// Take stores the tags of an event durably.
	Take(ctx context.Context, learn []warmer.Tagged, end []string) error
}

// Metrics counts events, jobs and paths.
type Metrics interface {
	Event(kind, outcome string)
	Job(outcome string)
	Lead(time.Duration)
	// Path counts a path of a page by outcome: made, hit, busy, late, failed.
	Path(outcome string)
}

// Config configures a Service. All fields are required unless their comment says otherwise.
type Config struct {
	Cache   Cache
	Sources map[string]origin.Source // by alias
	// CheckName returns an error if a name is not valid in a source. If nil, all names are
	// accepted.
	CheckName func(source, name string) error
	Bus       *jetstream.Bus
	Tags      Tags
	Metrics   Metrics
	Log       *slog.Logger
	// Dir is the directory of the statistics about requests, which survive restarts.
	Dir      string
	Links    *profile.Links
	Profiles *profile.Set
	Buckets  []Bucket // configured S3 sources; nil: none
	// WebhookSecrets verify events. Without any, events are refused, or with Dev accepted unsigned.
	WebhookSecrets []string
	Dev            bool
	Mode           warmer.Mode   // which Specs of a profile are made
	WastedAfter    time.Duration // a variant without a request until then counts as wasted
	Workers        int           // resize processes
	// Signer verifies the paths of pages. If nil, paths are ignored.
	Signer *imageurl.Signer
	// CheckRef returns an error if a request for a variant would be refused. If nil, all are
	// accepted.
	CheckRef func(imageurl.Ref) error
	// Balancer is a URL through which variants are made where they are kept. "": this node makes
	// them. Signer and BalancerTimeout are needed with it; the timeout should be longer than the
	// slowest fill.
	Balancer        string
	BalancerTimeout time.Duration
}

// Service plans, queues and makes images ahead of requests. It is safe for concurrent use.
type Service struct {
	cfg    Config
	watch  *warmer.Watch
	state  *state
	worker *warmer.Worker
	pages  *pages
	// request makes variants of one original here or through the balancer.
	request  func(context.Context, []imageurl.Ref) []warmer.Outcome
	reader   *events.Reader
	verifier *webhook.Verifier
	balancer *balancer // nil: this node makes everything
	started  time.Time
}

// New returns a Service. It starts nothing. An unavailable queue is not an error: images are served
// without it.
func New(cfg Config) (*Service, error) {
	verifier, err := webhook.NewVerifier(nil, cfg.WebhookSecrets...)
	if err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, verifier: verifier, started: time.Now()}
	s.reader = &events.Reader{
		Links: cfg.Links, Profiles: cfg.Profiles, CheckName: cfg.CheckName,
		Known: func(source string) bool {
			_, ok := cfg.Sources[source]
			return ok
		},
	}
	if cfg.Signer != nil {
		s.reader.Path = s.readPath
	}
	s.watch = warmer.NewWatch(
		warmer.WatchConfig{Mode: cfg.Mode, Profiles: cfg.Profiles, For: cfg.WastedAfter, Lead: cfg.Metrics.Lead},
	)
	s.state = &state{filepath.Join(cfg.Dir, "warming.json"), s.watch, cfg.Log}
	s.state.restore()
	s.request = s.makeHere
	if cfg.Balancer != "" {
		s.balancer = newBalancer(cfg.Balancer, cfg.Signer, cfg.BalancerTimeout)
		s.request = s.balancer.Make
	}
	s.pages = newPages(s.makeForPage, cfg.Metrics.Path, pathsAtOnce*max(2, cfg.Workers))
	s.worker = warmer.NewWorker(warmer.WorkerConfig{
		Next: s.next, Make: s.request, Purge: s.purge, Tags: cfg.Tags, Watch: s.watch, TagOf: s.etagOf,
		Elsewhere: s.balancer != nil, AtOnce: max(jobsAtOnce, cfg.Workers), Observe: cfg.Metrics.Job, Log: cfg.Log,
	})
	return s, nil
}

// Run does the jobs of the queue and takes S3 notifications from NATS until ctx is done.
func (s *Service) Run() []func(context.Context) error {
	return []func(context.Context) error{
		s.worker.Run,
		s.pages.run,
		func(ctx context.Context) error { return s.cfg.Bus.Notices(ctx, s.notified) },
	}
}

// ReplaceProfiles replaces the profiles of Config.Profiles by those of set.
func (s *Service) ReplaceProfiles(set *profile.Set) error { return s.watch.ReplaceProfiles(set) }

// ReplaceWebhookSecrets changes the secrets that verify events. After an error the old ones hold.
func (s *Service) ReplaceWebhookSecrets(secrets []string) error {
	return s.verifier.Replace(secrets...)
}

// RunState saves the statistics about requests to disk until ctx is done.
func (s *Service) RunState(ctx context.Context) error { return s.state.run(ctx) }

// Close closes idle connections. It does not close the queue and the tags.
func (s *Service) Close() {
	if s.balancer != nil {
		s.balancer.close()
	}
}

// Stats describes the queue and the use of variants that were made early. The first three fields
// are valid if Available is true.
type Stats struct {
	Lag          time.Duration // age of the oldest job; 0 if the queue is empty
	Waiting      int           // jobs in the queue, those being worked on included
	DeadLetters  int           // jobs
	Available    bool          // the queue answered
	Made         int64         // variants that were made early
	Used, Wasted warmer.Amount // those that were requested, and those that were not in time
	PagePaths    int           // paths of pages that wait to be made
}

// Stats returns the current numbers, within a second.
func (s *Service) Stats(ctx context.Context) Stats {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	stats := Stats{Made: s.watch.MadeCount(), PagePaths: s.pages.waiting()}
	stats.Used, stats.Wasted = s.watch.Counts()
	if q, err := s.cfg.Bus.Stats(ctx); err == nil {
		stats.Available, stats.Waiting, stats.DeadLetters = true, q.Waiting, q.Dead
		if !q.Oldest.IsZero() {
			stats.Lag = max(time.Since(q.Oldest), 0)
		}
	}
	return stats
}
