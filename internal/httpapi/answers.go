package httpapi

import (
	"sync"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
)

// OriginAnswers remembers the last answer of the origin for the 2,048 originals that
// clients asked for most recently, about 300 bytes each; explain shows it. Background
// requests (warming, revalidation) and hits are not recorded. It is safe for concurrent use,
// and its zero value is ready. A nil *OriginAnswers records nothing.
type OriginAnswers struct {
	mu     sync.Mutex // guards all below
	last   map[imagecache.Original]OriginAnswer
	ring   []imagecache.Original // in order of arrival
	oldest int                   // index in ring, once that is full
}

const maxOriginAnswers = 2048

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
	if a.last == nil {
		a.last = make(map[imagecache.Original]OriginAnswer)
	}
	if _, known := a.last[of]; !known {
		if len(a.ring) < maxOriginAnswers {
			a.ring = append(a.ring, of)
		} else {
			delete(a.last, a.ring[a.oldest])
			a.ring[a.oldest] = of
			a.oldest = (a.oldest + 1) % maxOriginAnswers
		}
	}
	a.last[of] = answer
}

// Of returns the last answer for an original.
func (a *OriginAnswers) Of(o imagecache.Original) (answer OriginAnswer, ok bool) {
	if a == nil {
		return OriginAnswer{}, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	answer, ok = a.last[o]
	return answer, ok
}
