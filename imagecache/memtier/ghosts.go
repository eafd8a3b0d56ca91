package memtier

// ghosts has the ids of images that were evicted unread, oldest first. The zero value is ready.
type ghosts struct {
	at    map[uint64]uint64 // when each was added, in additions
	order []uint64          // a queue: from first on
	first int
	added uint64
}

// add remembers id, and forgets the oldest ids above most.
func (g *ghosts) add(id uint64, most int) {
	if g.at == nil {
		g.at = make(map[uint64]uint64)
	}
	g.added++
	g.at[id] = g.added
	g.order = append(g.order, id)
	for len(g.order)-g.first > max(most, 1) {
		oldest := g.order[g.first]
		// An id that was taken, or added again, has an older entry in the queue than in the map.
		if g.at[oldest] == g.added-uint64(len(g.order)-g.first)+1 {
			delete(g.at, oldest)
		}
		g.first++
	}
	if g.first > len(g.order)/2 && g.first > 1024 {
		g.order = append(g.order[:0], g.order[g.first:]...)
		g.first = 0
	}
}

// take reports whether id is known, and forgets it.
func (g *ghosts) take(id uint64) bool {
	_, known := g.at[id]
	delete(g.at, id)
	return known
}

func (g *ghosts) len() int { return len(g.at) }
