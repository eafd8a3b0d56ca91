package disktier

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"
)

// State is the state of a Tier.
type State uint8

const (
	// Serving is the normal state.
	Serving State = iota
	// Full means that the disk was full before the budget was used. The tier keeps less,
	// and checks every few seconds whether there is room again.
	Full
	// ReadOnly means that writes fail. Stored images are served.
	ReadOnly
	// Off means that the directory cannot be used or read. Every Get is a miss and every
	// Put is skipped.
	Off
	// Closed means that Close was called.
	Closed
	numStates
)

var stateNames = [numStates]string{"serving", "full", "read-only", "off", "closed"}

// String returns the label.
func (s State) String() string { return stateNames[s] }

// Degraded reports whether an operator should look at the disk.
func (s State) Degraded() bool { return s == Full || s == ReadOnly || s == Off }

const (
	// checkEvery is how often failed operations are retried.
	checkEvery = 5 * time.Second
	// This many consecutive failures are not just a bad sector.
	maxReadFaults  = 5
	maxWriteFaults = 3
	probeBytes     = 64 << 10
)

// health has a flag for each kind of failure. Any operation sets a flag, checkDisk clears it.
type health struct {
	detached  atomic.Bool // the directory is not in use
	leave     atomic.Bool // the directory, or something vital in it, was removed
	readsOff  atomic.Bool
	writesOff atomic.Bool
	full      atomic.Bool

	readFaults  atomic.Int32 // in a row
	writeFaults atomic.Int32

	fault    atomic.Pointer[error] // the last
	lastFull time.Time             // the writer's
}

func (h *health) off() bool          { return h.detached.Load() || h.readsOff.Load() }
func (h *health) setFault(err error) { h.fault.Store(&err) }

// State returns the current state.
func (t *Tier) State() State {
	t.mu.Lock()
	closed := t.closing
	t.mu.Unlock()
	switch {
	case closed:
		return Closed
	case t.health.off():
		return Off
	case t.health.writesOff.Load():
		return ReadOnly
	case t.health.full.Load():
		return Full
	}
	return Serving
}

// Fault returns the last error of the disk if State is degraded, else nil.
func (t *Tier) Fault() error {
	if err := t.health.fault.Load(); err != nil && t.State().Degraded() {
		return *err
	}
	return nil
}

func (t *Tier) attached() bool { return !t.health.detached.Load() }

func (t *Tier) turnOff(op Op, err error) {
	t.count.errors[op].Add(1)
	t.health.setFault(err)
	t.log.Error("disk tier off", "err", err)
}

func (t *Tier) readFault(err error) {
	t.count.errors[opRead].Add(1)
	t.health.setFault(err)
	if t.health.readFaults.Add(1) >= maxReadFaults && !t.health.readsOff.Swap(true) {
		t.log.Error("disk tier off, reads fail", "err", err)
	}
}

func (t *Tier) writeFault(op Op, err error) {
	t.count.errors[op].Add(1)
	t.health.setFault(err)
	if errors.Is(err, fs.ErrNotExist) {
		t.health.leave.Store(true)
		notify(t.wake)
	}
	lasting := errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission)
	if (t.health.writeFaults.Add(1) >= maxWriteFaults || lasting) && !t.health.writesOff.Swap(true) {
		t.log.Error("disk tier read-only, writes fail", "err", err)
	}
}

// checkDisk retries failed operations. It reports whether it has attached the directory.
func (t *Tier) checkDisk() (attached bool) {
	if t.health.detached.Load() {
		if err := t.attach(); err != nil {
			t.count.errors[opAttach].Add(1)
			t.health.setFault(err)
			return false
		}
		t.health.readsOff.Store(false)
		t.health.writesOff.Store(false)
		t.log.Info("disk tier on again")
		t.writePurges()
		return true
	}
	t.writePurges()
	if t.health.readsOff.Load() {
		if err := t.probeRead(); err == nil {
			t.health.readFaults.Store(0)
			t.health.readsOff.Store(false)
			t.log.Info("disk tier on again, reads succeed")
		}
	}
	if t.health.writesOff.Load() || t.health.full.Load() && time.Since(t.health.lastFull) >= checkEvery {
		t.checkWrites()
	}
	return false
}

func (t *Tier) checkWrites() {
	err := t.probeWrite()
	if err != nil && !isFull(err) {
		return
	}
	if t.health.writesOff.Swap(false) {
		t.health.writeFaults.Store(0)
		t.log.Info("disk tier writable again")
	}
	if err == nil && t.health.full.Swap(false) {
		t.mu.Lock()
		t.limit = t.cfg.MaxBytes
		t.mu.Unlock()
		t.log.Info("disk tier no longer full")
	}
}

// probeWrite checks that a file can be created, written and removed. It fits into the slack.
func (t *Tier) probeWrite() error {
	path := filepath.Join(t.cfg.Dir, probeName)
	f, err := t.fs.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, filePerm)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	_, err = f.WriteAt(make([]byte, probeBytes), 0)
	if err == nil {
		err = f.Datasync()
	}
	return errors.Join(err, f.Close(), t.fs.Remove(path))
}

// probeRead checks that the newest segment can be read.
func (t *Tier) probeRead() error {
	t.mu.Lock()
	var s *segment
	if len(t.segments) > 0 {
		s = t.segments[len(t.segments)-1]
	}
	t.mu.Unlock()
	if s == nil {
		return nil
	}
	f, err := t.fs.OpenFile(s.path, os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	defer f.Close()
	_, err = f.ReadAt(make([]byte, headerBytes), 0)
	return err
}
