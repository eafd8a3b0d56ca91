package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/httpapi/images"
	"github.com/novasocial/imagetier/internal/httpapi/problem"
	"github.com/novasocial/imagetier/internal/jetstream"
	"github.com/novasocial/imagetier/internal/metrics"
	"github.com/novasocial/imagetier/internal/webhook"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/prefetch/events"
	"github.com/novasocial/imagetier/prefetch/tags"
	"github.com/novasocial/imagetier/prefetch/warmer"
	"github.com/novasocial/imagetier/resize"
)

// prefetch is what makes images before they are asked for: what comes in is planned and put into
// the queue (intake.go), a Worker works that off, and a Watch sees what was worth it.
type prefetch struct {
	cfg      config.Config
	log      *slog.Logger
	bus      *jetstream.Bus
	tags     tagStore
	watch    *warmer.Watch
	learnt   *learnt
	worker   *warmer.Worker
	reader   *events.Reader
	verifier *webhook.Verifier // nil if no secrets are configured
	balancer *balancer         // nil: this node makes all of it
	buckets  []bucket
	cache    metrics.Cache
	set      *metrics.Set
	started  time.Time
}

// prefetchParts are what it stands on.
type prefetchParts struct {
	log     *slog.Logger
	set     *metrics.Set
	cache   metrics.Cache
	sources map[string]origin.Source
	signer  *imageurl.Signer
}

// openPrefetch opens the store of tags and prepares the rest; it starts nothing. Nothing that
// is wrong with the queue is an error: images are served without it.
func openPrefetch(cfg config.Config, parts prefetchParts) (*prefetch, error) {
	p := &prefetch{cfg: cfg, log: parts.log, cache: parts.cache, set: parts.set, buckets: bucketsOf(cfg), started: time.Now()}
	var err error
	busConfig := jetstream.Config{Dir: filepath.Join(cfg.CacheDir, "queue"), URL: cfg.NATS, Log: parts.log}
	if cfg.NATS == "" {
		// Nobody else works on what this process was killed over: it may come again soon.
		busConfig.AckWait = 5 * time.Second
	}
	if p.bus, err = jetstream.New(busConfig); err != nil {
		return nil, err
	}
	if len(cfg.WebhookSecrets) > 0 {
		if p.verifier, err = webhook.NewVerifier(nil, cfg.WebhookSecrets...); err != nil {
			return nil, err
		}
	}
	mode, err := warmer.ParseMode(cfg.Warm)
	if err != nil {
		return nil, err
	}
	known := make(map[string]bool)
	for _, source := range cfg.Sources {
		known[source.Name] = true
	}
	p.reader = &events.Reader{Links: cfg.Links, Profiles: cfg.Profiles, Known: func(source string) bool { return known[source] }}
	p.watch = warmer.NewWatch(warmer.WatchConfig{Mode: mode, Profiles: cfg.Profiles, For: cfg.WastedAfter, Lead: parts.set.Lead})
	p.learnt = &learnt{filepath.Join(cfg.CacheDir, "warming.json"), p.watch, parts.log}
	p.learnt.recall()
	making := p.makeHere
	if cfg.Balancer != "" {
		p.balancer = newBalancer(cfg.Balancer, parts.signer, 2*fillTimeout(cfg))
		making = p.balancer.Make
	}
	store, err := openTags(cfg, parts.log)
	if err != nil {
		return nil, err
	}
	p.tags = alone{store}
	if cfg.NATS != "" {
		p.tags = newFleetTags(store, p.bus, filepath.Join(cfg.CacheDir, "tags.place"), parts.log)
	}
	p.worker = warmer.NewWorker(warmer.WorkerConfig{
		Next: p.next, Make: making, Purge: p.purge, Tags: p.tags, Watch: p.watch, TagOf: tagOf(parts.sources),
		Elsewhere: p.balancer != nil, AtOnce: max(2, cfg.Workers), Observe: parts.set.Job, Log: parts.log,
	})
	parts.set.Prefetch(p.stats)
	return p, nil
}

// openTags opens the store of tags. A file that cannot be read is left where it is, and another
// is begun: what it knew is not purged by tag any more, which the log says.
func openTags(cfg config.Config, log *slog.Logger) (*tags.Store, error) {
	path := filepath.Join(cfg.CacheDir, "tags")
	store, skipped, err := tags.Open(tags.Config{Path: path})
	if err != nil {
		log.Error("the tags of originals cannot be read: they begin anew", "err", err)
		store, skipped, err = tags.Open(tags.Config{Path: path + ".again"})
	}
	if err != nil {
		return nil, err
	}
	if skipped > 0 {
		log.Warn("some tags of originals could not be read: what they named is not purged by tag", "lines", skipped)
	}
	return store, nil
}

// run returns what works off the queue, and what the queue needs, which has to run longer.
func (p *prefetch) run() (warm, below []func(context.Context) error) {
	return []func(context.Context) error{p.worker.Run, func(ctx context.Context) error { return p.bus.Notices(ctx, p.noticed) }},
		[]func(context.Context) error{p.bus.Run, p.tags.Run, p.learnt.run}
}

