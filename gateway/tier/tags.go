package tier

import (
	"context"
	"sync"
	"time"

	"github.com/novasocial/imagetier/internal/boundedcache"
	"github.com/novasocial/imagetier/prefetch/profile"
)

const (
	askTimeout  = 10 * time.Second // of one request; the tier may have to fetch originals
	askPause    = time.Second      // after a failed request
	maxTags     = 50_000           // of each of two generations
	staleFactor = 10               // times Fresh: the maximum age of a tag that could not be refreshed
)

// tags caches entity tags from the tier.
type tags struct {
	fresh  time.Duration
	wanted chan profile.Image
	mu     sync.Mutex
	known  boundedcache.Map[profile.Image, *tagged]
}

type tagged struct {
	tag    string    // "" is unknown or missing
	at     time.Time // when the tier answered; zero: never
	asking bool
}

func newTags(fresh time.Duration) *tags {
	t := &tags{fresh: fresh, wanted: make(chan profile.Image, 4*maxImages)}
	t.known.Max = maxTags
	return t
}

// get returns a tag, and requests it if it is unknown or not fresh.
func (t *tags) get(live profile.Image, at time.Time) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	entry := t.entryLocked(live)
	age := at.Sub(entry.at)
	if (entry.at.IsZero() || age > t.fresh) && !entry.asking && sayable(live) {
		select {
		case t.wanted <- live:
			entry.asking = true
		default: // the next page requests it
		}
	}
	if entry.at.IsZero() || age > staleFactor*t.fresh {
		return "", false
	}
	return entry.tag, entry.tag != ""
}

func (t *tags) entryLocked(live profile.Image) *tagged {
	return t.known.GetOrPut(live, func() *tagged { return &tagged{} })
}

// put stores the tier's answer about images; nil stores nothing.
func (t *tags) put(images []profile.Image, facts []Facts, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, image := range images {
		entry := t.entryLocked(image)
		entry.asking = false
		if facts == nil || facts[i].Error.Status >= 500 {
			continue // the earlier answer may still be true
		}
		entry.tag, _ = tagOf(facts[i].Version)
		entry.at = at
	}
}

// askTags requests the wanted tags in batches.
func (c *Client) askTags(ctx context.Context) error {
	for {
		var images []profile.Image
		select {
		case <-ctx.Done():
			return ctx.Err()
		case first := <-c.tags.wanted:
			images = append(images, first)
		}
		for more := true; more && len(images) < maxImages; {
			select {
			case next := <-c.tags.wanted:
				images = append(images, next)
			default:
				more = false
			}
		}
		asked, cancel := context.WithTimeout(ctx, askTimeout)
		facts, err := c.Info(asked, images)
		cancel()
		c.tags.put(images, facts, time.Now())
		if err == nil {
			continue
		}
		c.cfg.Log.Warn("request for tags of originals failed", "images", len(images), "err", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(askPause):
		}
	}
}
