package server

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/jetstream"
	"github.com/novasocial/imagetier/internal/metrics"
	"github.com/novasocial/imagetier/internal/purgehook"
)

// hooks have somebody outside told of purges. In a fleet the log of purges is what is told, by
// one node of all. A node that is alone writes its purges into a log for that (jetstream.Hooks)
// before it obeys them, so that a kill in between loses none: it is told of one too many, then.
type hooks struct {
	sender  *purgehook.Sender
	alone   bool
	log     *slog.Logger
	started time.Time
	bus     *jetstream.Bus // set by use

	mu      sync.Mutex
	pending []purgehook.Order // that could not be written; guarded by mu
}

// openHooks returns nil where nobody is to be told.
func openHooks(cfg config.Config, log *slog.Logger, set *metrics.Set) (*hooks, error) {
	if cfg.PurgeHook == "" {
		return nil, nil
	}
	sender, err := purgehook.New(purgehook.Config{URL: cfg.PurgeHook, Secrets: cfg.PurgeSecrets, Observe: set.PurgeHooks(), Log: log})
	return &hooks{sender: sender, alone: cfg.NATS == "", log: log, started: time.Now()}, err
}

// use comes before anything runs.
func (h *hooks) use(b *jetstream.Bus) {
	if h != nil {
		h.bus = b
	}
}

// over returns the cache whose purges are told.
func (h *hooks) over(cache metrics.Cache) metrics.Cache {
	if h == nil || !h.alone {
		return cache
	}
	return &hooked{cache, h}
}

type hooked struct {
	metrics.Cache
	hooks *hooks
}

func (c *hooked) Purge(ctx context.Context, what imagecache.Target) (imagecache.Receipt, error) {
	return c.hooks.around(ctx, orderOf(purgehook.Purge, "", what), func() (imagecache.Receipt, error) { return c.Cache.Purge(ctx, what) })
}

func (c *hooked) SoftPurge(ctx context.Context, what imagecache.Target) (imagecache.Receipt, error) {
	return c.hooks.around(ctx, orderOf(purgehook.Soft, "", what), func() (imagecache.Receipt, error) { return c.Cache.SoftPurge(ctx, what) })
}

func orderOf(kind, why string, what imagecache.Target) purgehook.Order {
	of := what.Original
	if what.Key != (imagecache.Key{}) {
		of = what.Key.Original()
	}
	return purgehook.Order{ID: rand.Text(), Kind: kind, Why: why, Source: of.Source, Name: []byte(of.Name), Path: what.Key.String()}
}

// around writes the order, obeys it, and says that it was obeyed. What fails is told too: the
// one who asked repeats it, and some of it may be gone.
func (h *hooks) around(ctx context.Context, o purgehook.Order, obey func() (imagecache.Receipt, error)) (imagecache.Receipt, error) {
	if h == nil || !h.alone {
		return obey()
	}
	if err := h.write(ctx, o); err != nil {
		h.log.Error("a purge is not written down for whoever is to be told of it: a restart before it is told loses it", "source", o.Source, "name", string(o.Name), "err", err)
		h.mu.Lock()
		h.pending = append(h.pending, o)
		h.mu.Unlock()
	}
	receipt, err := obey()
	if said, bad := json.Marshal(purgehook.Receipt{Order: o.ID}); bad == nil {
		h.bus.Say("done", said)
	}
	return receipt, err
}

// writeTime is how long a purge waits for its order to be written; busStartTime is how long one
// does that comes while the queue is starting.
const writeTime = time.Second

func (h *hooks) write(ctx context.Context, o purgehook.Order) error {
	h.mu.Lock()
	failing := len(h.pending) > 0
	h.mu.Unlock()
	if failing { // a disk that fails is not to slow down every purge
		return errors.New("others wait to be written")
	}
	starting, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(0, busStartTime-time.Since(h.started)))
	_ = h.bus.Ready(starting) // what is not ready then says so
	cancel()
	writing, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTime)
	defer cancel()
	return h.append(writing, o)
}

func (h *hooks) append(ctx context.Context, o purgehook.Order) error {
	data, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("write an order: %w", err)
	}
	of := imagecache.Original{Source: o.Source, Name: string(o.Name)}
	_, err = h.bus.Append(ctx, jetstream.Hooks, of.CDNTag(), o.ID, data)
	return err
}

// run returns what tells.
func (h *hooks) run() []func(context.Context) error {
	if h == nil {
		return nil
	}
	log := jetstream.Purges
	if h.alone {
		log = jetstream.Hooks
	}
	parts := []func(context.Context) error{
		func(ctx context.Context) error { return h.bus.Listen(ctx, "done", h.sender.Heard) },
		func(ctx context.Context) error {
			defer h.sender.Close()
			return h.bus.Batch(ctx, log, jetstream.Batcher{Name: "hooks", Most: purgehook.Most, Do: h.send})
		},
	}
	if h.alone {
		parts = append(parts, h.writePending)
	}
	return parts
}

func (h *hooks) send(ctx context.Context, batch []jetstream.Entry) (done int, again time.Duration) {
	items := make([]purgehook.Item, len(batch))
	for i, e := range batch {
		items[i] = purgehook.Item{Data: e.Data, At: e.At}
	}
	return h.sender.Send(ctx, items)
}

// writePending writes what could not be written, until ctx is done.
func (h *hooks) writePending(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for ctx.Err() == nil {
			h.mu.Lock()
			if len(h.pending) == 0 {
				h.mu.Unlock()
				break
			}
			o := h.pending[0]
			h.mu.Unlock()
			writing, cancel := context.WithTimeout(ctx, writeTime)
			err := h.append(writing, o)
			cancel()
			if err != nil {
				break
			}
			h.mu.Lock()
			h.pending = h.pending[1:]
			h.mu.Unlock()
		}
	}
}

// busStartTime is how long the queue may take to start before a hook gives up on it.
const busStartTime = 2 * time.Second
