package pagecache

import "time"

// Patient has a Cache wait for Redis as long as a busy machine may take. For tests that are
// not about time, before Run.
func Patient(c *Cache) {
	if c.link != nil {
		c.link.cfg.RedisTimeout = 20 * time.Second
	}
}
