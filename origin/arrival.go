package origin

import "context"

// An Arrival watches a body while [ReadAll] reads it. Its methods are called by one goroutine at a
// time and must not block.
type Arrival interface {
	// Arrived is called with all bytes of the body that have arrived, and its size. They are not verified: the
	// body may still be truncated or fail its digest. The bytes are not modified later. Arrived is not called
	// for a body of unknown size or one that is in memory already (Object.Whole).
	Arrived(body []byte, size int64)
	// Failed is called when reading the body has failed. [Retry] may read another one after that.
	Failed()
}

type arrivalKey struct{}

// WithArrival returns a context in which ReadAll calls a with what arrives.
func WithArrival(ctx context.Context, a Arrival) context.Context {
	return context.WithValue(ctx, arrivalKey{}, a)
}

// arrivalOf returns the Arrival of ctx, or one that does nothing.
func arrivalOf(ctx context.Context) Arrival {
	if a, ok := ctx.Value(arrivalKey{}).(Arrival); ok {
		return a
	}
	return unwatched{}
}

type unwatched struct{}

func (unwatched) Arrived([]byte, int64) {}
func (unwatched) Failed()               {}
