// Package disktier keeps images on disk, in append-only segments of tens of megabytes with an
// index in memory.
//
// A read is one pread. Every byte of it is verified (CRC32C), and the whole key compared,
// before it is served. Put queues, and one writer appends. The oldest segment is evicted
// first; its images that were read since they were written are appended again. A purged image
// is never served, also not after a crash.
//
// Faults of the disk, and what the tier does:
//
//   - damaged, truncated or missing files: their records are misses, and counted
//   - full (bytes, inodes or quota): it evicts its oldest segments, and stays smaller until
//     there is room again
//   - read-only, or writes fail: it serves what it has (State ReadOnly)
//   - reads fail, or the directory cannot be used: every Get is a miss (State Off)
//   - removed while in use: it begins again, empty
//
// It recovers within seconds of the disk. Purges that came meanwhile are kept (unwritten.go). Two
// processes cannot use one directory.
//
// The read path is read.go; the write path begins at Put in put.go and continues in write.go.
package disktier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/novasocial/imagetier/imagecache"
)

// ErrLocked means that another process, or another Tier of this one, uses the directory.
var ErrLocked = errors.New("the directory is in use by another process")

// ErrClosed is the error of a Purge or a Sync after Close.
var ErrClosed = errors.New("the disk tier is closed")

// Config configures a Tier.
type Config struct {
	// Dir is the directory of the files. It is created with mode 0750 if it is missing,
	// and should contain nothing else.
	Dir string
	// MaxBytes bounds the disk usage of Dir, as du counts it. At least MinBytes.
	MaxBytes int64
	// SegmentBytes is the maximum size of a segment, the unit of eviction. 0 means
	// 64 MiB, or a sixteenth of MaxBytes if that is less. At most 512 MiB.
	SegmentBytes int64
	// QueueBytes bounds the images that wait to be written; others are skipped. A single
	// image may be larger. 0 means 32 MiB.
	QueueBytes int64
	// OpenFiles bounds the segments that are kept open for reading. 0 means 512.
	OpenFiles int
	// SyncEvery is the interval of syncs: a power failure loses at most the images of
	// that time, a crash of the process only queued ones. 0 means one second.
	SyncEvery time.Duration
	// Generation changes when everything stored before must not be served: segments of another one
	// are removed, also if their disk is mounted only after Open. If empty, any are used.
	Generation string
	// Log logs changes of the disk's state. If nil, slog.Default is used.
	Log *slog.Logger

	fs fileSystem // for tests; nil is the real disk
}

// MinBytes is the minimum budget.
const MinBytes = 1 << 20

const (
	defaultSegmentBytes = 64 << 20
	minSegmentBytes     = 64 << 10
	defaultQueueBytes   = 32 << 20
	defaultOpenFiles    = 512

	// blockBytes is the assumed block size of the file system. The real allocation of a
	// file is measured once it is sealed.
	blockBytes = 4096
	// slackBytes of the budget stay free for allocations that are not known in advance:
	// blocks of extents, the directory, tombstones.
	slackBytes = 64 << 10

	dirPerm  = 0o750
	filePerm = 0o640
)

// Tier is an imagecache.Tier on disk. Without Run nothing is written or recovered.
type Tier struct {
	cfg   Config
	fs    fileSystem
	log   *slog.Logger
	index index
	files handles
	purge purgeLog
	// counts has segment.records of all sealed segments.
	counts countsFile

	// table has the segments by id.
	table []atomic.Pointer[segment]

	health health
	count  counters

	wake    chan struct{} // wakes the writer
	syncNow chan struct{} // a segment was sealed

	syncing sync.Mutex // held while dirty segments are synced

	// The fields of the writer: Run's goroutine, or Close's once Run has ended.
	lock     file
	active   *segment // nil: the next record begins one; changed with mu held
	out      file     // active, open for writing
	evicting bool

	mu       sync.Mutex // no disk operation is done with it held
	queue    []*item    // not yet taken by the writer, oldest first
	pending  map[imagecache.Key]*item
	queued   int64  // bytes of items that are not settled
	enqueued uint64 // items ever queued
	settled  uint64 // how many of them are written, skipped or dead: always the first ones
	progress chan struct{}
	segments []*segment // by number
	aside    []asideFile
	dirty    []*segment
	dirDirty bool // names in the directory are not durable yet
	// countsStale: a count has changed since the counts file was last written.
	countsStale bool
	lost        []*segment
	nextSeq     uint64
	nextID      uint16
	total       int64 // bytes of the budget in use, without the purge log
	limit       int64 // what total may be: MaxBytes, or less after the disk was full
	// gone are the purges that recovery applies; nil once all segments are recovered.
	gone      *tombstones
	unwritten unwritten
	closing   bool
	stop      context.CancelFunc
	stopped   chan struct{} // closed when Run has ended; nil if it never began
}

