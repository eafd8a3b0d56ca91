package disktier

import "maps"

// maxUnwritten bounds the purges that wait for a disk, at some 50 bytes each.
const maxUnwritten = 100_000

// unwritten are the purges whose tombstones are not durable because the disk fails or is
// missing. They wait until it is back, and the purged images are not served then:
//
//  1. Purge adds its tombstone and removes the target from the index under one lock.
//  2. attach lists the segments and reads the purge log. Then it takes the lock, moves every
//     tombstone behind the records of the directory, and passes them to recovery. A later
//     purge passes its own tombstone to recovery.
//  3. The writer appends the tombstones to the purge log, and removes those that are durable.
//
// If there are more than maxUnwritten, all segments are removed before the directory is used
// again. A restart of the process loses them, which is why Purge returns an error. The zero
// value is ready; Tier.mu guards it.
type unwritten struct {
	positions map[stoneKey]uint64
	overflow  bool
}

// stoneKey is a tombstone without its position.
type stoneKey struct {
	hash     uint64
	original bool
}

func (u *unwritten) add(t tombstone) {
	switch {
	case u.overflow:
	case len(u.positions) >= maxUnwritten:
		u.overflow, u.positions = true, nil
	case u.positions == nil:
		u.positions = make(map[stoneKey]uint64)
		fallthrough
	default:
		u.positions[stoneKey{t.hash, t.original}] = t.position
	}
}

// written removes t, unless another purge of the same target has come since.
func (u *unwritten) written(t tombstone) {
	key := stoneKey{t.hash, t.original}
	if u.positions[key] == t.position {
		delete(u.positions, key)
	}
}

// hand adds the tombstones to gone, moved to position.
func (u *unwritten) hand(gone *tombstones, position uint64) {
	for key := range u.positions {
		u.positions[key] = position
		gone.add(tombstone{hash: key.hash, position: position, original: key.original})
	}
}

// overflowed reports whether there were more than maxUnwritten purges.
func (t *Tier) overflowed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.unwritten.overflow
}

// writePurges appends the unwritten purges to the purge log. Only the writer calls it.
func (t *Tier) writePurges() {
	if !t.attached() || t.health.writesOff.Load() {
		return
	}
	if t.overflowed() {
		t.detach() // attach removes the segments
		return
	}
	t.mu.Lock()
	waiting := maps.Clone(t.unwritten.positions)
	t.mu.Unlock()
	if len(waiting) == 0 {
		return
	}
	var stones []tombstone
	for key, position := range waiting {
		stones = append(stones, tombstone{hash: key.hash, position: position, original: key.original})
	}
	if err := t.purge.append(stones...); err != nil {
		t.writeFault(opPurge, err)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, stone := range stones {
		t.unwritten.written(stone)
	}
}
