package disktier

import "maps"

// maxUnwritten bounds the purges that wait for a disk, at some 50 bytes each.
const maxUnwritten = 100_000

// unwritten are the purges whose tombstones are not durable: the disk fails, or is not there.
// They wait for as long as it takes, and are never served when the disk comes back:
//
//  1. Purge adds its tombstone, under the lock that it takes the target out of the index with.
//  2. attach, which has listed the segments and read the purge log, takes the lock, moves
//     every tombstone behind what the directory holds, and hands them to recovery. A purge
//     that comes later hands its own to recovery.
//  3. The writer appends them to the purge log, and removes those that are durable.
//
// Beyond maxUnwritten they are not remembered one by one: all segments are removed before the
// directory is used again. A restart of the process forgets what is unwritten, which is why
// Purge returns an error. The zero value is ready; Tier.mu guards it.
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

// overflowed reports whether more purges were waiting than could be remembered.
func (t *Tier) overflowed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.unwritten.overflow
}

// writePurges appends what is unwritten to the purge log. It runs on the writer alone.
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
