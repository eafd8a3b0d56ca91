// Package pagecache keeps pages, posts and profiles: in the process, and behind that in a
// Redis (or Redis Cluster) that gateways share. It implements feed.Cache.
//
//	feed:page:{key}      30 s    user:profile:{id}   5 min    post:meta:{id}   2 min
//
// If Redis is absent, slow or killed, or has invalid data, that is a miss within 50 ms and never an
// error. Redis announces every change under the prefixes of posts and profiles to all gateways
// (client-side caching in broadcast mode, CLIENT TRACKING … BCAST), so a drop on one gateway
// reaches the others.
package pagecache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/novasocial/imagetier/gateway/feed"
	"github.com/novasocial/imagetier/internal/circuit"
)

// MaxTTL is the maximum TTL, since all cached data can change.
const MaxTTL = 5 * time.Minute

// Kind is the kind of a cached value, for metrics and for Config.Forget.
type Kind string

const (
	Pages    Kind = "page"
	Posts    Kind = "post"
	Profiles Kind = "profile"
)

// Kinds lists all kinds.
var Kinds = []Kind{Pages, Posts, Profiles}

// Outcome is the outcome of a look-up of ids. Each id counts as InMemory, InRedis or Miss; the other
// outcomes are counted in addition.
type Outcome string

const (
	InMemory   Outcome = "memory"
	InRedis    Outcome = "redis"
	Miss       Outcome = "miss"
	Failed     Outcome = "failed"     // Redis failed to look up, store or drop
	Unreadable Outcome = "unreadable" // a Redis value of another version, or damaged
	Dropped    Outcome = "dropped"    // not stored, because Redis is slow
)

// Outcomes lists all outcomes.
var Outcomes = []Outcome{InMemory, InRedis, Miss, Failed, Unreadable, Dropped}

// Config configures a Cache. Its zero value caches in process memory only.
type Config struct {
	// If Redis is nil, caches are in process memory only.
	Redis *Redis
	// PageTTL, PostTTL and ProfileTTL are the TTLs of each kind, at most MaxTTL; 0 means 30 s, 2
	// min and 5 min.
	PageTTL, PostTTL, ProfileTTL time.Duration
	// StaleFor is how long values are kept after their TTL, for use when the service fails; 0 means
	// 10 min.
	StaleFor time.Duration
	// MemoryBytes is the approximate maximum size of the cache in process memory; 0 means 64 MiB.
	MemoryBytes uint64
	// RedisTimeout is the timeout of Redis; 0 means 40 ms, and more than 45 ms is an error.
	RedisTimeout time.Duration
	// Breaker configures the circuit breaker of Redis. Its Pause is 1 s by default, and its Changed
	// must not call the Cache.
	Breaker circuit.Config
	// Forget is called for ids before they are dropped, here or by another gateway: requests
	// that come later must not join calls that are already running. If nil, it is not called.
	// It must not call the Cache.
	Forget func(of Kind, ids []string)
	// Observe is called with the outcome for ids. If nil, outcomes are not counted.
	Observe func(of Kind, outcome Outcome, ids int)
	// Log receives failures. If nil, nothing is logged.
	Log *slog.Logger
}

// Cache caches the three kinds. It is safe for concurrent use.
type Cache struct {
	cfg      Config
	link     *link // nil: no Redis
	pages    *kind[feed.Slice]
	posts    *kind[feed.Post]
	profiles *kind[feed.Profile]
}

// New returns a Cache, which connects to Redis in Run. The error lists all faults of cfg.
func New(cfg Config) (*Cache, error) {
	cfg.PageTTL = cmp.Or(cfg.PageTTL, 30*time.Second)
	cfg.PostTTL = cmp.Or(cfg.PostTTL, 2*time.Minute)
	cfg.ProfileTTL = cmp.Or(cfg.ProfileTTL, 5*time.Minute)
	cfg.StaleFor = cmp.Or(cfg.StaleFor, 10*time.Minute)
	cfg.MemoryBytes = cmp.Or(cfg.MemoryBytes, 64<<20)
	cfg.RedisTimeout = cmp.Or(cfg.RedisTimeout, 40*time.Millisecond)
	cfg.Breaker.Pause = cmp.Or(cfg.Breaker.Pause, time.Second)
	var faults []error
	for _, ttl := range []struct {
		of  Kind
		ttl time.Duration
	}{{Pages, cfg.PageTTL}, {Posts, cfg.PostTTL}, {Profiles, cfg.ProfileTTL}} {
		if ttl.ttl < time.Millisecond || ttl.ttl > MaxTTL {
			faults = append(faults,
				fmt.Errorf("the TTL of a %s is %v, want 1ms to %v", ttl.of, ttl.ttl, MaxTTL))
		}
	}
	if cfg.StaleFor < 0 || cfg.StaleFor > time.Hour {
		faults = append(faults, fmt.Errorf("StaleFor is %v, want 0 to 1h", cfg.StaleFor))
	}
	if cfg.RedisTimeout < 0 || cfg.RedisTimeout > 45*time.Millisecond {
		faults = append(faults, fmt.Errorf("RedisTimeout is %v, want at most 45ms", cfg.RedisTimeout))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	if cfg.Forget == nil {
		cfg.Forget = func(Kind, []string) {}
	}
	if cfg.Observe == nil {
		cfg.Observe = func(Kind, Outcome, int) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Cache{cfg: cfg}
	if cfg.Redis != nil {
		c.link = newLink(cfg, c.changed)
	}
	c.pages = newKind(c, Pages, "feed:page:", cfg.PageTTL, cfg.MemoryBytes/4, sliceCodec)
	c.posts = newKind(c, Posts, "post:meta:", cfg.PostTTL, cfg.MemoryBytes/2, postCodec)
	c.profiles = newKind(c, Profiles, "user:profile:", cfg.ProfileTTL, cfg.MemoryBytes/4, profileCodec)
	return c, nil
}

// Pages caches slices of the feed service by feed.Query.Key.
func (c *Cache) Pages() feed.Cache[feed.Slice] { return c.pages }

// Posts caches posts by id.
func (c *Cache) Posts() feed.Cache[feed.Post] { return c.posts }

// Profiles caches profiles by id.
func (c *Cache) Profiles() feed.Cache[feed.Profile] { return c.profiles }

// Run connects to Redis, retrying until it succeeds, and stores values in it until ctx is done.
// Until it is connected, the Cache uses process memory only.
func (c *Cache) Run(ctx context.Context) error {
	defer c.pages.memory.StopAllGoroutines()
	defer c.posts.memory.StopAllGoroutines()
	defer c.profiles.memory.StopAllGoroutines()
	if c.link == nil {
		<-ctx.Done()
		return nil
	}
	return c.link.run(ctx)
}

// Connected reports whether Redis is connected and its breaker is closed. Without Redis it is
// always true.
func (c *Cache) Connected() bool {
	return c.link == nil || c.link.client.Load() != nil && c.link.breaker.State() == circuit.Closed
}

// changed handles an invalidation from Redis: another gateway changed the key.
func (c *Cache) changed(key string) {
	if id, ok := c.posts.idOf(key); ok {
		c.posts.forget([]string{id})
	} else if id, ok := c.profiles.idOf(key); ok {
		c.profiles.forget([]string{id})
	}
}
