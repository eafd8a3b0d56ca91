// Package events receives the signed events of a feed service (POST /v1/events), the same that the
// tier receives. It drops changed posts and profiles from caches, and loads popular new posts before
// their first request.
package events

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/novasocial/imagetier/gateway/budget"
	"github.com/novasocial/imagetier/internal/boundedcache"
	"github.com/novasocial/imagetier/internal/webhook"
	tierevents "github.com/novasocial/imagetier/prefetch/events"
)

const (
	maxBody   = 1 << 20  // bytes
	maxBodies = 32 << 20 // bytes of all events that are being read
	maxSeen   = 50_000   // ids of each of two generations
	maxWarm   = 100      // posts of an event that are warmed: those with the largest audience
	maxQueued = 64       // events whose posts wait to be warmed; posts of further events are not warmed
)

// Outcome is how an event was handled.
type Outcome string

const (
	Taken     Outcome = "taken"
	Repeated  Outcome = "repeated" // accepted before
	Forged    Outcome = "forged"   // wrong signature or timestamp
	Malformed Outcome = "malformed"
	Unread    Outcome = "unread" // too many are being read, or the body was late or cut short
)

// Types lists the types of events, for metrics.
var Types = []string{
	tierevents.PostPublished, tierevents.PostUpdated, tierevents.PostDeleted, tierevents.FeedPage,
	tierevents.UserUpdated,
}

// Config of a Handler. Verifier, Reader and the two Invalidates are needed.
type Config struct {
	Verifier *webhook.Verifier
	Reader   *tierevents.Reader
	// InvalidatePosts and InvalidateProfiles drop what is cached. An event is answered when
	// they return.
	InvalidatePosts    func(ctx context.Context, ids []string)
	InvalidateProfiles func(ctx context.Context, ids []string)
	// Warm loads posts into the caches. Run calls it after the event was answered. If nil, nothing
	// is warmed.
	Warm func(ctx context.Context, ids []string) error
	// Observe is called for every event; the type is "" if it is unknown. If nil, events are not counted.
	Observe func(eventType string, outcome Outcome)
	// Log receives failures of Warm. If nil, nothing is logged.
	Log *slog.Logger
}

// Handler answers POST /v1/events: 202 once caches have dropped the changed entries, and for
// a repeated event; 401 for a missing or wrong signature; 400 and 413 for a body that is not an
// event; 408 for one that arrives too slowly; 503 while too many are being read. It is safe for concurrent use.
type Handler struct {
	cfg    Config
	bodies *budget.Budget
	mu     sync.Mutex
	seen   boundedcache.Map[string, struct{}] // ids of events; guarded by mu
	warm   chan []string
}

// New returns a Handler.
func New(cfg Config) *Handler {
	if cfg.Observe == nil {
		cfg.Observe = func(string, Outcome) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	h := &Handler{cfg: cfg, bodies: budget.New(maxBodies), warm: make(chan []string, maxQueued)}
	h.seen.Max, h.seen.TTL = maxSeen, 2*webhook.Tolerance // as long as a signature is valid
	return h
}

// Run warms until ctx is done. It returns nil.
func (h *Handler) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case ids := <-h.warm:
			if err := h.cfg.Warm(ctx, ids); err != nil && ctx.Err() == nil {
				h.cfg.Log.Debug("warming the posts of an event failed", "posts", len(ids), "err", err)
			}
		}
	}
}

// ServeHTTP answers.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	claim, err := h.cfg.Verifier.Claim(r.Header)
	if err != nil {
		h.refuse(w, http.StatusUnauthorized, Forged, err)
		return
	}
	body, release, err := h.bodies.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	defer release()
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		h.refuse(w, http.StatusRequestEntityTooLarge, Malformed, errors.New("the event has more than 1 MiB"))
		return
	case errors.Is(err, budget.ErrFull):
		w.Header().Set("Retry-After", "1")
		h.refuse(w, http.StatusServiceUnavailable, Unread, err)
		return
	case errors.Is(err, os.ErrDeadlineExceeded):
		h.refuse(w, http.StatusRequestTimeout, Unread, errors.New("the event arrived too slowly"))
		return
	case err != nil:
		h.refuse(w, http.StatusBadRequest, Unread, errors.New("the event was cut short"))
		return
	}
	if err := h.cfg.Verifier.Verify(claim, body); err != nil {
		h.refuse(w, http.StatusUnauthorized, Forged, err)
		return
	}
	e, err := h.cfg.Reader.ParseEvent(body)
	if err != nil {
		h.refuse(w, http.StatusBadRequest, Malformed, err)
		return
	}
	// An id is remembered once its event has been handled. A repetition that comes earlier is
	// handled too, and drops the same entries.
	h.mu.Lock()
	_, repeated := h.seen.Get(claim.ID)
	h.mu.Unlock()
	if repeated {
		h.cfg.Observe(e.Type, Repeated)
		accept(w, 0)
		return
	}
	h.invalidate(r.Context(), e)
	h.mu.Lock()
	h.seen.Put(claim.ID, struct{}{})
	h.mu.Unlock()
	h.cfg.Observe(e.Type, Taken)
	accept(w, 1)
}

func (h *Handler) invalidate(ctx context.Context, e tierevents.Event) {
	ctx = context.WithoutCancel(ctx)
	switch e.Type {
	case tierevents.PostPublished, tierevents.PostUpdated, tierevents.PostDeleted:
		slices.SortStableFunc(e.Posts, func(a, b tierevents.Post) int { return cmp.Compare(b.Audience, a.Audience) })
		ids := make([]string, 0, len(e.Posts))
		for _, p := range e.Posts {
			ids = append(ids, p.ID)
		}
		if e.Type != tierevents.PostPublished {
			h.cfg.InvalidatePosts(ctx, ids)
		}
		if e.Type != tierevents.PostDeleted && h.cfg.Warm != nil {
			select {
			case h.warm <- ids[:min(len(ids), maxWarm)]:
			default: // the first page with these posts loads them
			}
		}
	case tierevents.UserUpdated:
		h.cfg.InvalidateProfiles(ctx, []string{e.User.ID})
	}
}

func accept(w http.ResponseWriter, n int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_ = json.NewEncoder(w).Encode(map[string]int{"accepted": n})
}

// refuse answers with a problem (RFC 9457). The texts of package feed may be shown.
func (h *Handler) refuse(w http.ResponseWriter, status int, outcome Outcome, err error) {
	h.cfg.Observe("", outcome)
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"type": "about:blank", "title": http.StatusText(status), "status": status,
		"detail": strings.ToUpper(err.Error()[:1]) + err.Error()[1:] + ".",
	})
}
