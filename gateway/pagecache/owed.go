package pagecache

import (
	"errors"
	"sync"
)

// maxOwed bounds the number of drops that wait for Redis.
const maxOwed = 10_000

var errOwed = errors.New("dropped, but Redis does not know it yet")

// owed has keys whose drop has not reached Redis yet. Until it has, their values in Redis are
// ignored.
type owed struct {
	mu   sync.Mutex
	keys map[string]Kind
}

// add reports false if there are too many.
func (o *owed) add(of Kind, key string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.keys == nil {
		o.keys = map[string]Kind{}
	}
	if _, ok := o.keys[key]; !ok && len(o.keys) >= maxOwed {
		return false
	}
	o.keys[key] = of
	return true
}

func (o *owed) settle(key string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.keys, key)
}

func (o *owed) all() map[Kind][]string {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := map[Kind][]string{}
	for key, of := range o.keys {
		all[of] = append(all[of], key)
	}
	return all
}

// strike replaces the results for owed keys by errors.
func (o *owed) strike(keys []string, replies []reply) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.keys) == 0 {
		return
	}
	for i, key := range keys {
		if _, is := o.keys[key]; is {
			replies[i] = reply{err: errOwed}
		}
	}
}
