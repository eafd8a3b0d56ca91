package tier

import (
	"context"
	"sync"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/boundedcache"
	"github.com/novasocial/imagetier/prefetch/profile"
)

const (
	// factsPatience is how long a page waits for facts about its images. Facts that arrive later
	// are used for the next page.
	factsPatience = 20 * time.Millisecond
	factsAskers   = 4      // concurrent requests; as many more are queued
	maxFacts      = 20_000 // of each of two generations
)

// Facts returns the facts about images, in the same order; zero for those that are not known yet or
// that the tier does not have. One request asks the tier for the missing ones, and Facts waits for it
// for at most 20 ms. Facts about a pinned image never change; those about a live one are requested
// again after Config.Fresh, and the old ones returned until then.
func (c *Client) Facts(ctx context.Context, images []profile.Image) []Facts {
	f := c.facts
	known := make([]Facts, len(images))
	var q *question
	var waits []*question
	now := time.Now()
	f.mu.Lock()
	for i, image := range images {
		e := f.entry(image)
		known[i] = e.facts
		if e.fresh(image, now, c.cfg.Fresh) {
			continue
		}
		if e.asked == nil && sayable(image) && !now.Before(f.pause) {
			if q == nil {
				q = &question{ctx: context.WithoutCancel(ctx), at: now, done: make(chan struct{})}
			}
			if len(q.images) < maxImages {
				q.images, e.asked = append(q.images, image), q
			}
		}
		if of := e.asked; of != nil && e.at.IsZero() && (len(waits) == 0 || waits[len(waits)-1] != of) {
			waits = append(waits, of)
		}
	}
	if q != nil {
		select {
		case f.questions <- q:
		default: // the tier is slow, and enough requests are queued
			f.answered(q, nil, now)
		}
	}
	f.mu.Unlock()
	if len(waits) == 0 || !wait(ctx, waits) {
		return known
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, image := range images {
		known[i] = f.entry(image).facts
	}
	return known
}

// wait waits for each question until factsPatience after it was sent, and reports whether any was
// answered.
func wait(ctx context.Context, questions []*question) (any bool) {
	timer := time.NewTimer(factsPatience)
	defer timer.Stop()
	for _, q := range questions {
		timer.Reset(max(0, factsPatience-time.Since(q.at)))
		select {
		case <-q.done:
			any = true
		case <-timer.C:
		case <-ctx.Done():
			return any
		}
	}
	return any
}

// facts caches the tier's answers about originals.
type facts struct {
	questions chan *question
	mu        sync.Mutex
	known     boundedcache.Map[profile.Image, *fact]
	pause     time.Time // no requests until then, after a failure
}

type fact struct {
	facts Facts
	at    time.Time // when the tier answered; zero: never
	asked *question // the pending request; nil: none
}

// question is a request to the tier for facts that a page needs and the cache lacks.
type question struct {
	ctx    context.Context // the page's context, for its trace
	images []profile.Image
	at     time.Time
	done   chan struct{} // closed when it is answered or has failed
}

func newFacts() *facts {
	f := &facts{questions: make(chan *question, factsAskers)}
	f.known.Max = maxFacts
	return f
}

// entry returns the fact of an image; f is locked.
func (f *facts) entry(image profile.Image) *fact {
	return f.known.GetOrPut(image, func() *fact { return &fact{} })
}

func (e *fact) fresh(image profile.Image, now time.Time, freshFor time.Duration) bool {
	if e.at.IsZero() {
		return false
	}
	pinned := image.Version.Pin() != imageurl.Live && e.facts.Error.Status == 0
	return pinned || now.Sub(e.at) < freshFor
}

// answered ends a question; f is locked. said is nil if it failed.
func (f *facts) answered(q *question, answers []Facts, now time.Time) {
	for i, image := range q.images {
		e := f.entry(image)
		if e.asked == q {
			e.asked = nil
		}
		switch {
		case answers == nil:
		case answers[i].Error.Status >= 500 && !e.at.IsZero():
			e.at = now // the earlier answer may still be true
		default:
			e.facts, e.at = answers[i], now
		}
	}
	close(q.done)
}

// answerFacts asks the questions of pages.
func (c *Client) answerFacts(ctx context.Context) error {
	f := c.facts
	for {
		var q *question
		select {
		case <-ctx.Done():
			return ctx.Err()
		case q = <-f.questions:
		}
		asking, cancel := context.WithTimeout(q.ctx, askTimeout)
		stop := context.AfterFunc(ctx, cancel)
		answers, err := c.Info(asking, q.images)
		stop()
		cancel()
		now := time.Now()
		f.mu.Lock()
		if err != nil {
			answers, f.pause = nil, now.Add(askPause)
		}
		f.answered(q, answers, now)
		f.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			c.cfg.Log.Warn("request for facts failed", "images", len(q.images), "err", err)
		}
	}
}
