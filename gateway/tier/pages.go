package tier

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/novasocial/imagetier/internal/boundedcache"
)

const (
	pageSenders = 4               // concurrent requests to the tier
	maxPages    = 256             // pages that wait to be sent
	sendTimeout = 2 * time.Second // of one event
	minPause    = time.Second     // pause after a failed event
	maxPause    = 30 * time.Second
	// knownFor is the minimum time before a path is sent again: the tier has made it or is making
	// it, and popular images are on many pages.
	knownFor = 30 * time.Second
	maxKnown = 50_000 // paths of each of two generations
)

// pages has the pages that were answered but not yet sent to the tier.
type pages struct {
	queue chan []string

	mu       sync.Mutex
	known    boundedcache.Map[string, struct{}]
	pause    time.Time // no events until then
	reported time.Time // when a refused event was last logged
}

func newPages() *pages {
	return &pages{
		queue: make(chan []string, maxPages),
		known: boundedcache.Map[string, struct{}]{Max: maxKnown, TTL: knownFor},
	}
}

// news returns the paths that were not sent recently, in their order, and records them as sent.
func (p *pages) news(paths []string) (unknown []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, path := range paths {
		if _, known := p.known.Get(path); !known {
			p.known.Put(path, struct{}{})
			unknown = append(unknown, path)
		}
	}
	return unknown
}

// forget allows paths of a failed event to be sent again.
func (p *pages) forget(paths []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, path := range paths {
		p.known.Delete(path)
	}
}

func (p *pages) paused() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().Before(p.pause)
}

// failed records a failed event: nothing is sent for a while, unless only this event was invalid.
// It reports whether to log it; invalid events are logged at most once per maxPause.
func (p *pages) failed(err *sendError) (log bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if !err.wrong {
		p.pause = now.Add(err.wait)
		return true
	}
	if now.Sub(p.reported) < maxPause {
		return false
	}
	p.reported = now
	return true
}

// sendPages sends one event for each page, as soon as it was answered.
func (c *Client) sendPages(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case paths := <-c.pages.queue:
			fresh := c.pages.news(paths)
			if known := len(paths) - len(fresh); known > 0 {
				c.cfg.Observe(Known, known)
			}
			for chunk := range slices.Chunk(fresh, maxPaths) {
				c.cfg.Observe(c.sendPage(ctx, chunk), len(chunk))
			}
		}
	}
}

func (c *Client) sendPage(ctx context.Context, paths []string) Outcome {
	if c.pages.paused() {
		c.pages.forget(paths)
		return Dropped
	}
	err := c.send(ctx, paths)
	if err == nil {
		return Sent
	}
	c.pages.forget(paths)
	if c.pages.failed(err) {
		c.cfg.Log.Warn("tier refused a feed.page event", "urls", len(paths), "pause_ms",
			err.wait.Milliseconds(), "err", err)
	}
	return Refused
}

// event is a feed.page event.
type event struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      struct {
		Paths []string `json:"paths"`
	} `json:"data"`
}

// sendError is the error of an event that the tier did not accept.
type sendError struct {
	error
	wait  time.Duration // before another event is sent
	wrong bool          // the event is invalid: others may be sent
}

// send sends one event.
func (c *Client) send(ctx context.Context, paths []string) *sendError {
	e := event{Type: "feed.page", Timestamp: time.Now().UTC()}
	e.Data.Paths = paths
	body, err := json.Marshal(e)
	if err != nil {
		return &sendError{err, minPause, false}
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	req, err := c.request(ctx, "/v1/events", body)
	if err != nil {
		return &sendError{err, minPause, false}
	}
	c.cfg.Signer.Sign(req.Header, "msg_"+rand.Text(), e.Timestamp, body)
	resp, err := c.http.Do(req)
	if err != nil {
		return &sendError{err, minPause, false}
	}
	defer resp.Body.Close()
	// Read completely, so that the connection can be reused.
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case resp.StatusCode/100 == 2:
		return nil
	case resp.StatusCode == http.StatusUnprocessableEntity:
		reason := strings.ToValidUTF8(string(answer[:min(len(answer), 300)]), "?")
		return &sendError{fmt.Errorf("%s: %s", resp.Status, reason), 0, true}
	}
	wait := minPause
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		wait = time.Duration(min(s, int(maxPause/time.Second))) * time.Second
	}
	return &sendError{fmt.Errorf("%s", resp.Status), wait, false}
}
