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

	changing sync.Mutex
	file     *os.File // guarded by changing
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
func Open(path string) (*List, error) {
	l := &List{path: path, now: time.Now}
	down, lines, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("read the list of takedowns: %w", err)
	}
	l.down.Store(&down)
	if lines > 2*len(down)+64 {
		if err := l.rewrite(down); err != nil {
			return nil, fmt.Errorf("shorten the list of takedowns: %w", err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("open the list of takedowns: %w", err)
	}
	if l.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640); err != nil {
		return nil, fmt.Errorf("open the list of takedowns: %w", err)
	}
	if _, err := l.file.Seek(0, io.SeekEnd); err != nil {
		return nil, errors.Join(fmt.Errorf("open the list of takedowns: %w", err), l.file.Close())
	}
	if err := syncDir(path); err != nil {
		return nil, errors.Join(fmt.Errorf("open the list of takedowns: %w", err), l.file.Close())
	}
	return l, nil
}

// Close closes the file.
func (l *List) Close() error {
	l.changing.Lock()
	defer l.changing.Unlock()
	return l.file.Close()
}

// read returns what is down, and how many lines say so. A last line without its end is
// cut off the file.
func read(path string) (down map[imagecache.Original]time.Time, lines int, err error) {
	down = make(map[imagecache.Original]time.Time)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return down, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	if whole := bytes.LastIndexByte(text, '\n') + 1; whole < len(text) {
		if err := os.Truncate(path, int64(whole)); err != nil {
			return nil, 0, err
		}
		text = text[:whole]
	}
	for row := range bytes.Lines(text) {
		lines++
		var change line
		if err := json.Unmarshal(row, &change); err != nil {
			return nil, 0, fmt.Errorf("%s:%d: %w", path, lines, err)
		}
		of := imagecache.Original{Source: change.Source, Name: string(change.Name)}
		if change.Lift {
			delete(down, of)
		} else {
			down[of] = change.At
		}
	}
	return down, lines, nil
}

// Has reports whether of is taken down. It takes no lock.
func (l *List) Has(of imagecache.Original) bool {
	_, ok := (*l.down.Load())[of]
	return ok
}

// Len returns how many are.
func (l *List) Len() int { return len(*l.down.Load()) }

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
	text, err := json.Marshal(change)
	if err != nil {
		return err
	}
	at, err := l.file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	_, err = l.file.Write(append(text, '\n'))
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		return errors.Join(err, l.file.Truncate(at))
	}
	return nil
}

// rewrite puts one line for each that is down in place of the file.
func (l *List) rewrite(down map[imagecache.Original]time.Time) error {
	file, err := os.CreateTemp(filepath.Dir(l.path), filepath.Base(l.path)+".*.tmp")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }() // gone already if all went well
	w := bufio.NewWriter(file)
	enc := json.NewEncoder(w)
	originals := slices.SortedFunc(maps.Keys(down), func(a, b imagecache.Original) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Name, b.Name))
	})
	for _, of := range originals {
		if err := enc.Encode(line{At: down[of], Source: of.Source, Name: []byte(of.Name)}); err != nil {
			return errors.Join(err, file.Close())
		}
	}
	if err := errors.Join(w.Flush(), file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), l.path); err != nil {
		return err
	}
	return syncDir(l.path)
}

// syncDir makes the name of a file durable.
func syncDir(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
