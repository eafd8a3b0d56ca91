package server

import (
	"log/slog"
	"path/filepath"
	"time"

	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/jetstream"
	"github.com/novasocial/imagetier/prefetch/tags"
)

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
