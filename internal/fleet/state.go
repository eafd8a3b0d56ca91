package fleet

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/sharedstore"
	"github.com/novasocial/imagetier/internal/durable"
	"github.com/novasocial/imagetier/internal/jetstream"
	"github.com/novasocial/imagetier/internal/jsonlog"
)

// StateConfig configures a State.
type StateConfig struct {
	// Dir is the node's cache directory, which has the files: takedowns, tags and, in the directory
	// fleet, the offsets and the outbox.
	Dir string
	// Peek returns the extent of the purge stream, before any cache is opened. If nil, this node is
	// alone.
	Peek func(ctx context.Context) (jetstream.LogState, error)
	// Empty removes the caches on disk.
	Empty func() error
	// FS is the file system. If nil, it is the real one, and Dir is locked against other processes.
	FS    jsonlog.FS
	Now   func() time.Time // nil is time.Now
	NewID func() string    // nil is rand.Text
	Log   *slog.Logger     // nil discards
}

// State is the durable state of a node. It is opened first: it decides whether caches have to be
// emptied, and knows the takedowns before anything is served.
type State struct {
	cfg       StateConfig
	opened    time.Time
	lock      *os.File
	takedowns *registers
	tags      *tagStore
	outbox    *outbox

	mu      sync.Mutex // guards offsets, except Caches, which never changes after OpenState
	offsets offsets
	seen    purgesSeen
}

// offsets is the file of the positions up to which this node has applied the streams, inclusive.
type offsets struct {
	Node   string               `json:"node"`
	Purges sharedstore.Position `json:"purges"` // Log 0: caches have to be emptied
	// PurgesAt is when the entry of Purges was appended, by the clock of the cluster; 0: unknown.
	PurgesAt  Instant              `json:"purges_at,omitempty"`
	Takedowns sharedstore.Position `json:"takedowns"`
	Tags      sharedstore.Position `json:"tags"`
	// Caches is an id that changes when the caches are emptied. The cache on a disk that was not
	// mounted then has another id.
	Caches string `json:"caches,omitempty"`
}

// maxOffsets is the largest file of offsets that is read, in bytes. It has a few hundred.
const maxOffsets = 64 << 10

// peekTime bounds asking the cluster whether this node is too far behind.
const peekTime = 3 * time.Second

// OpenState reads the state of a node. It empties the caches if the node may have missed purges
// that cannot be determined any more: there is no offset, or the stream does not reach back to it.
//
// Invariant 3: only a missing file means a new node. Any other failure to read is an error, and
// nothing is emptied or reset: the fault may be temporary, and the outbox beside that file has
// acknowledged purges.
func OpenState(ctx context.Context, cfg StateConfig) (_ *State, err error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.NewID == nil {
		cfg.NewID = rand.Text
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &State{cfg: cfg, opened: cfg.Now()}
	if cfg.FS == nil {
		s.cfg.FS = jsonlog.OS{}
		if cfg.Peek != nil {
			if s.lock, err = lockDir(filepath.Join(cfg.Dir, "fleet")); err != nil {
				return nil, err
			}
		}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	file := func(name ...string) jsonlog.Config {
		return jsonlog.Config{Path: filepath.Join(append([]string{cfg.Dir}, name...)...), FS: s.cfg.FS}
	}
	if s.takedowns, err = openRegisters(file("takedowns")); err != nil {
		return nil, err
	}
	var skipped int
	if s.tags, skipped, err = openTags(file("tags"), cfg.Now); err != nil {
		return nil, err
	}
	if skipped > 0 {
		cfg.Log.Warn("unreadable lines in the tags file; purges by tag may miss originals", "lines", skipped)
	}
	if s.outbox, err = openOutbox(file("fleet", "outbox")); err != nil {
		return nil, err
	}
	if cfg.Peek != nil {
		if err = s.openOffsets(ctx); err != nil {
			return nil, err
		}
	}
	return s, s.replay()
}

func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("state of the fleet: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("state of the fleet: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is in use by another process: %w", dir, err), lock.Close())
	}
	return lock, nil
}

// readOffsets returns the content of the file.
func (s *State) readOffsets() ([]byte, error) {
	f, err := s.cfg.FS.Open(s.offsetsFile())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := durable.ReadAll(f, maxOffsets)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.offsetsFile(), err)
	}
	return text, nil
}

