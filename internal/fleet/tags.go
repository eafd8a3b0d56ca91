package fleet

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/jsonlog"
)

// Pair is an original and one of its tags ("post:p1", "user:u1").
type Pair struct {
	Tag string
	Of  imagecache.Original
	// Live means that the original is requested in its live version, and must be purged when it
	// changes.
	Live bool
}

// Bounds of the memory of tags.
const (
	maxPairs = 250_000 // pairs and tags together, some 200 bytes each; beyond it the oldest tags go
	// rememberEnds is how long the end of a tag is remembered: as long as a queue may have jobs
	// with that tag.
	rememberEnds = 24 * time.Hour
)

// tagStore maps tags to originals, so that all images of a post can be purged together. As with
// takedowns, the newest decision about a pair or about the end of a tag counts, in whatever order
// they arrive. The file is written before the memory.
type tagStore struct {
	now func() time.Time
	max int

	mu    sync.Mutex // guards all below
	log   *jsonlog.Log[tagLine]
	known map[string]*tag
	order []string // tags in the order in which they were first learned
	pairs int
}

// tag is the state of one tag; times are those of decisions.
type tag struct {
	originals []tagged
	learnt    Instant
	ended     Instant
	forgotten Instant
}

type tagged struct {
	of   imagecache.Original
	at   Instant // when it was last learned
	live Instant // when it was last learned as live; 0 is never
}

func (t *tag) newest() Instant { return max(t.learnt, t.ended, t.forgotten) }

// tagLine is a change, as a line of the file.
type tagLine struct {
	At     Instant  `json:"at"`
	Tag    string   `json:"t"`
	Source string   `json:"s,omitempty"`
	Name   []byte   `json:"n,omitempty"` // base64: a name may be any bytes
	Live   bool     `json:"live,omitempty"`
	Ended  *Instant `json:"ended,omitempty"`
	Forget bool     `json:"forget,omitempty"`
}

// learnt is a Pair in an Entry.
type learnt struct {
	Tag    string `json:"t"`
	Source string `json:"s"`
	Name   []byte `json:"n"`
	Live   bool   `json:"live,omitempty"`
}

// openTags reads the file. Unreadable lines are skipped, since knowing fewer tags is better than
// not serving. skipped is their number.
func openTags(cfg jsonlog.Config, now func() time.Time) (s *tagStore, skipped int, err error) {
	s = &tagStore{now: now, max: maxPairs, known: make(map[string]*tag)}
	cfg.Skip = func(int, error) { skipped++ }
	s.log, err = jsonlog.Open(cfg, s.set)
	if err != nil {
		return nil, 0, fmt.Errorf("read the tags: %w", err)
	}
	_ = s.shorten() // a long file is valid too
	return s, skipped, nil
}

// newest returns the time of the newest decision about any of these tags.
func (s *tagStore) newest(e Entry) (newest Instant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range linesOf(e) {
		if t := s.known[l.Tag]; t != nil {
			newest = max(newest, t.newest())
		}
	}
	return newest
}

// linesOf returns the changes in an entry.
func linesOf(e Entry) (lines []tagLine) {
	for _, p := range e.Learn {
		lines = append(lines, tagLine{At: e.At, Tag: p.Tag, Source: p.Source, Name: p.Name, Live: p.Live})
	}
	for _, name := range e.End {
		lines = append(lines, tagLine{At: e.At, Tag: name, Ended: &e.At})
	}
	if e.Forget != "" {
		lines = append(lines, tagLine{At: e.At, Tag: e.Forget, Forget: true})
	}
	return lines
}

