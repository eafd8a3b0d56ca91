package resize

import "context"

// Priority says who waits for a piece of work. It travels in the context, from the request or
// the warming job down to the queue of the resize workers.
type Priority uint8

const (
	PriorityLive Priority = iota // a client waits for it; the default
	PriorityWarm                 // made ahead of requests: foreground requests never wait for it
	Priorities                   // how many there are
)

type priorityKey struct{}

// WithPriority returns a context for work of that priority.
func WithPriority(ctx context.Context, p Priority) context.Context {
	return context.WithValue(ctx, priorityKey{}, p)
}

// PriorityOf returns the priority of ctx.
func PriorityOf(ctx context.Context) Priority {
	p, _ := ctx.Value(priorityKey{}).(Priority)
	return p
}

type begunKey struct{}

// Begun marks work as the rest of something that was admitted before and is mostly done. The
// queue takes it first within its priority and does not refuse it.
func Begun(ctx context.Context) context.Context {
	return context.WithValue(ctx, begunKey{}, true)
}

// HasBegun reports whether ctx was marked by Begun.
func HasBegun(ctx context.Context) bool {
	marked, _ := ctx.Value(begunKey{}).(bool)
	return marked
}
