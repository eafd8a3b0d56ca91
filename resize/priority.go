package resize

import "context"

// Priority orders the queue of the resize workers. It travels in the context, from the
// request or the warming job.
type Priority uint8

const (
	PriorityLive  Priority = iota // a client waits for it; the default
	PriorityPage                  // on a page that a client has just received: it will ask in a moment
	PriorityWarm                  // made ahead of requests, which never wait for it
	NumPriorities                 // the number of priorities
)

type priorityKey struct{}

// WithPriority returns a context for work of priority p.
func WithPriority(ctx context.Context, p Priority) context.Context {
	return context.WithValue(ctx, priorityKey{}, p)
}

// PriorityOf returns the priority of ctx.
func PriorityOf(ctx context.Context) Priority {
	p, _ := ctx.Value(priorityKey{}).(Priority)
	return p
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
