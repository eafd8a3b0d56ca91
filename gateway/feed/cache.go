package feed

import "context"

// Cache keeps values of one kind under ids: posts, profiles, or the slices of pages under
// Query.Key. It is safe for concurrent use.
type Cache[V any] interface {
	// Get returns one Entry for each of ids, in their order. It never fails: what is behind
	// a Cache may be down for as long as it likes, and costs at most 50 ms.
	Get(ctx context.Context, ids []string) []Entry[V]
	// Put keeps what a service has said, unless it was asked before an id was dropped. It
	// does not wait for what is slow.
	Put(ctx context.Context, values []Kept[V])
	// Drop forgets ids, here and on other gateways, also as stale values. What a service was
	// asked for before Drop was called is not kept after it.
	Drop(ctx context.Context, ids []string)
}

// Entry is what a Cache has under an id.
type Entry[V any] struct {
	// Value is nil if there is nothing. It is shared: nobody may change it.
	Value *V
	// Fresh: good as it is. Otherwise it is for when the service fails.
	Fresh bool
	// Lease goes with the value that a service is asked for instead.
	Lease Lease
}

// Kept is a value to keep, with the Lease that Get gave for its id before the service was
// asked. The value must not be changed afterwards.
type Kept[V any] struct {
	ID    string
	Value *V
	Lease Lease
}

// Lease is what a Cache noted of an id when it had nothing fresh. Only the Cache that gave
// it knows what it says.
type Lease struct {
	Local  uint64 // counts what was dropped here
	Shared uint64 // the same in the store that gateways share
	Link   uint32 // counts connections to that store
	Asked  bool   // that store has said what Shared is
}

// get asks a cache that may not be there.
func get[V any](ctx context.Context, c Cache[V], ids []string) []Entry[V] {
	if c == nil || len(ids) == 0 {
		return make([]Entry[V], len(ids))
	}
	return c.Get(ctx, ids)
}
