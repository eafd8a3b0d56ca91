package pagecache

import (
	"context"
	"time"

	"github.com/redis/rueidis"
)

// Patient raises the timeouts of Redis, for tests that are not about time and may run on a busy
// machine. Call it before Run.
func Patient(c *Cache) {
	if c.link != nil {
		c.link.cfg.RedisTimeout = 20 * time.Second
	}
}

// Forgetful empties a Cache's memory.
func Forgetful(c *Cache) {
	c.pages.memory.InvalidateAll()
	c.posts.memory.InvalidateAll()
	c.profiles.memory.InvalidateAll()
}

// Reconnecting makes a connected Cache see a new connection after every answer of Redis, before the
// answer is used.
func Reconnecting(c *Cache) {
	var client rueidis.Client = &reconnecting{*c.link.client.Load(), c.link}
	c.link.client.Store(&client)
}

type reconnecting struct {
	rueidis.Client
	link *link
}

func (r *reconnecting) DoMulti(ctx context.Context, commands ...rueidis.Completed) []rueidis.RedisResult {
	results := r.Client.DoMulti(ctx, commands...)
	r.link.number.Add(1)
	return results
}
