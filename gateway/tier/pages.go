package tier

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/novasocial/imagetier/internal/boundedcache"
	"github.com/novasocial/imagetier/prefetch/profile"
)

const (
	sendTimeout = 2 * time.Second  // of one event
	minPause    = time.Second      // after an event that the tier did not take
	maxPause    = 30 * time.Second // also where it asks for more
	// knownFor is how long an image is not sent again, at least: the tier keeps it longer,
	// unless it is far too small.
	knownFor = 5 * time.Minute
	maxKnown = 50_000 // images of each of two generations
)

// sendPages gathers what was handed out and sends it, one event after another.
func (c *Client) sendPages(ctx context.Context) error {
	known := boundedcache.Map[knownKey, struct{}]{Max: maxKnown, TTL: knownFor}
	var pause time.Time // until then nothing is sent
	for {
		gathered, err := c.gather(ctx, &known)
		if err != nil {
			return err
		}
		for name, images := range gathered {
			for len(images) > 0 {
				n := c.fitting(images)
				if time.Now().Before(pause) {
					c.cfg.Observe(Dropped, n)
					forget(&known, name, images[:n])
				} else if wait, err := c.send(ctx, name, images[:n]); err != nil {
					c.cfg.Observe(Refused, n)
					forget(&known, name, images[:n])
					pause = time.Now().Add(wait)
					c.cfg.Log.Warn("the tier did not take what was handed out", "images", n, "pause", wait, "err", err)
				} else {
					c.cfg.Observe(Sent, n)
				}
				images = images[n:]
			}
		}
	}
}

// gather waits for a page, and for more of them as long as Config.Gather says.
func (c *Client) gather(
	ctx context.Context,
	known *boundedcache.Map[knownKey, struct{}],
) (map[string][]profile.Image, error) {
	gathered := map[string][]profile.Image{}
	var enough <-chan time.Time
	n := 0
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-enough:
			return gathered, nil
		case p := <-c.pages:
			for _, image := range p.images {
				if !sayable(image) {
					c.cfg.Observe(Dropped, 1)
					continue
				}
				key := knownKey{p.profile, image}
				if _, ok := known.Get(key); ok {
					c.cfg.Observe(Known, 1)
					continue
				}
				known.Put(key, struct{}{})
				gathered[p.profile] = append(gathered[p.profile], image)
				n++
			}
			switch {
			case n >= maxPosts:
				return gathered, nil
			case n > 0 && enough == nil:
				enough = time.After(c.cfg.Gather)
			}
		}
	}
}

// fitting returns how many of the images one event can hold.
func (c *Client) fitting(images []profile.Image) int {
	size := 0
	for n, image := range images {
		size += 6*len(image.Name) + 1024 // each byte escaped, and what stands around
		if n == maxPosts || n > 0 && size > maxEvent {
			return n
		}
	}
	return len(images)
}

// event is a feed.page event. Its posts have no ids, as a proxy does not know them.
type event struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      struct {
		Profile string `json:"profile"`
		Posts   []post `json:"posts"`
	} `json:"data"`
}

type post struct {
	Image image `json:"image"`
}

// send sends one event. wait is how long to send none after an error.
func (c *Client) send(ctx context.Context, profileName string, images []profile.Image) (wait time.Duration, err error) {
	e := event{Type: "feed.page", Timestamp: time.Now().UTC()}
	e.Data.Profile = profileName
	for _, i := range images {
		e.Data.Posts = append(e.Data.Posts, post{imageOf(i)})
	}
	body, err := json.Marshal(e)
	if err != nil {
		return minPause, err
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	req, err := c.request(ctx, "/v1/events", body)
	if err != nil {
		return minPause, err
	}
	c.cfg.Signer.Sign(req.Header, "msg_"+rand.Text(), e.Timestamp, body)
	resp, err := c.http.Do(req)
	if err != nil {
		return minPause, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // so that the connection is used again
	if resp.StatusCode/100 == 2 {
		return 0, nil
	}
	wait = minPause
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		wait = time.Duration(min(s, int(maxPause/time.Second))) * time.Second
	}
	return wait, fmt.Errorf("%s", resp.Status)
}

// told is an image of a profile that the tier knows.
type knownKey struct {
	profile string
	image   profile.Image
}

func forget(known *boundedcache.Map[knownKey, struct{}], profileName string, images []profile.Image) {
	for _, image := range images {
		known.Delete(knownKey{profileName, image})
	}
}
