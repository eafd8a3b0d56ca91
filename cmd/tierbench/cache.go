package main

import (
	"container/list"
	"context"
	"fmt"
	"time"

	"github.com/allegro/bigcache/v3"
	"github.com/maypok86/otter/v2"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/imagecache/memtier"
)

// cache is a cache under test: ask reports a hit, and stores the object after a miss.
type cache interface{ ask(r request) bool }

// contender is a kind of cache.
type contender struct {
	name string
	open func(bytes int64) (cache, error)
}

var contenders = []contender{
	{"imagetier (S3-FIFO over bigcache)", func(n int64) (cache, error) { return openTier(n) }},
	{"otter v2 (W-TinyLFU)", func(n int64) (cache, error) { return openOtter(n) }},
	{"LRU", func(n int64) (cache, error) { return newLRU(n), nil }},
	{"bigcache (FIFO)", func(n int64) (cache, error) { return openBigcache(n) }},
}

// zeros is the body of every object; its content does not matter.
var zeros = make([]byte, 64<<20)

type tierCache struct {
	tier *memtier.Tier
	keys map[uint32]imagecache.Key
}

func openTier(bytes int64) (*tierCache, error) {
	tier, err := memtier.New(memtier.Config{MaxBytes: bytes})
	return &tierCache{tier, make(map[uint32]imagecache.Key)}, err
}

func (c *tierCache) ask(r request) bool {
	key, ok := c.keys[r.id]
	if !ok {
		ref, err := imageurl.ParseRef(fmt.Sprintf("/640x/v.1/posts/%d.jpg.webp", r.id))
		if err != nil {
			panic(err)
		}
		key = imagecache.KeyOf(ref)
		c.keys[r.id] = key
	}
	if _, err := c.tier.Get(context.Background(), key); err == nil {
		return true
	}
	_ = c.tier.Put(
		context.Background(),
		key,
		imagecache.Image{Body: zeros[:r.size], ContentType: "image/webp", ETag: `"00000000000000000000000000000000"`},
	)
	return false
}

type otterCache struct{ cache *otter.Cache[uint32, int32] }

func openOtter(bytes int64) (*otterCache, error) {
	c, err := otter.New(&otter.Options[uint32, int32]{
		MaximumWeight: uint64(bytes),
		Weigher:       func(_ uint32, size int32) uint32 { return uint32(size) },
		Executor:      func(task func()) { task() }, // background work is done at once
	})
	return &otterCache{c}, err
}

func (c *otterCache) ask(r request) bool {
	if _, ok := c.cache.GetIfPresent(r.id); ok {
		return true
	}
	c.cache.Set(r.id, r.size)
	return false
}

type bigcacheCache struct{ cache *bigcache.BigCache }

func openBigcache(bytes int64) (*bigcacheCache, error) {
	mib := int(bytes >> 20)
	shards := 1
	for mib/(2*shards) >= 4 {
		shards *= 2
	}
	c, err := bigcache.New(context.Background(), bigcache.Config{
		Shards: shards, LifeWindow: 24 * 365 * time.Hour, HardMaxCacheSize: mib,
		MaxEntriesInWindow: mib << 20 >> 12, MaxEntrySize: 1 << 12,
	})
	return &bigcacheCache{c}, err
}

func (c *bigcacheCache) ask(r request) bool {
	key := fmt.Sprint(r.id)
	if _, err := c.cache.Get(key); err == nil {
		return true
	}
	_ = c.cache.Set(key, zeros[:r.size])
	return false
}

// lru is a plain LRU cache that is bounded in bytes.
type lru struct {
	most, held int64
	order      list.List // of request, newest first
	byID       map[uint32]*list.Element
}

func newLRU(bytes int64) *lru { return &lru{most: bytes, byID: make(map[uint32]*list.Element)} }

func (c *lru) ask(r request) bool {
	if e, ok := c.byID[r.id]; ok {
		c.order.MoveToFront(e)
		return true
	}
	if int64(r.size) > c.most {
		return false
	}
	c.byID[r.id] = c.order.PushFront(r)
	for c.held += int64(r.size); c.held > c.most; {
		oldest := c.order.Remove(c.order.Back()).(request)
		delete(c.byID, oldest.id)
		c.held -= int64(oldest.size)
	}
	return false
}
