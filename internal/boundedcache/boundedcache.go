// Package boundedcache is a small map that is bounded in entries and age: for ids that were seen
// and answers that were computed. Start with [Map].
//
// It is not built on otter. An admission policy by frequency refuses new keys when the map is full
// of old ones, which is wrong for ids seen once, and callers here change entries under a lock of
// their own.
package boundedcache

import "time"

// Map keeps entries in two generations: once the young one is full or has reached TTL it becomes
// the old one, whose entries are dropped. Its user locks it.
type Map[K comparable, V any] struct {
	// Max is how many entries a generation holds, so the Map holds twice as many.
	Max int
	// TTL is how long an entry is kept at least, unless the Map is full; at most it is kept twice
	// as long. 0: until the Map is full.
	TTL time.Duration
	// Drop, if not nil, is called with each entry that is dropped because the Map is full. It must not use
	// the Map.
	Drop func(key K, value V)

	young, old map[K]V
	born       time.Time // since when entries go to young
}

// Get returns the value of a key. It does not renew the entry; Put does.
func (m *Map[K, V]) Get(key K) (V, bool) {
	m.expire()
	if value, ok := m.young[key]; ok {
		return value, true
	}
	value, ok := m.old[key]
	return value, ok
}

// Put sets the value of a key.
func (m *Map[K, V]) Put(key K, value V) {
	m.expire()
	if _, ok := m.young[key]; !ok && len(m.young) >= m.Max {
		m.dropOld()
		m.young, m.old = nil, m.young
	}
	if m.young == nil && m.old == nil {
		m.born = time.Now()
	}
	if m.young == nil {
		m.young = make(map[K]V)
	}
	m.young[key] = value
}

// dropOld calls Drop with the entries of the old generation, except those that were renewed.
func (m *Map[K, V]) dropOld() {
	if m.Drop == nil {
		return
	}
	for key, value := range m.old {
		if _, renewed := m.young[key]; !renewed {
			m.Drop(key, value)
		}
	}
}

// GetOrPut returns the value of a key, which is added if it is missing, and renews the entry.
func (m *Map[K, V]) GetOrPut(key K, add func() V) V {
	value, ok := m.Get(key)
	if !ok {
		value = add()
	}
	m.Put(key, value)
	return value
}

// Delete removes a key.
func (m *Map[K, V]) Delete(key K) {
	delete(m.young, key)
	delete(m.old, key)
}

func (m *Map[K, V]) expire() {
	if m.TTL <= 0 || m.young == nil && m.old == nil {
		return
	}
	switch age := time.Since(m.born); {
	case age > 2*m.TTL:
		m.young, m.old = nil, nil
	case age > m.TTL:
		m.young, m.old, m.born = nil, m.young, m.born.Add(m.TTL)
	}
}
