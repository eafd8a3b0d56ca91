package pagecache

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// refusalCures are the error codes with which Redis refuses commands until its role, its
// configuration or the user's ACL changes, and what to do about each.
var refusalCures = map[string]string{
	"READONLY": "the server is a replica; the gateway reconnects to find the primary. If this lasts, set --redis to the " +
		"primary, to all nodes of the cluster or to the sentinels",
	"NOPERM":  "the user's ACL must allow +@read +@write +@connection +eval on ~feed:page:* ~post:meta:* ~user:profile:*",
	"MISCONF": "the server cannot save to its disk: see its log",
	"OOM":     "the server is at maxmemory: set maxmemory-policy to allkeys-lru, or raise maxmemory",
}

// Refusals are the codes of lasting refusals, for metrics.
var Refusals = slices.Sorted(maps.Keys(refusalCures))

// refusals remembers which commands Redis refuses now. The breaker does not see these: the
// server answers. Its zero value is ready.
type refusals struct {
	mu     sync.Mutex
	codes  map[string]string    // by command: "read", "store", "drop"
	logged map[string]time.Time // by command and code
}

// refusalLogPause is the minimum time between two log lines about the same refusal, in case servers
// of a cluster disagree.
const refusalLogPause = 10 * time.Minute

// note records the results of a command. It returns the code and the message of a refusal that has
// to be logged.
func (r *refusals) note(command string, results []rueidis.RedisResult) (code, message string) {
	answered := false
	for i := range results {
		err, refused := rueidis.IsRedisErr(results[i].Error())
		if !refused {
			answered = answered || results[i].NonRedisError() == nil
			continue
		}
		message = err.Error()
		if code, _, _ = strings.Cut(message, " "); refusalCures[code] != "" {
			break
		}
		code = ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if code == "" {
		if answered {
			delete(r.codes, command)
		}
		return "", ""
	}
	if r.codes == nil {
		r.codes, r.logged = map[string]string{}, map[string]time.Time{}
	}
	r.codes[command] = code
	if at := r.logged[command+code]; !at.IsZero() && time.Since(at) < refusalLogPause {
		return "", ""
	}
	r.logged[command+code] = time.Now()
	return code, message
}

// now returns the commands that are refused now, with their error codes.
func (r *refusals) now() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.codes)
}

// clear forgets refusals: a new connection may lead to another server.
func (r *refusals) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.codes)
}

// Refused returns the commands that Redis refuses now, read, store or drop, each with the code of
// its error: one of Refusals. The gateway works without them, as if Redis were slow.
func (c *Cache) Refused() map[string]string {
	if c.link == nil {
		return nil
	}
	return c.link.refusals.now()
}
