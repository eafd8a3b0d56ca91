package resize

import (
	"context"
	"sync"
)

// Priority orders the queue of the resize workers. It travels in the context, from the
// request or the warming job.
type Priority uint8

const (
	PriorityLive  Priority = iota // a client waits for it; the default
	PriorityPage                  // on a page that a client has just received: it will ask in a moment
	PriorityWarm                  // made ahead of requests
	NumPriorities                 // the number of priorities
)

type priorityKey struct{}

// priority is that of a context.
type priority struct {
	of *priority // that of the context from which it was derived by WithRaise; else nil

	mu       sync.Mutex
	own      Priority                 // guarded by mu, as the field below
	onRaised map[*func(Priority)]bool // called with mu held
}

// WithPriority returns a context for work of priority p.
func WithPriority(ctx context.Context, p Priority) context.Context {
	return context.WithValue(ctx, priorityKey{}, &priority{own: p})
}

// WithRaise returns a context of the priority of ctx, also when that is raised, and a function that raises it to p, if
// p is higher: for work that others begin to wait for. ctx keeps its own.
func WithRaise(ctx context.Context) (_ context.Context, raise func(p Priority)) {
	of, _ := ctx.Value(priorityKey{}).(*priority)
	x := &priority{of: of, own: PriorityOf(ctx)}
	return context.WithValue(ctx, priorityKey{}, x), x.raise
}

func (x *priority) raise(to Priority) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if to >= x.own {
		return
	}
	x.own = to
	for do := range x.onRaised {
		(*do)(to)
	}
}

// PriorityOf returns the current priority of ctx.
func PriorityOf(ctx context.Context) Priority {
	x, ok := ctx.Value(priorityKey{}).(*priority)
	if !ok {
		return PriorityLive
	}
	highest := NumPriorities
	for ; x != nil; x = x.of {
		x.mu.Lock()
		highest = min(highest, x.own)
		x.mu.Unlock()
	}
	return highest
}

// FirstPriorityOf returns the priority of ctx before it was raised.
func FirstPriorityOf(ctx context.Context) Priority {
	x, ok := ctx.Value(priorityKey{}).(*priority)
	if !ok {
		return PriorityLive
	}
	for x.of != nil {
		x = x.of
	}
	return x.own // it is never raised: WithPriority returns no function for that, and live is the highest
}

// OnRaise calls do with the priority of ctx, and again whenever it may have been raised, until stop is called: do
// ignores what is no higher than before. It must not block, and not use the priority of ctx.
func OnRaise(ctx context.Context, do func(Priority)) (stop func()) {
	var all []*priority
	x, _ := ctx.Value(priorityKey{}).(*priority)
	for ; x != nil; x = x.of {
		all = append(all, x)
		x.mu.Lock()
		if x.onRaised == nil {
			x.onRaised = make(map[*func(Priority)]bool)
		}
		x.onRaised[&do] = true
		x.mu.Unlock()
	}
	do(PriorityOf(ctx))
	return func() {
		for _, x := range all {
			x.mu.Lock()
			delete(x.onRaised, &do)
			x.mu.Unlock()
		}
	}
}

type continuationKey struct{}

// WithContinuation marks work that finishes something which was admitted earlier and is mostly
// done. The queue takes it first within its priority and never refuses it.
func WithContinuation(ctx context.Context) context.Context {
	return context.WithValue(ctx, continuationKey{}, true)
}

// IsContinuation reports whether ctx was marked by [WithContinuation].
func IsContinuation(ctx context.Context) bool {
	marked, _ := ctx.Value(continuationKey{}).(bool)
	return marked
}
