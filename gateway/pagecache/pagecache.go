// Package pagecache keeps pages, posts and profiles: in the process, and behind that in a
// Redis (or Redis Cluster) that gateways share. It implements feed.Cache.
//
//	feed:page:{key}      30 s    user:profile:{id}   5 min    post:meta:{id}   2 min
//
// Redis may be absent, slow, killed or full of rubbish: that is a miss within 50 ms, and
// never an error. What gateways drop they tell each other through Redis, which announces
// every change under the prefixes of posts and profiles to all of them (client-side caching
// in broadcast mode, CLIENT TRACKING … BCAST).
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

// MaxTTL is the longest that anything counts as fresh: all of it can change.
const MaxTTL = 5 * time.Minute

// Kind names what is kept, for metrics and for Config.Forget.
type Kind string

const (
	Pages    Kind = "page"
	Posts    Kind = "post"
	Profiles Kind = "profile"
)

// Kinds are all there are.
var Kinds = []Kind{Pages, Posts, Profiles}

// Outcome is the outcome of a look-up of ids. Each id counts as InMemory, InRedis or Miss; the other
// outcomes are counted in addition.
type Outcome string

const (
	InMemory   Outcome = "memory"
	InRedis    Outcome = "redis"
	Miss       Outcome = "miss"
	Failed     Outcome = "failed"     // Redis could not say, or could not store or drop
	Unreadable Outcome = "unreadable" // a Redis value of another version, or damaged
	Dropped    Outcome = "dropped"    // not stored in Redis, because it is slow
)

// Outcomes are all there are.
var Outcomes = []Outcome{InMemory, InRedis, Miss, Failed, Unreadable, Dropped}

// Config of a Cache. Its zero value keeps everything in the process.
type Config struct {
	// Redis is nil for none.
	Redis *Redis
	// PageTTL, PostTTL and ProfileTTL are how long each counts as fresh, at most MaxTTL; 0 is
	// 30 s, 2 min and 5 min.
	PageTTL, PostTTL, ProfileTTL time.Duration
	// StaleFor is how long each is kept beyond that, for when its service fails; 0 is 10 min.
	StaleFor time.Duration
	// MemoryBytes bounds what is kept in the process, about; 0 is 64 MiB.
	MemoryBytes uint64
	// RedisTimeout is how long Redis may take; 0 is 40 ms, more than 45 ms is refused.
	RedisTimeout time.Duration
	// Breaker configures the breaker in front of Redis: its Pause is 1 s unless set, and its
	// Changed must not call the Cache.
	Breaker circuit.Config
	// Forget is called for ids before they are dropped, here or by another gateway: requests
	// that come later must not join calls that are already running. If nil, it is not called.
	// It must not call the Cache.
	Forget func(of Kind, ids []string)
	// Observe is called with the outcome for ids. If nil, outcomes are not counted.
	Observe func(of Kind, outcome Outcome, ids int)
	// Log gets what went wrong; nil drops it.
	Log *slog.Logger
}

// Cache keeps the three kinds. It is safe for concurrent use.
type Cache struct {
	cfg      Config
	link     *link // nil: no Redis
	pages    *kind[feed.Slice]
	posts    *kind[feed.Post]
	profiles *kind[feed.Profile]
}

// New returns a Cache, which reaches no Redis before Run. It names every fault of cfg.
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
				fmt.Errorf("a TTL of %v for a %s, which can change: 1ms to %v", ttl.ttl, ttl.of, MaxTTL))
		}
	}
	if cfg.StaleFor < 0 || cfg.StaleFor > time.Hour {
		faults = append(faults, fmt.Errorf("stale for %v: 0 to 1h", cfg.StaleFor))
	}
	if cfg.RedisTimeout < 0 || cfg.RedisTimeout > 45*time.Millisecond {
		faults = append(faults, fmt.Errorf("a Redis timeout of %v: at most 45ms", cfg.RedisTimeout))
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

// Pages keeps what the feed service says under feed.Query.Key.
func (c *Cache) Pages() feed.Cache[feed.Slice] { return c.pages }

// Posts keeps posts by id.
func (c *Cache) Posts() feed.Cache[feed.Post] { return c.posts }

// Profiles keeps profiles by id.
func (c *Cache) Profiles() feed.Cache[feed.Profile] { return c.profiles }

// Run connects to Redis, again and again until it succeeds, and stores what is put, until
// ctx is done. Without it, and until it is connected, the Cache keeps what it can.
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

// Connected reports whether Redis is reached and the breaker before it closed. Without Redis
// it is always true.
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
