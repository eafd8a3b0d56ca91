package memtier

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/allegro/bigcache/v3"
)

// queue is a FIFO of records in a bigcache.
type queue struct {
	cache   *bigcache.BigCache
	largest int // maximum size of a record, in bytes
}

// Readers of one shard do not wait for writers of another. A shard must hold many images, since an
// image of its size would evict all others. With 4 MiB and a quarter of that for the largest image,
// byte hit ratios of small tiers were 8 points below those of otter on traces with large objects;
// with 16 MiB and a half they are within one.
const shardBytes = 16 << 20

// newQueue returns a queue of mib mebibytes. set calls left for each record that it evicts,
// with the shard's lock held; record is a copy that left may keep.
func newQueue(mib int, left func(id uint64, record []byte)) (*queue, error) {
	shards := 1
	for shards < 1024 && mib<<20/(2*shards) >= shardBytes {
		shards *= 2
	}
	size := mib << 20 / shards
	q := &queue{largest: size / 2}
	cache, err := bigcache.New(context.Background(), bigcache.Config{
		Shards:     shards,
		LifeWindow: 100 * 365 * 24 * time.Hour, // never: freshness is the cache's
		// Without CleanWindow there is no goroutine. The next two make bigcache allocate a shard at
		// once; growing it would copy it with its lock held.
		MaxEntriesInWindow: shards * (size >> 12),
		MaxEntrySize:       1 << 12,
		Hasher:             idHasher{},
		HardMaxCacheSize:   mib,
		OnRemoveWithReason: func(key string, record []byte, reason bigcache.RemoveReason) {
			if reason == bigcache.NoSpace {
				left(idOf(key), record)
			}
		},
	})
	q.cache = cache
	return q, err
}

func (q *queue) get(id uint64) ([]byte, bool) {
	record, err := q.cache.Get(keyOf(id))
	return record, err == nil
}

func (q *queue) set(id uint64, record []byte) bool { return q.cache.Set(keyOf(id), record) == nil }

func (q *queue) remove(id uint64) { _ = q.cache.Delete(keyOf(id)) } // an error: it is not there

func (q *queue) len() int { return q.cache.Len() }

// Keys are ids, spelled in eight bytes.
func keyOf(id uint64) string {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], id)
	return string(b[:])
}

func idOf(key string) uint64 { return idHasher{}.Sum64(key) }

type idHasher struct{}

func (idHasher) Sum64(key string) uint64 {
	var b [8]byte
	copy(b[:], key)
	return binary.LittleEndian.Uint64(b[:])
}