// asideFile is a file of an unknown format, which is kept as long as there is room.
type asideFile struct {
	path  string
	bytes int64
}

// tombstones are the purges that apply to segments not yet recovered: records of a hash
// before its position are gone.
type tombstones struct{ keys, originals map[uint64]uint64 }

func (ts *tombstones) add(t tombstone) {
	m := ts.keys
	if t.original {
		m = ts.originals
	}
	m[t.hash] = max(m[t.hash], t.position)
}

func (ts *tombstones) covers(n name, position uint64) bool {
	return position < ts.keys[n.key] || position < ts.originals[n.original]
}

// Open locks a directory and returns its Tier. Run reads the segments; until then their images
// are misses. A directory that cannot be used (no permission, read-only, full) is not an
// error: the Tier is Off, Run tries again every few seconds, and Fault returns the cause. The
// error is ErrLocked, or about cfg.
func Open(cfg Config) (*Tier, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	// Segments can be smaller than SegmentBytes: every start begins one.
	ids := min(4*(cfg.MaxBytes/cfg.SegmentBytes)+4096, math.MaxUint16)
	t := &Tier{
		cfg:      cfg,
		fs:       cfg.fs,
		log:      cfg.Log.With("dir", cfg.Dir),
		files:    handles{fs: cfg.fs, max: cfg.OpenFiles},
		purge:    purgeLog{fs: cfg.fs, dir: cfg.Dir},
		table:    make([]atomic.Pointer[segment], ids+1),
		wake:     make(chan struct{}, 1),
		syncNow:  make(chan struct{}, 1),
		pending:  make(map[imagecache.Key]*item),
		progress: make(chan struct{}),
		nextSeq:  1,
		limit:    cfg.MaxBytes,
	}
	t.health.detached.Store(true)
	if err := t.attach(); errors.Is(err, ErrLocked) {
		return nil, fmt.Errorf("open disk tier %s: %w", cfg.Dir, err)
	} else if err != nil {
		t.turnOff(opAttach, err)
	}
	return t, nil
}

func (cfg Config) complete() (Config, error) {
	if cfg.Dir == "" {
		return cfg, errors.New("open disk tier: no directory given")
	}
	if cfg.MaxBytes < MinBytes {
		return cfg, fmt.Errorf(
			"open disk tier %s: budget of %d bytes, want at least %d",
			cfg.Dir,
			cfg.MaxBytes,
			MinBytes,
		)
	}
	if cfg.SegmentBytes == 0 {
		cfg.SegmentBytes = max(minSegmentBytes, min(defaultSegmentBytes, cfg.MaxBytes/16))
	}
	if limit := min(maxSegmentBytes, cfg.MaxBytes/4); cfg.SegmentBytes < minSegmentBytes || cfg.SegmentBytes > limit {
		return cfg, fmt.Errorf("open disk tier %s: segments of %d bytes, want %d to %d",
			cfg.Dir, cfg.SegmentBytes, minSegmentBytes, limit)
	}
	if cfg.MaxBytes/cfg.SegmentBytes > math.MaxUint16/2 {
		return cfg, fmt.Errorf("open disk tier %s: segments of %d bytes are too small for a budget of %d",
			cfg.Dir, cfg.SegmentBytes, cfg.MaxBytes)
	}
	if cfg.QueueBytes == 0 {
		cfg.QueueBytes = defaultQueueBytes
	}
	if cfg.OpenFiles == 0 {
		cfg.OpenFiles = defaultOpenFiles
	}
	if cfg.SyncEvery == 0 {
		cfg.SyncEvery = time.Second
	}
	if cfg.QueueBytes < 0 || cfg.OpenFiles < 0 || cfg.SyncEvery < 0 {
		return cfg, fmt.Errorf("open disk tier %s: QueueBytes, OpenFiles and SyncEvery cannot be negative", cfg.Dir)
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.fs == nil {
		cfg.fs = disk{}
	}
	return cfg, nil
}

// Run recovers the segments, and writes, evicts and syncs until ctx ends or Close is called.
// Then it writes the queue, seals the active segment, syncs, and returns nil. It can be called
// only once.
func (t *Tier) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t.mu.Lock()
	if t.closing {
		t.mu.Unlock()
		return nil
	}
	if t.stopped != nil {
		t.mu.Unlock()
		return fmt.Errorf("run disk tier %s: already run", t.cfg.Dir)
	}
	stopped := make(chan struct{})
	t.stop, t.stopped = cancel, stopped
	t.mu.Unlock()
	defer close(stopped)

	var others sync.WaitGroup
	others.Go(func() { t.syncLoop(ctx) })
	others.Go(t.recovery(ctx))
	check := time.NewTicker(checkEvery)
	defer check.Stop()
	for ctx.Err() == nil {
		t.writeQueued()
		select {
		case <-ctx.Done():
		case <-t.wake:
		case <-check.C:
			if t.checkDisk() { // attached again
				others.Go(t.recovery(ctx))
			}
		}
	}
	others.Wait()
	_ = t.finish() // errors are counted and change the State
	return nil
}

