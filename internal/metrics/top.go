package metrics

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/novasocial/imagetier/imagecache"
)

// Bounds of the sample that finds the most requested originals.
const (
	topEntries  = 2048 // originals that are counted in one generation, some 200 bytes each
	topSamples  = 1000 // requests that are counted in one interval before the sample becomes half as dense
	topInterval = 60   // intervals after which a generation ends: 30 minutes
)

// TopOriginal is an original and how often it was requested.
type TopOriginal struct {
	Original imagecache.Original
	Requests int64 // estimated from a sample
	Misses   int64 // those that were not answered from a cache
	Bytes    int64 // of bodies
}

// topOriginals finds the most requested originals in a sample of the requests. At a low rate each request is
// counted; at a high one, one of a power of two, so that hits pay for a random number and nothing else.
type topOriginals struct {
	every atomic.Uint32 // one in this many requests is counted

	mu       sync.Mutex // guards all below; a request that would have to wait for it is not counted
	sampled  int        // in this interval
	ticks    int        // of this generation
	since    time.Time  // when the generation before this one began
	began    time.Time  // when this generation began
	now, old map[imagecache.Original]*TopOriginal
}

func newTopOriginals(now time.Time) *topOriginals {
	t := &topOriginals{since: now, began: now, now: make(map[imagecache.Original]*TopOriginal)}
	t.every.Store(1)
	return t
}

// observe counts a request, if it is of the sample.
func (t *topOriginals) observe(o *Observation) {
	every := t.every.Load()
	if !o.Found || every > 1 && rand.Uint32()&(every-1) != 0 || !t.mu.TryLock() {
		return
	}
	defer t.mu.Unlock()
	of := imagecache.Original{Source: o.Ref.Source(), Name: o.Ref.Name()}
	one := t.now[of]
	if one == nil {
		if len(t.now) >= topEntries {
			t.prune()
		}
		of = imagecache.Original{Source: strings.Clone(of.Source), Name: strings.Clone(of.Name)}
		one = &TopOriginal{Original: of}
		t.now[of] = one
	}
	one.Requests += int64(every)
	one.Bytes += o.Bytes * int64(every)
	if o.Outcome.Forward != imagecache.Hit {
		one.Misses += int64(every)
	}
	if t.sampled++; t.sampled == topSamples {
		t.sampled = 0
		t.every.Store(min(every*2, 1<<16))
	}
}

// prune drops the half of the originals that were requested least.
func (t *topOriginals) prune() {
	for _, one := range sortedTop(t.now)[topEntries/2:] {
		delete(t.now, one.Original)
	}
}

// tick ends an interval.
func (t *topOriginals) tick() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sampled = 0
	t.every.Store(max(1, t.every.Load()/2))
	if t.ticks++; t.ticks == topInterval {
		t.ticks = 0
		t.old, t.now = t.now, make(map[imagecache.Original]*TopOriginal)
		t.since, t.began = t.began, time.Now()
	}
}

// TopOriginals returns the n most requested originals since a time, which is 30 to 60 minutes ago or the start.
func (s *Set) TopOriginals(n int) (top []TopOriginal, since time.Time) {
	t := s.top
	t.mu.Lock()
	defer t.mu.Unlock()
	both := make(map[imagecache.Original]*TopOriginal, len(t.now)+len(t.old))
	for _, generation := range []map[imagecache.Original]*TopOriginal{t.old, t.now} {
		for of, one := range generation {
			sum := both[of]
			if sum == nil {
				sum = &TopOriginal{Original: of}
				both[of] = sum
			}
			sum.Requests += one.Requests
			sum.Misses += one.Misses
			sum.Bytes += one.Bytes
		}
	}
	all := sortedTop(both)
	for _, one := range all[:min(n, len(all))] {
		top = append(top, *one)
	}
	return top, t.since
}

// sortedTop returns the originals, the most requested first.
func sortedTop(of map[imagecache.Original]*TopOriginal) []*TopOriginal {
	all := make([]*TopOriginal, 0, len(of))
	for _, one := range of {
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b *TopOriginal) int {
		return cmp.Or(
			cmp.Compare(b.Requests, a.Requests),
			cmp.Compare(a.Original.Source, b.Original.Source), cmp.Compare(a.Original.Name, b.Original.Name),
		)
	})
	return all
}
