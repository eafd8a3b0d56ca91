// Package breaker stops asking an origin that is down: a circuit breaker (Nygard,
// "Release It!") around an origin.Source, over sony/gobreaker.
package breaker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/novasocial/imagetier/origin"
)

// State is where a Breaker stands; its numbers are those of origin_breaker_state.
type State int

const (
	Closed   State = 0 // all is let through
	HalfOpen State = 1 // some are let through, to see
	Open     State = 2 // none is
)

// String returns the state's name.
func (s State) String() string { return [...]string{"closed", "half-open", "open"}[s] }

// Config says when a Breaker opens.
type Config struct {
	// Window is how far back requests count. 0 is 10 s.
	Window time.Duration
	// MinRequests is how many must have come within Window before their failures say
	// anything. 0 is 10.
	MinRequests int
	// FailureRatio is the share of failures from which on the breaker opens, over 0 and
	// at most 1. 0 is 0.5.
	FailureRatio float64
	// Cooldown is how long it stays open before it lets requests try. 0 is 2 s: short,
	// as a try costs the origin little and an outage that has ended costs readers much.
	Cooldown time.Duration
	// Probes is how many are let try at once, and how many must succeed in a row for
	// it to close. One failure opens it again. 0 is 3.
	Probes int
	// Changed is called with every change of state, one at a time and with a lock held:
	// it must not call the Breaker. nil: none.
	Changed func(from, to State)
}

// Breaker is a Source. It is safe for concurrent use.
type Breaker struct {
	src origin.Source
	cb  *gobreaker.TwoStepCircuitBreaker[struct{}]
}

// New returns src with a breaker around it. It counts originals, each by how its reading
// ended: its Body read to the end or closed, or in memory (origin.Object.Whole).
//
// A failure is what says that the origin is down: ErrUnavailable, and errors that wrap
// none of origin's. Every answer of the origin counts for it, also that there is nothing
// (ErrNotFound, ErrChanged, ErrNotModified, ErrDenied, ErrTooLarge). What counts neither
// way: a caller that left or had no time, names that are never asked for (ErrName), and
// ErrBusy, which asks for less and gets it elsewhere. While the breaker is open, Open
// returns an error that wraps ErrUnavailable and ErrOpen, at once.
func New(src origin.Source, cfg Config) *Breaker {
	if cfg.Window <= 0 {
		cfg.Window = 10 * time.Second
	}
	if cfg.MinRequests <= 0 {
		cfg.MinRequests = 10
	}
	if cfg.FailureRatio <= 0 || cfg.FailureRatio > 1 {
		cfg.FailureRatio = 0.5
	}
	if cfg.Cooldown <= 0 {
		cfg.Cooldown = 2 * time.Second
	}
	if cfg.Probes <= 0 {
		cfg.Probes = 3
	}
	return &Breaker{src: src, cb: gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:  uint32(cfg.Probes),
		Interval:     cfg.Window,
		BucketPeriod: max(cfg.Window/10, 1),
		Timeout:      cfg.Cooldown,
		ReadyToTrip: func(n gobreaker.Counts) bool {
			ended := n.TotalSuccesses + n.TotalFailures
			return int(ended) >= cfg.MinRequests && float64(n.TotalFailures) >= cfg.FailureRatio*float64(ended)
		},
		IsSuccessful: func(err error) bool { return err == nil },
		IsExcluded:   func(err error) bool { return errors.Is(err, errNoSign) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			if cfg.Changed != nil {
				cfg.Changed(stateOf(from), stateOf(to))
			}
		},
	})}
}

// State returns where the breaker stands now.
func (b *Breaker) State() State { return stateOf(b.cb.State()) }

func stateOf(s gobreaker.State) State {
	switch s {
	case gobreaker.StateOpen:
		return Open
	case gobreaker.StateHalfOpen:
		return HalfOpen
	}
	return Closed
}

// ErrOpen is wrapped, beside origin.ErrUnavailable, by errors that the Breaker itself
// returns: the origin was not asked.
var ErrOpen = errors.New("circuit breaker open")

// Open implements origin.Source.
func (b *Breaker) Open(ctx context.Context, name string, cond origin.Cond) (*origin.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	done, err := b.cb.Allow()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", origin.ErrUnavailable, ErrOpen)
	}
	r := &report{done: done}
	defer r.panicked()
	obj, err := b.src.Open(ctx, name, cond)
	if err != nil {
		r.end(sign(ctx, err))
		return nil, err
	}
	if _, whole := obj.Whole(); whole {
		r.end(nil)
		return obj, nil
	}
	obj.Body = &body{ReadCloser: obj.Body, ctx: ctx, report: r}
	r.handed = true
	return obj, nil
}

// Head implements origin.Source. It counts as an original that is read does.
func (b *Breaker) Head(ctx context.Context, name string) (origin.Metadata, error) {
	if err := ctx.Err(); err != nil {
		return origin.Metadata{}, err
	}
	done, err := b.cb.Allow()
	if err != nil {
		return origin.Metadata{}, fmt.Errorf("%w: %w", origin.ErrUnavailable, ErrOpen)
	}
	r := &report{done: done}
	defer r.panicked()
	meta, err := b.src.Head(ctx, name)
	r.end(sign(ctx, err))
	return meta, err
}

var (
	errNoSign = errors.New("says nothing about the origin")
	errPanic  = errors.New("panic")
)

// sign reduces an error to what it says about the origin: nil is that it is up.
func sign(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, origin.ErrUnavailable):
		return err
	case errors.Is(err, origin.ErrBusy), errors.Is(err, origin.ErrName):
		return errNoSign
	case origin.IsSentinel(err):
		return nil
	case ctx.Err() != nil:
		return errNoSign
	}
	return err
}

// report tells the breaker once how a request ended.
type report struct {
	done   func(error)
	once   sync.Once
	handed bool // to a body
}

func (r *report) end(err error) { r.once.Do(func() { r.done(err) }) }

// panicked is deferred: a request whose Source panicked would never end.
func (r *report) panicked() {
	if !r.handed {
		r.end(errPanic)
	}
}

// body tells how the reading ended.
type body struct {
	io.ReadCloser
	ctx    context.Context
	report *report
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == io.EOF:
		b.report.end(nil)
	case err != nil:
		b.report.end(sign(b.ctx, err))
	}
	return n, err
}

func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.report.end(nil) // its reader had enough; it came well so far
	return err
}