func (s *State) openOffsets(ctx context.Context) error {
	text, err := s.readOffsets()
	why := ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.offsets.Node = s.cfg.NewID()[:12]
		why = "this node is new"
	case err != nil:
		return fmt.Errorf("read the offsets of the fleet: %w", err)
	default:
		if err := json.Unmarshal(text, &s.offsets); err != nil {
			return fmt.Errorf("read the offsets of the fleet: %s: %w", s.offsetsFile(), err)
		}
		if s.offsets.Node == "" {
			return fmt.Errorf("read the offsets of the fleet: %s has no node id", s.offsetsFile())
		}
		if len(s.takedowns.newest) == 0 {
			s.offsets.Takedowns = sharedstore.Position{} // the file is gone: read the whole stream
		}
		if s.offsets.Purges.Log == 0 {
			why = "this node never followed the stream of purges, or missed some"
		}
	}
	peek, cancel := context.WithTimeout(ctx, peekTime)
	state, err := s.cfg.Peek(peek)
	cancel()
	if err != nil { // retried when the stream is followed
		state = jetstream.LogState{}
	}
	if why == "" && err == nil && behind(s.offsets.Purges, state) {
		why = "the stream of purges does not reach back to this node's offset"
	}
	if why == "" {
		return nil
	}
	s.cfg.Log.Warn("emptying the caches", "reason", why)
	if err := s.cfg.Empty(); err != nil {
		return fmt.Errorf("empty the caches: %w", err)
	}
	// Empty caches need no earlier purge. If the stream cannot be read, this node follows all of
	// it, since images that it makes from now on may be purged before it is connected.
	s.offsets.Purges = sharedstore.Position{Log: state.ID, Entry: state.Last}
	s.offsets.PurgesAt = instantOf(state.LastAt)
	s.offsets.Caches = s.cfg.NewID()
	return s.save(s.offsets)
}

// behind reports whether this node may have missed purges that the stream has dropped.
func behind(at sharedstore.Position, log jetstream.LogState) bool {
	return at.Log != log.ID || at.Entry+1 < log.First || at.Entry > log.Last
}

// replay applies the decisions in the outbox, since a crash may have come between writing and
// applying them. Purges are left to Node.replay, since there are no caches yet.
func (s *State) replay() error {
	var decisions, tags []Entry
	for _, out := range s.outbox.oldest(maxOutboxEntries, nil) {
		switch {
		case out.decides():
			decisions = append(decisions, out.Entry)
		case out.Kind == KindTags:
			tags = append(tags, out.Entry)
		}
	}
	if _, err := s.takedowns.apply(decisions...); err != nil {
		return fmt.Errorf("apply the outbox: %w", err)
	}
	if len(tags) == 0 {
		return nil
	}
	if err := s.tags.apply(tags...); err != nil {
		return fmt.Errorf("apply the outbox: %w", err)
	}
	return nil
}

// Close closes the files and unlocks the directory.
func (s *State) Close() error {
	var faults []error
	if s.takedowns != nil {
		faults = append(faults, s.takedowns.close())
	}
	if s.tags != nil {
		faults = append(faults, s.tags.log.Close())
	}
	if s.outbox != nil {
		faults = append(faults, s.outbox.log.Close())
	}
	if s.lock != nil {
		faults = append(faults, s.lock.Close())
	}
	return errors.Join(faults...)
}

// TakenDown reports whether an original is taken down. It is fast enough to be called for every
// request.
func (s *State) TakenDown(of imagecache.Original) bool { return s.takedowns.takenDown(of) }

// List returns at most limit takedowns after an original, sorted by source and name. The zero
// Original sorts before all others.
func (s *State) List(after imagecache.Original, limit int) []Takedown {
	return s.takedowns.list(after, limit)
}

// Fault returns why takedowns fail now; nil if they do not.
func (s *State) Fault() error { return s.takedowns.fault() }

// Position is how far this node has applied the purge stream.
func (s *State) Position() sharedstore.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offsets.Purges
}

// maxUnseen is how old the last proof that a node has applied all purges may be while it writes to
// the shared store. It is less than settleDelay by maxSkew and the time of a write.
const maxUnseen = 30 * time.Second

// purgesSeen is the proof that this node has applied all purges. It is guarded by State.mu.
type purgesSeen struct {
	at   time.Time          // when the stream had no entry that is not applied here; zero: never
	next jetstream.LogState // at is next.Asked once its last entry is applied
}

func (s *purgesSeen) isReached() bool { return s.at.Equal(s.next.Asked) }

func (s *purgesSeen) reach(applied uint64) {
	if applied >= s.next.Last {
		s.at = s.next.Asked
	}
}

// Current reports whether this node has applied the purges of all nodes up to maxUnseen ago. Until
// it has, what it makes may be older than a purge.
func (s *State) Current() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	age := max(now.Sub(s.seen.at), now.Round(0).Sub(s.seen.at.Round(0))) // also if the machine was asleep
	return age < maxUnseen
}

// Caches returns the id that caches on disk must have to be used: disktier.Config.Generation.
func (s *State) Caches() string { return s.offsets.Caches }

func (s *State) offsetsFile() string { return filepath.Join(s.cfg.Dir, "fleet", "offsets.json") }

// save writes offsets durably.
func (s *State) save(o offsets) error {
	text, err := json.Marshal(o)
	if err == nil {
		err = s.cfg.FS.WriteFile(s.offsetsFile(), text)
	}
	if err != nil {
		return fmt.Errorf("write the offsets of the fleet: %w", err)
	}
	return nil
}
