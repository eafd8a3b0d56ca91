package pagecache

import (
	"errors"
	"sync"
)

// maxOwed bounds how many drops wait for Redis to come back.
const maxOwed = 10_000

var errOwed = errors.New("dropped, but Redis does not know it yet")

// owed are keys that were dropped while Redis could not be told. Until it is, what it has
// under them counts for nothing here.
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

// strike makes errors of what Redis says of keys that are owed.
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