// apply stores entries, with one sync for all of them.
func (s *tagStore) apply(entries ...Entry) error {
	var lines []tagLine
	for _, e := range entries {
		lines = append(lines, linesOf(e)...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.log.Append(lines...); err != nil {
		return fmt.Errorf("write the tags: %w", err)
	}
	for _, l := range lines {
		s.set(l)
	}
	_ = s.shorten() // the lines are durable already, and a long file is valid too
	return nil
}

// set applies a change in memory.
func (s *tagStore) set(l tagLine) {
	if l.Tag == "" {
		return
	}
	t := s.known[l.Tag]
	if t == nil {
		t = &tag{}
		s.known[l.Tag] = t
		s.order = append(s.order, l.Tag)
	}
	switch {
	case l.Ended != nil:
		t.ended = max(t.ended, *l.Ended)
	case l.Forget:
		t.forgotten = max(t.forgotten, l.At)
		s.pairs -= len(t.originals)
		t.originals = slices.DeleteFunc(t.originals, func(x tagged) bool { return x.at <= t.forgotten })
		s.pairs += len(t.originals)
	default:
		t.learnt = max(t.learnt, l.At)
		if l.At > t.forgotten || l.At == 0 {
			s.pairs += t.add(l)
		}
	}
	for s.pairs+len(s.known) > s.max && len(s.order) > 1 {
		if old := s.known[s.order[0]]; old != nil {
			s.pairs -= len(old.originals)
			delete(s.known, s.order[0])
		}
		s.order = s.order[1:]
	}
}

// add returns the change of the number of originals.
func (t *tag) add(l tagLine) int {
	of := imagecache.Original{Source: l.Source, Name: string(l.Name)}
	at := slices.IndexFunc(t.originals, func(x tagged) bool { return x.of == of })
	more := 0
	if at < 0 {
		at, more = len(t.originals), 1
		t.originals = append(t.originals, tagged{of: of})
	}
	x := &t.originals[at]
	x.at = max(x.at, l.At)
	if l.Live {
		x.live = max(x.live, l.At, 1)
	}
	return more
}

// Of returns the originals that have a tag.
func (s *tagStore) Of(name string) []imagecache.Original {
	return s.having(name, func(*tag, tagged) bool { return true })
}

// LiveOf returns those originals with a tag that are requested in their live version.
func (s *tagStore) LiveOf(name string) []imagecache.Original {
	return s.having(name, func(t *tag, x tagged) bool { return x.live > t.forgotten })
}

func (s *tagStore) having(name string, which func(*tag, tagged) bool) (originals []imagecache.Original) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.known[name]; t != nil {
		for _, x := range t.originals {
			if which(t, x) {
				originals = append(originals, x.of)
			}
		}
	}
	return originals
}

// knows reports whether the pair is known, or the tag has ended: an old page does not begin it again.
func (s *tagStore) knows(p Pair) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.known[p.Tag]
	return t != nil && (t.ended > t.learnt || slices.ContainsFunc(t.originals, func(x tagged) bool {
		return x.of == p.Of && (x.live > t.forgotten || !p.Live)
	}))
}

// Ended reports whether a tag ended after since, and was not learned again later.
func (s *tagStore) Ended(name string, since time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.known[name]
	return t != nil && t.ended > t.learnt && t.ended > Instant(since.UnixNano())
}

// shorten forgets old ends, and rewrites the file when most of its lines are superseded. s.mu is
// held, or s is not shared yet.
func (s *tagStore) shorten() error {
	if s.log.Lines() <= 2*(s.pairs+2*len(s.known))+10_000 {
		return nil
	}
	old := Instant(s.now().Add(-rememberEnds).UnixNano())
	order := make([]string, 0, len(s.known))
	seen := make(map[string]bool, len(s.known))
	for _, name := range s.order {
		t := s.known[name]
		if t == nil || seen[name] {
			continue
		}
		if len(t.originals) == 0 && t.newest() < old {
			delete(s.known, name)
			continue
		}
		seen[name] = true
		order = append(order, name)
	}
	s.order = order
	return s.log.Rewrite(s.lines)
}

// lines yields the changes that produce the current state, in the order of s.order.
func (s *tagStore) lines(yield func(tagLine) bool) {
	for _, name := range s.order {
		t := s.known[name]
		if t.forgotten > 0 && !yield(tagLine{At: t.forgotten, Tag: name, Forget: true}) {
			return
		}
		for _, x := range t.originals {
			l := tagLine{At: x.at, Tag: name, Source: x.of.Source, Name: []byte(x.of.Name)}
			if x.live > t.forgotten {
				l.At, l.Live = x.live, true
				if !yield(l) {
					return
				}
				l.At, l.Live = x.at, false
			}
			if (x.live != x.at || !l.Live) && !yield(l) {
				return
			}
		}
		if t.ended > 0 && !yield(tagLine{At: t.ended, Tag: name, Ended: &t.ended}) {
			return
		}
	}
}
