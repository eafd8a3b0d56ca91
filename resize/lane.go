package resize

import "context"

type backgroundKey struct{}

// Background marks what is done with ctx as what can wait: nobody is waiting for it now. Whoever
// has two lanes takes such work in the slower one, and refuses it first.
func Background(ctx context.Context) context.Context {
	return context.WithValue(ctx, backgroundKey{}, true)
}

// InBackground reports whether ctx was marked.
func InBackground(ctx context.Context) bool {
	marked, _ := ctx.Value(backgroundKey{}).(bool)
	return marked
}

type begunKey struct{}

// Begun marks what is done with ctx as the rest of work that was let in before and of which most
// is done: whoever has more work than time does it first, and does not refuse it.
func Begun(ctx context.Context) context.Context {
	return context.WithValue(ctx, begunKey{}, true)
}

// HasBegun reports whether ctx was marked by Begun.
func HasBegun(ctx context.Context) bool {
	marked, _ := ctx.Value(begunKey{}).(bool)
	return marked
}
