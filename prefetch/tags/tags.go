// Package tags remembers which originals bear a tag ("post:p1", "user:u1"), so that all of a
// post can be removed by its name: in memory, and in a file that any crash leaves readable.
package tags

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/novasocial/imagetier/imagecache"
)

// Config of a Store.
type Config struct {
	// Path of the file; needed. It is made if missing.
	Path string
	// Most is how many pairs of a tag and an original are kept, some 200 bytes each; beyond
	// it the tags that were learnt first are forgotten. 0 is 250,000.
	Most int
	// Remember is how long it is known of a tag that it was ended; 0 is 24 h, as long as a
	// queue keeps what may still speak of it.
	Remember time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Pair is an original and a tag that it bears.
type Pair struct {
	Tag string
	Of  imagecache.Original
	// Live: it is asked for as what is live, so that it has to go when it changes.
	Live bool
}

// Store is what is known of tags. It is safe for concurrent use.
type Store struct {
	cfg Config

	mu    sync.Mutex
	known map[string]*tag // guarded by mu, as all below
	order []string        // tags as they were learnt, oldest first; some are known no more, or learnt again
	pairs int
	file  *os.File // nil while it cannot be opened
	whole int64    // bytes of the file that are lines
	lines int
}

type tag struct {
	originals []borne
	ended     time.Time // zero: it was not
}

type borne struct {
	of   imagecache.Original
	live bool
}

// add notes that an original bears the tag; one that was live once stays so. It reports whether
// there is one more.
func (t *tag) add(of imagecache.Original, live bool) bool {
	for i := range t.originals {
		if t.originals[i].of == of {
			t.originals[i].live = t.originals[i].live || live
			return false
		}
	}
	t.originals = append(t.originals, borne{of, live})
	return true
}

func (t *tag) has(p Pair) bool {
	return slices.ContainsFunc(t.originals, func(b borne) bool { return b.of == p.Of && (b.live || !p.Live) })
}

// line is a change, as a line of JSON in the file.
type line struct {
	Tag    string     `json:"t"`
	Source string     `json:"s,omitempty"`
	Name   []byte     `json:"n,omitempty"` // base64: a name may be any bytes
	Live   bool       `json:"live,omitempty"`
	Ended  *time.Time `json:"ended,omitempty"`
	Forget bool       `json:"forget,omitempty"`
}

// Open reads the file. What a crash left half written at its end is cut off: it was never
// acknowledged. Any other line that cannot be read is left out: to know less about tags is
// better than not to serve. skipped is how many there were. A disk that cannot be written is
// no error: changes fail until it can.
func Open(cfg Config) (s *Store, skipped int, err error) {
	if cfg.Most == 0 {
		cfg.Most = 250_000
	}
	if cfg.Remember == 0 {
		cfg.Remember = 24 * time.Hour
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s = &Store{cfg: cfg, known: make(map[string]*tag)}
	text, err := os.ReadFile(cfg.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fmt.Errorf("read the tags: %w", err)
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	for row := range bytes.Lines(text) {
		s.lines++
		var l line
		if json.Unmarshal(row, &l) != nil || l.Tag == "" {
			skipped++
			continue
		}
		s.apply(l)
	}
	s.whole = int64(len(text))
	_ = s.tidy() // where that fails, the long file is as good
	return s, skipped, nil
}

// Close closes the file.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}

// Learn notes that originals bear tags. When it returns without an error, Of says so, after
// any crash too.
func (s *Store) Learn(pairs ...Pair) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var changes []line
	for _, p := range pairs {
		if t := s.known[p.Tag]; t == nil || !t.ended.IsZero() || !t.has(p) {
			changes = append(changes, line{Tag: p.Tag, Source: p.Of.Source, Name: []byte(p.Of.Name), Live: p.Live})
		}
	}
	return s.change(changes)
}

// End notes that what bears the tag was deleted: Ended says so until somebody learns the tag again,
// and Of still says what bore it.
func (s *Store) End(tags ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now().UTC()
	var changes []line
	for _, name := range tags {
		changes = append(changes, line{Tag: name, Ended: &now})
	}
	return s.change(changes)
}

// Forget forgets what bore a tag, and not that it was ended.
func (s *Store) Forget(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.known[name]; t == nil || len(t.originals) == 0 {
		return nil
	}
	return s.change([]line{{Tag: name, Forget: true}})
}

// Of returns the originals that bear a tag.
func (s *Store) Of(name string) []imagecache.Original {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bearing(name, func(borne) bool { return true })
}

// LiveOf returns those of them that are asked for as what is live.
func (s *Store) LiveOf(name string) []imagecache.Original {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bearing(name, func(b borne) bool { return b.live })
}

func (s *Store) bearing(name string, which func(borne) bool) (originals []imagecache.Original) {
	if t := s.known[name]; t != nil {
		for _, b := range t.originals {
			if which(b) {
				originals = append(originals, b.of)
			}
		}
	}
	return originals
}

// Ended reports whether a tag was ended after since.
func (s *Store) Ended(name string, since time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.known[name]
	return t != nil && t.ended.After(since)
}

// Len returns how many pairs there are.
func (s *Store) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pairs
}

// apply makes a change in memory.
func (s *Store) apply(l line) {
	t := s.known[l.Tag]
	if t == nil {
		t = &tag{}
		s.known[l.Tag] = t
		s.order = append(s.order, l.Tag)
	}
	switch {
	case l.Ended != nil:
		t.ended = *l.Ended
	case l.Forget:
		s.pairs -= len(t.originals)
		t.originals = nil
	default:
		t.ended = time.Time{}
		if t.add(imagecache.Original{Source: l.Source, Name: string(l.Name)}, l.Live) {
			s.pairs++
		}
	}
	for s.pairs > s.cfg.Most && len(s.order) > 1 {
		s.drop(s.order[0])
		s.order = s.order[1:]
	}
}

func (s *Store) drop(name string) {
	if t := s.known[name]; t != nil {
		s.pairs -= len(t.originals)
		delete(s.known, name)
	}
}

// change writes lines, syncs them, and then makes the changes in memory.
func (s *Store) change(changes []line) error {
	if len(changes) == 0 {
		return nil
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	for _, l := range changes {
		if err := enc.Encode(l); err != nil {
			return fmt.Errorf("write the tags: %w", err)
		}
	}
	if err := s.append(text.Bytes()); err != nil {
		return fmt.Errorf("write the tags: %w", err)
	}
	s.lines += len(changes)
	for _, l := range changes {
		s.apply(l)
	}
	if s.lines > 2*(s.pairs+len(s.known))+10_000 {
		if err := s.tidy(); err != nil {
			return fmt.Errorf("write the tags anew: %w", err)
		}
	}
	return nil
}

// append writes text and syncs it. Where that fails, what was written of it is cut off again.
func (s *Store) append(text []byte) error {
	if s.file == nil {
		if err := os.MkdirAll(filepath.Dir(s.cfg.Path), 0o750); err != nil {
			return err
		}
		file, err := os.OpenFile(s.cfg.Path, os.O_RDWR|os.O_CREATE, 0o640)
		if err != nil {
			return err
		}
		if err := errors.Join(file.Truncate(s.whole), syncDir(s.cfg.Path)); err != nil {
			return errors.Join(err, file.Close())
		}
		s.file = file
	}
	_, err := s.file.WriteAt(text, s.whole)
	if err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		return errors.Join(err, s.file.Truncate(s.whole))
	}
	s.whole += int64(len(text))
	return nil
}

// tidy forgets old ends, and writes the file anew if it has many lines that say nothing.
func (s *Store) tidy() error {
	old := s.cfg.Now().Add(-s.cfg.Remember)
	order := make([]string, 0, len(s.known))
	seen := make(map[string]bool, len(s.known))
	for _, name := range s.order {
		t := s.known[name]
		switch {
		case t == nil || seen[name]:
			continue
		case len(t.originals) == 0 && t.ended.Before(old):
			delete(s.known, name)
			continue
		}
		seen[name] = true
		order = append(order, name)
	}
	s.order = order
	if s.lines <= s.pairs+len(s.known)+1000 {
		return nil
	}
	return s.rewrite()
}

// rewrite puts what is known in place of the file.
func (s *Store) rewrite() error {
	if err := os.MkdirAll(filepath.Dir(s.cfg.Path), 0o750); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(s.cfg.Path), filepath.Base(s.cfg.Path)+".*.tmp")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }() // gone already if all went well
	w := bufio.NewWriter(file)
	enc := json.NewEncoder(w)
	lines := 0
	write := func(l line) {
		lines++
		err = errors.Join(err, enc.Encode(l))
	}
	for _, name := range s.order {
		t := s.known[name]
		for _, b := range t.originals {
			write(line{Tag: name, Source: b.of.Source, Name: []byte(b.of.Name), Live: b.live})
		}
		if !t.ended.IsZero() {
			ended := t.ended
			write(line{Tag: name, Ended: &ended})
		}
	}
	err = errors.Join(err, w.Flush())
	whole, seek := file.Seek(0, io.SeekCurrent)
	if err := errors.Join(err, seek, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), s.cfg.Path); err != nil {
		return err
	}
	if s.file != nil { // it is the old one
		_ = s.file.Close()
		s.file = nil
	}
	s.whole, s.lines = whole, lines
	return syncDir(s.cfg.Path)
}

// syncDir makes the name of a file durable.
func syncDir(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