func (p *prefetch) close() error {
	if p.balancer != nil {
		p.balancer.close()
	}
	return p.tags.Close()
}

// watched returns the Cache that clients ask, with what they ask for watched.
func (p *prefetch) watched(c images.Cache) images.Cache {
	return &watchedCache{c, p.watch, p.balancer != nil}
}

type watchedCache struct {
	images.Cache
	watch     *warmer.Watch
	forOthers bool // what can wait comes from nodes that warm through a balancer
}

// Get is the Cache's.
func (c *watchedCache) Get(ctx context.Context, ref imageurl.Ref) (imagecache.Image, imagecache.Outcome, error) {
	img, out, err := c.Cache.Get(ctx, ref)
	switch {
	case err != nil:
	case resize.PriorityOf(ctx) == resize.PriorityLive:
		c.watch.Asked(ref)
	case c.forOthers && out.Forward != imagecache.Hit:
		c.watch.MadeFor(ref)
	}
	return img, out, err
}

// variantsAtOnce bounds the variants of one original that are requested at the same time. Package
// fill makes them together and holds all of them in memory; the built-in profiles have six.
const variantsAtOnce = 8

// forEach calls request for each of refs, variantsAtOnce at a time, and returns the outcomes in order.
func forEach(refs []imageurl.Ref, request func(imageurl.Ref) warmer.Outcome) []warmer.Outcome {
	outcomes := make([]warmer.Outcome, len(refs))
	var group errgroup.Group
	group.SetLimit(variantsAtOnce)
	for i, ref := range refs {
		group.Go(func() error {
			outcomes[i] = request(ref)
			return nil
		})
	}
	_ = group.Wait()
	return outcomes
}

// makeHere makes variants of one original on this node. Fills of one original that run at the
// same time share its fetch and its decode.
func (p *prefetch) makeHere(ctx context.Context, refs []imageurl.Ref) []warmer.Outcome {
	ctx = resize.WithPriority(ctx, resize.PriorityWarm)
	return forEach(refs, func(ref imageurl.Ref) warmer.Outcome {
		_, out, err := p.cache.Get(ctx, ref)
		return warmer.Outcome{Hit: err == nil && out.Forward == imagecache.Hit, Err: err}
	})
}

func (p *prefetch) purge(ctx context.Context, of imagecache.Original) error {
	_, err := p.cache.Purge(ctx, imagecache.Target{Original: of})
	return err
}

// tagged returns the originals that bear a tag, for a purge of them.
func (p *prefetch) tagged(tag string) []imagecache.Original {
	p.set.PurgedByTag()
	return p.tags.Of(tag)
}

// next takes the next job of the queue.
func (p *prefetch) next(ctx context.Context) (warmer.Delivery, error) {
	d, err := p.bus.Next(ctx)
	if err != nil {
		return warmer.Delivery{}, err
	}
	return warmer.Delivery{Data: d.Data, Queued: d.Queued, Done: d.Done, Again: d.Again, Bury: d.Bury, Release: d.Release}, nil
}

// tagOf asks origins for entity tags.
func tagOf(sources map[string]origin.Source) func(context.Context, imagecache.Original) (string, error) {
	return func(ctx context.Context, of imagecache.Original) (string, error) {
		src, ok := sources[of.Source]
		if !ok {
			return "", fmt.Errorf("%w: no source %s", origin.ErrNotFound, of.Source)
		}
		object, err := src.Head(ctx, of.Name)
		if err != nil {
			return "", fmt.Errorf("ask for the tag of %s %s: %w", of.Source, of.Name, err)
		}
		if n := len(object.ETag); n > 2 && object.ETag[0] == '"' && object.ETag[n-1] == '"' {
			return object.ETag[1 : n-1], nil
		}
		return "", nil
	}
}

// statsTime is how long the queue may take to tell how it is, in a scrape.
const statsTime = time.Second

func (p *prefetch) stats() metrics.PrefetchStats {
	ctx, cancel := context.WithTimeout(context.Background(), statsTime)
	defer cancel()
	var stats metrics.PrefetchStats
	stats.Used, stats.Wasted = p.watch.Counts()
	if s, err := p.bus.Stats(ctx); err == nil {
		stats.Available, stats.Waiting, stats.DeadLetters = true, s.Waiting, s.Dead
		if !s.Oldest.IsZero() {
			stats.Lag = max(time.Since(s.Oldest), 0)
		}
	}
	return stats
}

// queued reads an error of the bus as edge wants it.
func queued(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrFull):
		return fmt.Errorf("%w: %w", problem.ErrQueueFull, err)
	case errors.Is(err, jetstream.ErrTooLarge):
		return fmt.Errorf("%w: %w", problem.ErrQueueTooLarge, err)
	}
	return fmt.Errorf("%w: %w", problem.ErrQueue, err)
}
