package httpapi

import (
	"sync"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/boundedcache"
)

// OriginAnswers remembers the last answer of the origin for 1,024 to 2,048 originals that it was
// requested for most recently, about 300 bytes each; explain shows it. Background requests
// (warming, revalidation) and hits are not recorded. It is safe for concurrent use, and its zero
// value is ready. A nil *OriginAnswers records nothing.
type OriginAnswers struct {
	mu   sync.Mutex // guards all below
	last boundedcache.Map[imagecache.Original, OriginAnswer]
}

const maxOriginAnswers = 1024

// OriginAnswer is what an origin answered.
type OriginAnswer struct {
	At     time.Time
	Status int    // 0: unknown
	Err    string // "": none
}

// Note records the outcome of a request for ref.
func (a *OriginAnswers) Note(ref imageurl.Ref, out imagecache.Outcome, err error, now time.Time) {
	if a == nil || out.Forward == imagecache.Hit || out.Detail == imagecache.FromOriginal {
		return
	}
	of := imagecache.Original{Source: ref.Source(), Name: ref.Name()}
	answer := OriginAnswer{At: now, Status: out.Status}
	if err != nil {
		answer.Err = err.Error()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last.Max = maxOriginAnswers
	a.last.Put(of, answer)
}

// Of returns the last answer for an original.
func (a *OriginAnswers) Of(o imagecache.Original) (answer OriginAnswer, ok bool) {
	if a == nil {
		return OriginAnswer{}, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last.Get(o)
}
