package pagecache

import "time"

// Patient has a Cache wait for Redis as long as a busy machine may take. For tests that are
// not about time, before Run.
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
