// Package breaker wraps an [origin.Source] in a circuit breaker, so that an origin that is down
// is not asked. What counts as a failure is in resultOf.
package breaker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/novasocial/imagetier/internal/circuit"
	"github.com/novasocial/imagetier/origin"
)

// Breaker is a Source. It is safe for concurrent use.
type Breaker struct {
	src     origin.Source
	circuit *circuit.Breaker
}

// New returns src with a breaker around it. Each original counts once, when its Body has been
// read to the end or closed, or at once if it is in memory (origin.Object.Whole). Three fields
// of cfg have other defaults here: Failures -1 (failures in a row do not open it), Calls 10 and
// Probes 3.
//
// ErrUnavailable and errors that wrap none of origin's are failures. Every answer of the origin
// is a success, including ErrNotFound, ErrChanged, ErrNotModified, ErrDenied, ErrRejected and
// ErrTooLarge.
// Ignored are callers that left or ran out of time, ErrName (no request was made), and ErrBusy,
// which [origin.Limit] handles. While the breaker is open, Open returns at once an error that
// wraps ErrUnavailable and circuit.ErrOpen.
func New(src origin.Source, cfg circuit.Config) *Breaker {
	cfg.Failures = cmp.Or(cfg.Failures, -1)
	cfg.Calls = cmp.Or(cfg.Calls, 10)
	cfg.Probes = cmp.Or(cfg.Probes, 3)
	return &Breaker{src: src, circuit: circuit.New(cfg)}
}

// State returns the current state.
func (b *Breaker) State() circuit.State { return b.circuit.State() }

// Open implements origin.Source.
func (b *Breaker) Open(ctx context.Context, name string, cond origin.Cond) (*origin.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	done, err := b.circuit.Allow()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", origin.ErrUnavailable, err)
	}
	r := &report{done: done}
	defer r.panicked()
	obj, err := b.src.Open(ctx, name, cond)
	if err != nil {
		r.end(resultOf(ctx, err))
		return nil, err
	}
	if _, whole := obj.Whole(); whole {
		r.end(circuit.Success)
		return obj, nil
	}
	obj.Body = &body{ReadCloser: obj.Body, ctx: ctx, report: r}
	r.handed = true
	return obj, nil
}

// Head implements origin.Source. It counts like a request whose original was read.
func (b *Breaker) Head(ctx context.Context, name string) (origin.Metadata, error) {
	if err := ctx.Err(); err != nil {
		return origin.Metadata{}, err
	}
	done, err := b.circuit.Allow()
	if err != nil {
		return origin.Metadata{}, fmt.Errorf("%w: %w", origin.ErrUnavailable, err)
	}
	r := &report{done: done}
	defer r.panicked()
	meta, err := b.src.Head(ctx, name)
	r.end(resultOf(ctx, err))
	return meta, err
}

// resultOf returns what an error says about the origin.
func resultOf(ctx context.Context, err error) circuit.Result {
	switch {
	case err == nil:
		return circuit.Success
	case errors.Is(err, origin.ErrUnavailable):
		return circuit.Failure
	case errors.Is(err, origin.ErrBusy), errors.Is(err, origin.ErrName):
		return circuit.Ignored
	case origin.IsSentinel(err):
		return circuit.Success
	case ctx.Err() != nil:
		return circuit.Ignored
	}
	return circuit.Failure
}

// report reports the result of a request once.
type report struct {
	done   func(circuit.Result)
	once   sync.Once
	handed bool // to a body
}

func (r *report) end(result circuit.Result) { r.once.Do(func() { r.done(result) }) }

// panicked is deferred: otherwise a request whose Source panicked would never end.
func (r *report) panicked() {
	if !r.handed {
		r.end(circuit.Failure)
	}
}

// body reports how the reading ended.
type body struct {
	io.ReadCloser
	ctx    context.Context
	report *report
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == io.EOF:
		b.report.end(circuit.Success)
	case err != nil:
		b.report.end(resultOf(b.ctx, err))
	}
	return n, err
}

func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.report.end(circuit.Success) // a reader that stops early has seen no error
	return err
}
