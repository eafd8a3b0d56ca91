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
// It recovers within seconds of the disk. Purges that came meanwhile hold (unwritten.go). Two
// processes cannot use one directory.
//
// The read path is read.go; the write path begins at Put in put.go and goes on in write.go.
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

// ErrLocked: another process, or another Tier of this one, uses the directory.
var ErrLocked = errors.New("the directory is in use by another process")

// ErrClosed is the error of a Purge or a Sync after Close.
var ErrClosed = errors.New("the disk tier is closed")

// Config of a Tier.
type Config struct {
	// Dir is where the files are. It is made if it is missing (not so its owner's
	// permissions: 0750), and should hold nothing else.
	Dir string
	// MaxBytes is the budget: what du says of Dir never exceeds it. At least MinBytes.
	MaxBytes int64
	// SegmentBytes is how large a segment grows, and so how much an eviction drops at
	// least. 0 is 64 MiB, or a sixteenth of MaxBytes if that is less. At most 512 MiB.
	SegmentBytes int64
	// QueueBytes bounds what was Put and is not yet written; what does not fit is
	// skipped. A single image may be larger. 0 is 32 MiB.
	QueueBytes int64
	// OpenFiles bounds the segments that are kept open for reading; 0 is 512.
	OpenFiles int
	// SyncEvery is how much of the latest a power failure can take (a crash of the
	// process alone takes only what is queued); 0 is one second.
	SyncEvery time.Duration
	// Log gets what happens to the disk, once each time it changes; nil is slog's default.
	Log *slog.Logger

	fs fileSystem // nil: the disk. Tests put others here
}

// MinBytes is the least budget.
const MinBytes = 1 << 20

const (
	defaultSegmentBytes = 64 << 20
	minSegmentBytes     = 64 << 10
	defaultQueueBytes   = 32 << 20
	defaultOpenFiles    = 512

	// blockBytes is what file systems allocate in, and more than a block is at least
	// taken for granted: what a file allocates is measured where it can be.
	blockBytes = 4096
	// slackBytes of the budget stay free for what cannot be known before it is
	// written: blocks of extents, the directory, tombstones.
	slackBytes = 64 << 10

	dirPerm  = 0o750
	filePerm = 0o640
)

// Tier is an imagecache.Tier on disk. Call Run, or nothing is ever written or recovered.
type Tier struct {
	cfg   Config
	fs    fileSystem
	log   *slog.Logger
	index index
	files handles
	purge purgeLog

	// table leads from a segment's id to the segment.
	table []atomic.Pointer[segment]

	health health
	count  counters

	wake    chan struct{} // there is work for the writer
	syncNow chan struct{} // a segment was sealed

	syncing sync.Mutex // held while dirty segments are synced

	// The fields of the writer: Run's goroutine, or Close's once Run has ended.
	lock     file
	active   *segment // nil: the next record begins one; changed with mu held
	out      file     // active, open for writing
	evicting bool

	mu       sync.Mutex // no disk operation is done with it held
	queue    []*item    // what was Put and no writer has taken, oldest first
	pending  map[imagecache.Key]*item
	queued   int64  // bytes of items that are not settled
	enqueued uint64 // items ever put into the queue
	settled  uint64 // of those, how many are written, skipped or dead: always the first ones
	progress chan struct{}
	segments []*segment // by number
	aside    []asideFile
	dirty    []*segment
	dirDirty bool // names in the directory are not durable yet
	lost     []*segment
	nextSeq  uint64
	nextID   uint16
	total    int64 // bytes of the budget in use, without the purge log
	limit    int64 // what total may be: MaxBytes, or less after the disk was full
	// gone says what recovery must not bring back; nil once all is recovered.
	gone      *tombstones
	unwritten unwritten
	closing   bool
	stop      context.CancelFunc
	stopped   chan struct{} // closed when Run has ended; nil if it never began
}

// asideFile is a file of an unknown format. It is kept as long as there is room.
type asideFile struct {
	path  string
	bytes int64
}

// tombstones are the purges that concern segments not yet recovered: up to which position
// a hash is gone.
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

// Open returns the Tier of a directory, locked. It reads no segments yet: Run does, and
// what they hold is a miss until then. A directory that cannot be used (no permission,
// read-only, full) is no error: the Tier is Off, Run tries again every few seconds, and
// Fault says what it is. The error is ErrLocked, or one about cfg.
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
		return cfg, errors.New("open disk tier: no directory is given")
	}
	if cfg.MaxBytes < MinBytes {
		return cfg, fmt.Errorf("open disk tier %s: a budget of %d bytes, at least %d are needed", cfg.Dir, cfg.MaxBytes, MinBytes)
	}
	if cfg.SegmentBytes == 0 {
		cfg.SegmentBytes = max(minSegmentBytes, min(defaultSegmentBytes, cfg.MaxBytes/16))
	}
	if most := min(maxSegmentBytes, cfg.MaxBytes/4); cfg.SegmentBytes < minSegmentBytes || cfg.SegmentBytes > most {
		return cfg, fmt.Errorf("open disk tier %s: segments of %d bytes, not %d to %d", cfg.Dir, cfg.SegmentBytes, minSegmentBytes, most)
	}
	if cfg.MaxBytes/cfg.SegmentBytes > math.MaxUint16/2 {
		return cfg, fmt.Errorf("open disk tier %s: a budget of %d bytes in segments of %d: these must be larger", cfg.Dir, cfg.MaxBytes, cfg.SegmentBytes)
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

// Run recovers what the directory holds, writes what is Put, evicts and syncs, until ctx
// ends or Close is called; then it writes what is queued, seals and syncs, and returns
// nil. It can be called once.
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
		return fmt.Errorf("run disk tier %s: it was run before", t.cfg.Dir)
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
			if t.checkDisk() { // attached anew
				others.Go(t.recovery(ctx))
			}
		}
	}
	others.Wait()
	_ = t.finish() // its error is counted and shown by State
	return nil
}

// Close ends Run and waits for it, writes what is queued, seals the active segment, syncs,
// and lets go of the directory. Gets are misses from then on. The error is that of the
// last sync: what was Put since the one before may be lost.
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

// finish writes what is queued and makes everything durable.
func (t *Tier) finish() error {
	t.writeQueued()
	t.writePurges()
	t.seal()
	return t.syncDirty()
}

// Sync returns once everything that was Put before is written and durable, or was
// skipped. Nothing that a Get found after it is lost in a crash. Run must be running.
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

// syncLoop makes durable what was written, every SyncEvery and when a segment is sealed.
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
		_ = t.syncDirty() // its error is counted and shown by State
	}
}

// syncDirty makes durable all that is written.
func (t *Tier) syncDirty() error {
	t.syncing.Lock()
	defer t.syncing.Unlock()
	t.mu.Lock()
	dirty, dirDirty := t.dirty, t.dirDirty
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
		return nil // there is nothing left to keep
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
	default: // it is known already
	}
}
