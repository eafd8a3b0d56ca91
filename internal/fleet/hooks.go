package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/novasocial/imagetier/internal/boundedcache"
	"github.com/novasocial/imagetier/internal/jetstream"
	"github.com/novasocial/imagetier/internal/webhook"
)

// HookConfig configures a Hook.
type HookConfig struct {
	URL     string        // required
	Secrets []string      // whsec_ and base64; each signs; required
	Wait    time.Duration // how long to wait until every node has applied an entry; 0 is 5 s
	Timeout time.Duration // of one post; 0 is 10 s
	MaxAge  time.Duration // maximum age of an entry to send; 0 is 24 h
	// FirstPause is the pause after the first failure. It doubles with each further one, up to 300
	// times; 0 is 1 s.
	FirstPause time.Duration
	// Observe is called with the outcome of a post (sent, failed) or of an entry that is too old
	// (expired). It may be nil.
	Observe func(outcome string)
	Now     func() time.Time // nil is time.Now
	Log     *slog.Logger     // nil discards
}

// maxOriginals is the maximum number of entries in one post: as many originals as the API of a CDN
// accepts in one call.
const maxOriginals = 100

// Hook notifies an adapter of a CDN of purged, taken down and lifted originals by signed webhooks
// (Standard Webhooks). It receives entries from a durable stream and acknowledges each.
//
// The order is purge, receipt, hook: if the CDN were purged before all nodes, it could fetch the
// old bytes again from a node that has not purged yet.
type Hook struct {
	cfg    HookConfig
	signer *webhook.Signer
	client *http.Client

	mu       sync.Mutex
	applied  boundedcache.Map[string, struct{}] // entries that every node has applied
	changed  chan struct{}                      // closed when an entry is added
	failures int                                // in a row
}

// NewHook returns a Hook. It starts nothing.
func NewHook(cfg HookConfig) (*Hook, error) {
	if cfg.URL == "" {
		return nil, errors.New("purge hook: a URL is needed")
	}
	for _, d := range []struct {
		of    *time.Duration
		value time.Duration
	}{
		{&cfg.Wait, 5 * time.Second},
		{&cfg.Timeout, 10 * time.Second},
		{&cfg.MaxAge, 24 * time.Hour},
		{&cfg.FirstPause, time.Second},
	} {
		if *d.of == 0 {
			*d.of = d.value
		}
	}
	if cfg.Observe == nil {
		cfg.Observe = func(string) {}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	h := &Hook{cfg: cfg, changed: make(chan struct{})}
	h.applied.Max, h.applied.TTL = maxApplied, rememberApplied
	signer, err := webhook.NewSigner(cfg.Secrets...)
	if err != nil {
		return nil, fmt.Errorf("purge hook: %w", err)
	}
	h.signer = signer
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxResponseHeaderBytes = 64 << 10
	h.client = &http.Client{
		Transport: transport,
		Timeout:   cfg.Timeout,
		// Not followed: a signature is for one receiver.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return h, nil
}

func (h *Hook) close() { h.client.CloseIdleConnections() }

// rememberApplied is how long applied entries are remembered, since the stream may deliver them
// later, and maxApplied how many at least. For one that is forgotten await waits in vain.
const (
	rememberApplied = time.Minute
	maxApplied      = 50_000
)

// hear records that every node has applied an entry.
func (h *Hook) hear(data []byte) {
	var m message
	if json.Unmarshal(data, &m) != nil || m.Entry == "" {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.applied.Put(m.Entry, struct{}{})
	close(h.changed)
	h.changed = make(chan struct{})
}

// send posts entries in order, once every node has applied all of them or after HookConfig.Wait.
// The first done entries are finished; the others must be delivered again after the pause again.
func (h *Hook) send(ctx context.Context, batch []jetstream.Entry) (done int, again time.Duration) {
	entries := make([]Entry, len(batch))
	var fresh []string // ids of entries that some node may not have applied yet
	for i, item := range batch {
		e, err := decode(item.Data)
		age := h.cfg.Now().Sub(item.At)
		switch {
		case err != nil:
			h.cfg.Log.Error("unreadable entry not sent to the CDN", "err", err)
			continue
		case age > h.cfg.MaxAge:
			h.cfg.Observe("expired")
			h.cfg.Log.Error("purge hook gave up; the CDN may still serve purged images",
				"age", age, "source", e.Source, "name", string(e.Name))
			continue
		case age < rememberApplied:
			fresh = append(fresh, e.ID)
		}
		entries[i] = e
	}
	h.await(ctx, fresh)
	for done < len(batch) {
		if entries[done].ID == "" { // finished, whether or not the next post fails
			done++
			continue
		}
		n, body, id := compose(entries[done:], batch[done:])
		after, err := h.post(ctx, id, body)
		if err != nil {
			return done, h.failed(ctx, err, after)
		}
		h.cfg.Observe("sent")
		h.mu.Lock()
		h.failures = 0
		h.mu.Unlock()
		done += n
	}
	return done, 0
}

// await returns when all these entries are applied everywhere, after HookConfig.Wait, or when ctx
// is done.
func (h *Hook) await(ctx context.Context, ids []string) {
	late := time.NewTimer(h.cfg.Wait)
	defer late.Stop()
	for _, id := range ids {
		for {
			h.mu.Lock()
			_, ok := h.applied.Get(id)
			changed := h.changed
			h.mu.Unlock()
			if ok {
				break
			}
			select {
			case <-changed:
				continue
			case <-late.C:
			case <-ctx.Done():
			}
			return
		}
	}
}

// failed returns the pause before the next attempt, at least after, the receiver's Retry-After.
func (h *Hook) failed(ctx context.Context, err error, after time.Duration) time.Duration {
	if ctx.Err() != nil {
		return h.cfg.FirstPause // the process ends
	}
	h.cfg.Observe("failed")
	h.mu.Lock()
	defer h.mu.Unlock()
	pause := min(h.cfg.FirstPause<<min(h.failures, 10), 300*h.cfg.FirstPause)
	h.failures++
	pause = max(pause/2+rand.N(pause/2+1), min(after, 10*time.Minute))
	h.cfg.Log.Warn("purge hook failed, will be retried",
		"url", h.cfg.URL, "failures", h.failures, "after", pause, "err", err)
	return pause
}
