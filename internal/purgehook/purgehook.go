// Package purgehook tells an adapter in front of a CDN which originals were purged, taken down
// or lifted: webhooks of ours, signed as Standard Webhooks are. It is handed orders out of a
// durable log (bus.Batch), waits until every node has obeyed them, and says of each whether it
// was told.
//
// The order is purge, receipt, hook. A CDN that were purged before every node has purged could
// ask one that has not, and keep the old bytes again.
package purgehook

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

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/webhook"
)

// Order is what the tier was told to do, as it lies in a log: the JSON of an entry of
// purgelog.
type Order struct {
	ID     string `json:"id"`
	Kind   string `json:"kind"` // purge or soft
	Why    string `json:"why,omitempty"`
	Source string `json:"source"`
	Name   []byte `json:"name"`           // base64: a name may be any bytes
	Path   string `json:"path,omitempty"` // of a variant, without its signature
}

// Kinds of orders, and why a purge was one.
const (
	Purge    = "purge"
	Soft     = "soft"
	Takedown = "takedown"
	Lift     = "lift"
)

// Receipt is the JSON of what is said when every node that lives has obeyed an order, or was
// waited for long enough.
type Receipt struct {
	Order string `json:"entry"`
}

// Item is an order that is to be told.
type Item struct {
	Data []byte    // an Order as JSON
	At   time.Time // when it was given
}

// Config of a Sender.
type Config struct {
	URL     string        // that is posted to; needed
	Secrets []string      // whsec_ and base64; each signs; needed
	Wait    time.Duration // how long to wait for a receipt; 0 is 5 s
	Timeout time.Duration // of one post; 0 is 10 s
	MaxAge  time.Duration // of an order: afterwards nobody tries any more; 0 is 24 h
	// First is the pause after a first failure, which doubles with each, up to 300 times as
	// much; 0 is 1 s.
	First time.Duration
	// Observe is told what became of a post (sent, failed) and of an order that was given up
	// (expired); nil is nobody.
	Observe func(outcome string)
	Now     func() time.Time // nil is time.Now
	Log     *slog.Logger     // nil drops
}

// Most is how many orders Send takes at once: as many originals a CDN's API takes in one call.
const Most = 100

// Sender posts. It is safe for concurrent use.
type Sender struct {
	cfg    Config
	signer *webhook.Signer
	client *http.Client

	mu       sync.Mutex
	receipts map[string]time.Time // orders that were obeyed, and when that was heard
	changed  chan struct{}        // closed when there is one more
	failures int                  // in a row
}

