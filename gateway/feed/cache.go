package feed

import "context"

// Cache stores values of one kind by ID: posts, profiles, or slices by [Query.Key]. It is safe for
// concurrent use.
type Cache[V any] interface {
	// Get returns one Entry per ID, in the order of ids. It never fails: an unreachable backend
	// costs at most 50 ms.
	Get(ctx context.Context, ids []string) []Entry[V]
	// Put stores values from a service, except those requested before their ID was dropped. It
	// does not wait for a slow backend.
	Put(ctx context.Context, values []Kept[V])
	// Drop removes ids, including stale values, here and on other gateways. Values requested
	// from a service before Drop are not stored after it.
	Drop(ctx context.Context, ids []string)
}

// Entry is the result of a cache lookup.
type Entry[V any] struct {
	// Value is nil on a miss. It is shared and must not be modified.
	Value *V
	// Fresh reports whether Value is within its TTL. Otherwise it is stale, for use when the
	// service fails.
	Fresh bool
	// Lease must be passed to Put with the value from the service.
	Lease Lease
}

// Kept is a value to store, with the Lease from Get before the call of the service. The value must
// not be modified afterwards.
type Kept[V any] struct {
	ID    string
	Value *V
	Lease Lease
}

// Lease is the state of an ID at a cache miss, by which Put detects a Drop in between. It is opaque to
// callers.
type Lease struct {
	Local  uint64 // number of drops on this gateway
	Shared uint64 // number of drops in the shared store
	Link   uint32 // number of connections to the shared store
	Asked  bool   // Shared is known
}

// get reads a cache that may be nil.
func get[V any](ctx context.Context, c Cache[V], ids []string) []Entry[V] {
	if c == nil || len(ids) == 0 {
		return make([]Entry[V], len(ids))
	}
	return c.Get(ctx, ids)
}
