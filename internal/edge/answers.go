package edge

import (
	"sync"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
)

// Answers remembers what last came of asking for an original, for explain: of those that
// were asked for most recently, on behalf of a client of Public. What is asked in the
// background (to warm, to refresh) is not in it. Hits never touch it. It is safe for
// concurrent use, and its zero value is ready.
type Answers struct {
	mu     sync.Mutex
	last   map[imagecache.Original]originAnswer
	ring   []imagecache.Original // in the order in which they came in
	oldest int                   // in ring, once that is full
}

// maxAnswers bounds Answers: some 300 bytes each.
const maxAnswers = 2048

type originAnswer struct {
	at     time.Time
	status int    // what the origin answered; 0 if that is not known
	err    string // "" is none
}

func (a *Answers) note(ref imageurl.Ref, out imagecache.Outcome, err error, now time.Time) {
	if a == nil || out.Forward == imagecache.Hit || out.Detail == imagecache.FromOriginal {
		return
	}
	of := imagecache.Original{Source: ref.Source(), Name: ref.Name()}
	answer := originAnswer{at: now, status: out.Status}
	if err != nil {
		answer.err = err.Error()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last == nil {
		a.last = make(map[imagecache.Original]originAnswer)
	}
	if _, known := a.last[of]; !known {
		if len(a.ring) < maxAnswers {
			a.ring = append(a.ring, of)
		} else {
			delete(a.last, a.ring[a.oldest])
			a.ring[a.oldest] = of
			a.oldest = (a.oldest + 1) % maxAnswers
		}
	}
	a.last[of] = answer
}

func (a *Answers) of(o imagecache.Original) (originAnswer, bool) {
	if a == nil {
		return originAnswer{}, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	answer, ok := a.last[o]
	return answer, ok
}