// New returns a Sender. It starts nothing.
func New(cfg Config) (*Sender, error) {
	if cfg.URL == "" {
		return nil, errors.New("purgehook: no URL")
	}
	signer, err := webhook.NewSigner(cfg.Secrets...)
	if err != nil {
		return nil, fmt.Errorf("purgehook: %w", err)
	}
	for _, d := range []struct {
		of      *time.Duration
		instead time.Duration
	}{{&cfg.Wait, 5 * time.Second}, {&cfg.Timeout, 10 * time.Second}, {&cfg.MaxAge, 24 * time.Hour}, {&cfg.First, time.Second}} {
		if *d.of == 0 {
			*d.of = d.instead
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
	s := &Sender{cfg: cfg, signer: signer, receipts: make(map[string]time.Time), changed: make(chan struct{})}
	s.client = &http.Client{
		Timeout: cfg.Timeout,
		// What was signed for one is for nobody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s, nil
}

// Close ends idle connections.
func (s *Sender) Close() { s.client.CloseIdleConnections() }

// keepReceipts is how long a receipt is remembered: the log may hand out its order later.
const keepReceipts = time.Minute

// Heard takes in a Receipt as JSON. What is none is nothing.
func (s *Sender) Heard(data []byte) {
	var r Receipt
	if json.Unmarshal(data, &r) != nil || r.Order == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	for id, at := range s.receipts {
		if now.Sub(at) > keepReceipts {
			delete(s.receipts, id)
		}
	}
	s.receipts[r.Order] = now
	close(s.changed)
	s.changed = make(chan struct{})
}

// Send tells of orders, in their order, when there are receipts of all of them or after
// Config.Wait. done of them need not be told again; the others do, after again.
func (s *Sender) Send(ctx context.Context, items []Item) (done int, again time.Duration) {
	orders := make([]Order, len(items))
	fresh := make([]string, 0, len(items)) // ids whose receipts may be to come
	for i, item := range items {
		if err := json.Unmarshal(item.Data, &orders[i]); err != nil {
			s.cfg.Log.Error("a purge that somebody is to be told of does not read: it is left out", "err", err)
			orders[i] = Order{}
			continue
		}
		switch age := s.cfg.Now().Sub(item.At); {
		case age > s.cfg.MaxAge:
			s.cfg.Observe("expired")
			s.cfg.Log.Error("a purge hook is given up: the CDN may keep what was purged", "age", age, "source", orders[i].Source, "name", string(orders[i].Name))
			orders[i] = Order{}
		case age < keepReceipts:
			fresh = append(fresh, orders[i].ID)
		}
	}
	s.await(ctx, fresh)
	for len(items) > done {
		n, body, id := compose(orders[done:], items[done:])
		if n == 0 {
			return len(items), 0
		}
		after, err := s.post(ctx, id, body)
		if err != nil {
			return done, s.failed(ctx, err, after)
		}
		s.cfg.Observe("sent")
		s.mu.Lock()
		s.failures = 0
		s.mu.Unlock()
		done += n
	}
	return done, 0
}

// await returns when there are receipts of all these orders, after Config.Wait, or with ctx.
func (s *Sender) await(ctx context.Context, ids []string) {
	late := time.NewTimer(s.cfg.Wait)
	defer late.Stop()
	for _, id := range ids {
		for {
			s.mu.Lock()
			_, ok := s.receipts[id]
			changed := s.changed
			s.mu.Unlock()
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

// failed counts, and returns when to try again: not before whoever failed wants it.
func (s *Sender) failed(ctx context.Context, err error, after time.Duration) time.Duration {
	if ctx.Err() != nil {
		return s.cfg.First // the process ends
	}
	s.cfg.Observe("failed")
	s.mu.Lock()
	defer s.mu.Unlock()
	pause := min(s.cfg.First<<min(s.failures, 10), 300*s.cfg.First)
	s.failures++
	pause = max(pause/2+rand.N(pause/2+1), min(after, 10*time.Minute))
	s.cfg.Log.Warn("a purge hook was not taken: it is tried again", "url", s.cfg.URL, "failures", s.failures, "after", pause, "err", err)
	return pause
}

// original is one in a payload.
type original struct {
	Source string `json:"source"`
	Name   string `json:"name"` // bytes that are no UTF-8 are replaced: Tag is exact
	Tag    string `json:"tag"`
	Path   string `json:"path,omitempty"`
}

type payload struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      struct {
		Soft      bool       `json:"soft,omitempty"`
		Originals []original `json:"originals"`
	} `json:"data"`
}

func typeOf(o Order) string {
	switch o.Why {
	case Takedown:
		return "image.taken_down"
	case Lift:
		return "image.lifted"
	}
	return "image.purged"
}

// compose makes a payload of the first n orders: those that are of one type, each original
// once. Orders that are the zero Order are passed over; n is 0 if there is no other.
func compose(orders []Order, items []Item) (n int, body []byte, id string) {
	var p payload
	var ids []string
	seen := make(map[original]bool)
	for i, o := range orders {
		if o.ID == "" {
			if len(ids) > 0 {
				n = i + 1
			}
			continue
		}
		kind, soft := typeOf(o), o.Kind == Soft
		if len(ids) > 0 && (kind != p.Type || soft != p.Data.Soft) {
			break
		}
		p.Type, p.Data.Soft = kind, soft
		of := imagecache.Original{Source: o.Source, Name: string(o.Name)}
		one := original{Source: of.Source, Name: of.Name, Tag: of.CDNTag(), Path: o.Path}
		if !seen[one] {
			p.Data.Originals = append(p.Data.Originals, one)
			seen[one] = true
		}
		if at := items[i].At.UTC(); at.After(p.Timestamp) {
			p.Timestamp = at
		}
		ids = append(ids, o.ID)
		n = i + 1
	}
	if n == 0 {
		return 0, nil, ""
	}
	body, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings, a time and a flag
	}
	return n, body, idOf(ids)
}
