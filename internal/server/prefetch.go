package server

import (
	"context"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/jetstream"
	"github.com/novasocial/imagetier/internal/metrics"
	"github.com/novasocial/imagetier/origin/sourceurl"
	"github.com/novasocial/imagetier/prefetch/service"
	"github.com/novasocial/imagetier/prefetch/tags"
	"github.com/novasocial/imagetier/prefetch/warmer"
)

func (s *Server) openPrefetch(context.Context) (err error) {
	if s.signer, err = s.cfg.Signer(); err != nil {
		return err
	}
	mode, err := warmer.ParseMode(s.cfg.Warm)
	if err != nil {
		return err
	}
	if s.bus, err = openBus(s.cfg.Config, s.log); err != nil {
		return err
	}
	store, err := openTags(s.cfg.Config, s.log)
	if err != nil {
		return err
	}
	s.onClose(store.Close)
	s.tags = alone{store}
	if s.cfg.NATS != "" {
		s.tags = newFleetTags(store, s.bus, filepath.Join(s.cfg.CacheDir, "tags.place"), s.log)
	}
	s.prefetch, err = service.New(service.Config{
		Cache: s.cache, Sources: s.sources.Guarded, Bus: s.bus, Tags: s.tags, Metrics: s.metrics, Log: s.log,
		Dir: s.cfg.CacheDir, Links: s.cfg.Links, Profiles: s.cfg.Profiles, Buckets: bucketsOf(s.cfg.Config),
		WebhookSecrets: s.cfg.WebhookSecrets, Dev: s.cfg.Dev, Mode: mode, WastedAfter: s.cfg.WastedAfter, Workers: s.cfg.Workers,
		Balancer: s.cfg.Balancer, Signer: s.signer, BalancerTimeout: 2 * fillTimeout(s.cfg.Config),
	})
	if err != nil {
		return err
	}
	s.onClose(func() error { s.prefetch.Close(); return nil })
	s.metrics.Prefetch(func() metrics.PrefetchStats { return metrics.PrefetchStats(s.prefetch.Stats()) })
	s.fleet.use(s.bus, s.tiers.shared)
	return nil
}

// openBus prepares the connection to the queue and the log; it starts nothing.
func openBus(cfg config.Config, log *slog.Logger) (*jetstream.Bus, error) {
	bus := jetstream.Config{Dir: filepath.Join(cfg.CacheDir, "queue"), URL: cfg.NATS, Log: log}
	if cfg.NATS == "" {
		// No other process takes the jobs of one that was killed, so it may have them back soon.
		bus.AckWait = 5 * time.Second
	}
	return jetstream.New(bus)
}

// openTags opens the store of tags. One that cannot be read is left where it is and a new one is
// begun; purges by tag then miss the originals that it knew, which the log says.
func openTags(cfg config.Config, log *slog.Logger) (*tags.Store, error) {
	path := filepath.Join(cfg.CacheDir, "tags")
	store, skipped, err := tags.Open(tags.Config{Path: path})
	if err != nil {
		log.Error("tags unreadable, starting over", "err", err)
		store, skipped, err = tags.Open(tags.Config{Path: path + ".again"})
	}
	if err != nil {
		return nil, err
	}
	if skipped > 0 {
		log.Warn("some tags unreadable: purges by tag miss what they named", "lines", skipped)
	}
	return store, nil
}

func bucketsOf(cfg config.Config) (buckets []service.Bucket) {
	for _, s := range cfg.Sources {
		if s.URL.Kind == sourceurl.S3 {
			buckets = append(buckets, service.Bucket{Name: s.URL.Bucket, Prefix: s.URL.Prefix, Source: s.Name})
		}
	}
	return buckets
}
