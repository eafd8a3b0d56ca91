// Package takedown remembers which originals were taken down: their variants are
// answered with 451 and never made again, on this node and across restarts, until that is
// lifted.
package takedown

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/novasocial/imagetier/imagecache"
)

// List is the originals that are taken down. It is safe for concurrent use.
type List struct {
	path string
	now  func() time.Time
	down atomic.Pointer[map[imagecache.Original]time.Time] // never changed after it is stored

	changing sync.Mutex // guards all below
	file     *os.File   // nil while it cannot be opened for writing: then fault says why
	fault    error
	whole    int64 // bytes of the file that are lines
	closed   bool
}

// line is a change, as a line of JSON in the file.
type line struct {
	At     time.Time `json:"at"`
	Lift   bool      `json:"lift,omitempty"`
	Source string    `json:"source"`
	Name   []byte    `json:"name"` // base64: a name may be any bytes
}

// Open reads the list in the file path, which is made if it is missing, and keeps it open
// for appending. What a crash left half written at its end is cut off: it was never
// acknowledged. Anything else that is no line of the list is an error, since to go on
// without it could serve what must not be served.
//
// A disk that is full or read-only is no error: what is on the list holds, Fault says
// what is wrong, and Add and Lift fail until the disk lets them write.
func Open(path string) (*List, error) {
	l := &List{path: path, now: time.Now}
	down, lines, whole, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("read the list of takedowns: %w", err)
	}
	l.down.Store(&down)
	l.whole = whole
	if lines > 2*len(down)+64 {
		// Where that fails, the long list is as good.
		if shorter, err := l.rewrite(down); err == nil {
			l.whole = shorter
		}
	}
	l.open()
	return l, nil
}

// Close closes the file.
func (l *List) Close() error {
	l.changing.Lock()
	defer l.changing.Unlock()
	l.closed = true
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// Fault returns why the list cannot be written, as far as that is known; nil if it can.
func (l *List) Fault() error {
	l.changing.Lock()
	defer l.changing.Unlock()
	return l.fault
}

// open opens the file for writing if it is not.
func (l *List) open() {
	if l.file != nil || l.closed {
		return
	}
	l.file, l.fault = l.openFile()
}

func (l *List) openFile() (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(l.path), 0o750); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	// Now that it can be written, it may be another than the one that was read: of a disk
	// that was mounted only since. What a crash left half written is shorter than a line.
	size, err := file.Seek(0, io.SeekEnd)
	switch {
	case err != nil:
	case size < l.whole:
		err = fmt.Errorf("%s has lost lines since it was read", l.path)
	case size > l.whole:
		if err = onlyHalfALine(file, l.whole, size); err == nil {
			err = file.Truncate(l.whole)
		}
	}
	if err == nil {
		err = syncDir(l.path)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// onlyHalfALine returns an error if there is more between two places in file than what a
// crash leaves of one line.
func onlyHalfALine(file *os.File, from, to int64) error {
	rest := make([]byte, to-from)
	if _, err := file.ReadAt(rest, from); err != nil {
		return err
	}
	if bytes.IndexByte(rest, '\n') >= 0 {
		return fmt.Errorf("%s has gained lines since it was read", file.Name())
	}
	return nil
}

// read returns what is down, how many lines say so, and how many bytes they are: a last
// line without its end does not count.
func read(path string) (down map[imagecache.Original]time.Time, lines int, whole int64, err error) {
	down = make(map[imagecache.Original]time.Time)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return down, 0, 0, nil
	}
	if err != nil {
		return nil, 0, 0, err
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	for row := range bytes.Lines(text) {
		lines++
		var change line
		if err := json.Unmarshal(row, &change); err != nil {
			return nil, 0, 0, fmt.Errorf("%s:%d: %w", path, lines, err)
		}
		of := imagecache.Original{Source: change.Source, Name: string(change.Name)}
		if change.Lift {
			delete(down, of)
		} else {
			down[of] = change.At
		}
	}
	return down, lines, int64(len(text)), nil
}

// Has reports whether of is taken down. It takes no lock.
func (l *List) Has(of imagecache.Original) bool {
	_, ok := (*l.down.Load())[of]
	return ok
}

// Len returns how many are.
func (l *List) Len() int { return len(*l.down.Load()) }

// Since returns what is down, and since when. The map is not to be changed.
func (l *List) Since() map[imagecache.Original]time.Time { return *l.down.Load() }

// All returns the originals that are down, in no order.
func (l *List) All() []imagecache.Original { return slices.Collect(maps.Keys(*l.down.Load())) }

// Add takes of down. When it returns without an error, Has says so, and will after any
// crash. It reports whether that is new.
func (l *List) Add(of imagecache.Original) (added bool, err error) { return l.change(of, false) }

// Lift undoes Add. It reports whether of was down.
func (l *List) Lift(of imagecache.Original) (lifted bool, err error) { return l.change(of, true) }

func (l *List) change(of imagecache.Original, lift bool) (changed bool, err error) {
	l.changing.Lock()
	defer l.changing.Unlock()
	if l.Has(of) != lift {
		return false, nil
	}
	if err := l.append(line{At: l.now().UTC(), Lift: lift, Source: of.Source, Name: []byte(of.Name)}); err != nil {
		return false, fmt.Errorf("write the list of takedowns: %w", err)
	}
	next := maps.Clone(*l.down.Load())
	if lift {
		delete(next, of)
	} else {
		next[of] = l.now()
	}
	l.down.Store(&next)
	return true, nil
}

// append writes a line and syncs it. Where that fails, what was written of it is cut off
// again, so that the next line does not begin in the middle of this one.
func (l *List) append(change line) error {
	l.open()
	switch {
	case l.closed:
		return os.ErrClosed
	case l.file == nil:
		return l.fault
	}
	text, err := json.Marshal(change)
	if err != nil {
		return err
	}
	n, err := l.file.WriteAt(append(text, '\n'), l.whole)
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		return errors.Join(err, l.file.Truncate(l.whole))
	}
	l.whole += int64(n)
	return nil
}

// rewrite puts one line for each that is down in place of the file, and returns its length.
func (l *List) rewrite(down map[imagecache.Original]time.Time) (bytes int64, err error) {
	file, err := os.CreateTemp(filepath.Dir(l.path), filepath.Base(l.path)+".*.tmp")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.Remove(file.Name()) }() // gone already if all went well
	w := bufio.NewWriter(file)
	enc := json.NewEncoder(w)
	originals := slices.SortedFunc(maps.Keys(down), func(a, b imagecache.Original) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Name, b.Name))
	})
	for _, of := range originals {
		if err := enc.Encode(line{At: down[of], Source: of.Source, Name: []byte(of.Name)}); err != nil {
			return 0, errors.Join(err, file.Close())
		}
	}
	if err := w.Flush(); err != nil {
		return 0, errors.Join(err, file.Close())
	}
	bytes, err = file.Seek(0, io.SeekCurrent)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return 0, err
	}
	return bytes, os.Rename(file.Name(), l.path) // openFile makes the name durable
}

// syncDir makes the name of a file durable.
func syncDir(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
