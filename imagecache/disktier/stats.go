package disktier

import "sync/atomic"

// Op is an operation of the disk that failed: the op label of the errors.
type Op uint8

// The operations.
const (
	opAttach Op = iota // make, lock or list the directory
	opRead
	opWrite
	opSync
	opRemove
	opRename
	opPurge // write a tombstone
	NumOps
)

var opNames = [NumOps]string{"attach", "read", "write", "sync", "remove", "rename", "purge"}

// String returns the label.
func (o Op) String() string { return opNames[o] }

// Eviction is the reason of an eviction: the reason label.
type Eviction uint8

// The reasons of evictions.
const (
	EvictedForBudget Eviction = iota // oldest, and not read since it was written
	EvictedForSpace                  // the disk was full
	EvictedLost                      // its segment's file is gone
	NumEvictions
)

var evictionNames = [NumEvictions]string{"budget", "space", "lost"}

// String returns the label.
func (e Eviction) String() string { return evictionNames[e] }

// Skip is the reason why Put did not store an image.
type Skip uint8

// The reasons of skips.
const (
	SkipQueueFull Skip = iota // the disk is slower than images are made
	SkipTooLarge              // over a quarter of the budget
	SkipOff                   // the disk cannot be written
	SkipFault                 // writing it failed
	NumSkips
)

var skipNames = [NumSkips]string{"queue", "size", "off", "fault"}

// String returns the label.
func (s Skip) String() string { return skipNames[s] }

type counters struct {
	evicted [NumEvictions]atomic.Uint64
	errors  [NumOps]atomic.Uint64
	skipped [NumSkips]atomic.Uint64
	damaged atomic.Uint64
	kept    atomic.Uint64
}

// Stats are the statistics of a Tier. Counters start at Open.
type Stats struct {
	State      State
	Recovering bool // segments are still being read
	Bytes      int64
	Limit      int64 // maximum of Bytes: MaxBytes, or less while the disk is full
	Entries    int64 // images that a Get can find, without the queue
	Segments   int
	IndexBytes int64

	QueueLen   int // images Put and not yet written
	QueueBytes int64

	Evicted [NumEvictions]uint64 // images
	Kept    uint64               // images appended again because they were read
	Skipped [NumSkips]uint64     // images
	Errors  [NumOps]uint64
	// Damaged is the number of records that did not verify, or were in a file that was
	// removed or cut, each counted once. In a segment that a crash kept from being sealed, a
	// stretch without readable frame headers counts as one.
	Damaged uint64
}

// Stats returns the current statistics.
func (t *Tier) Stats() Stats {
	st := Stats{
		State:      t.State(),
		Entries:    t.index.entries.Load(),
		IndexBytes: t.index.bytes(),
		Kept:       t.count.kept.Load(),
		Damaged:    t.count.damaged.Load(),
	}
	for i := range st.Evicted {
		st.Evicted[i] = t.count.evicted[i].Load()
	}
	for i := range st.Skipped {
		st.Skipped[i] = t.count.skipped[i].Load()
	}
	for i := range st.Errors {
		st.Errors[i] = t.count.errors[i].Load()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	st.Recovering = t.gone != nil
	st.Bytes = t.usedLocked()
	st.Limit = t.limit
	st.Segments = len(t.segments)
	st.QueueLen = len(t.pending)
	st.QueueBytes = t.queued
	return st
}