// Close ends Run and waits for it, writes the queue, seals the active segment, syncs, and
// unlocks the directory. Gets are misses from then on. The error is that of the last sync:
// images put since the sync before may be lost.
func (t *Tier) Close() error {
	t.mu.Lock()
	if t.closing {
		t.mu.Unlock()
		return nil
	}
	t.closing = true
	stop, stopped := t.stop, t.stopped
	t.mu.Unlock()
	if stopped != nil {
		stop()
		<-stopped
	}
	err := t.finish()
	t.detach()
	if err != nil {
		return fmt.Errorf("close disk tier %s: %w", t.cfg.Dir, err)
	}
	return nil
}

// finish writes the queue and makes everything durable.
func (t *Tier) finish() error {
	t.writeQueued()
	t.writePurges()
	t.seal()
	return t.syncDirty()
}

// Sync returns once every image put before is durable or was skipped. An image that Get finds
// after it survives a crash. Run must be running.
func (t *Tier) Sync(ctx context.Context) error {
	t.mu.Lock()
	target := t.enqueued
	for t.settled < target {
		if t.closing {
			t.mu.Unlock()
			return fmt.Errorf("sync disk tier %s: %w", t.cfg.Dir, ErrClosed)
		}
		progress := t.progress
		t.mu.Unlock()
		select {
		case <-progress:
		case <-ctx.Done():
			return fmt.Errorf("sync disk tier %s: %w", t.cfg.Dir, ctx.Err())
		}
		t.mu.Lock()
	}
	t.mu.Unlock()
	return t.syncDirty()
}

// syncLoop syncs every SyncEvery and when a segment is sealed.
func (t *Tier) syncLoop(ctx context.Context) {
	tick := time.NewTicker(t.cfg.SyncEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-t.syncNow:
		}
		_ = t.syncDirty() // errors are counted and change the State
	}
}

// syncDirty syncs all dirty segments and the directory, then writes the counts of sealed ones.
func (t *Tier) syncDirty() error {
	t.syncing.Lock()
	defer t.syncing.Unlock()
	t.mu.Lock()
	dirty, dirDirty, countsStale := t.dirty, t.dirDirty, t.countsStale
	t.dirty, t.dirDirty = nil, false
	for _, s := range dirty {
		s.dirty = false
	}
	t.mu.Unlock()

	var first error
	failed := func(err error) {
		t.writeFault(opSync, err)
		if first == nil {
			first = err
		}
	}
	for _, s := range dirty {
		if err := t.syncSegment(s); err != nil {
			failed(fmt.Errorf("sync segment %d: %w", s.seq, err))
			t.mu.Lock()
			t.markDirtyLocked(s)
			t.mu.Unlock()
		}
	}
	if dirDirty {
		if err := t.fs.SyncDir(t.cfg.Dir); err != nil {
			failed(fmt.Errorf("sync the directory: %w", err))
			t.mu.Lock()
			t.dirDirty = true
			t.mu.Unlock()
		}
	}
	if countsStale && first == nil {
		t.writeCounts()
	}
	if first == nil && len(dirty) > 0 {
		t.health.writeFaults.Store(0)
	}
	return first
}

func (t *Tier) syncSegment(s *segment) error {
	h, err := t.files.acquire(s)
	if err == nil {
		defer h.release()
		err = h.file.Datasync()
	}
	if s.dropped.Load() || errors.Is(err, os.ErrNotExist) {
		return nil // the segment is gone
	}
	return err
}

func (t *Tier) markDirtyLocked(s *segment) {
	if !s.dirty && !s.dropped.Load() {
		s.dirty = true
		t.dirty = append(t.dirty, s)
	}
}

func (t *Tier) segmentPath(seq uint64) string {
	return filepath.Join(t.cfg.Dir, fmt.Sprintf("%016x%s", seq, segmentSuffix))
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // already notified
	}
}
