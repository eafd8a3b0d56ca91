package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/novasocial/imagetier/cmd/tierbench/internal/phone"
	"github.com/novasocial/imagetier/cmd/tierbench/internal/stack"
	"github.com/novasocial/imagetier/internal/webhook"
)

const (
	gatewayPosts    = 20              // of the page that a phone requests
	gatewayPatience = 3 * time.Minute // in all
)

// gatewayPage shows a page of the real gateway. The replay of a day simulates the gateway's events; this is
// the check that the gateway sends them so, and that the tier makes what they name.
func (b *feedBench) gatewayPage(ctx context.Context) error {
	dir := filepath.Join(b.work, "gateway")
	photos := filepath.Join(dir, "photos")
	if err := os.MkdirAll(photos, 0o700); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for i, photo := range b.origin.photos {
		if err := os.WriteFile(filepath.Join(photos, strconv.Itoa(i)+".jpg"), photo, 0o600); err != nil {
			return err
		}
	}
	var events pageEvents
	s, err := stack.Start(ctx, stack.Config{
		Bin: filepath.Dir(b.Program), Dir: dir, Photos: photos, NoRedis: true, Events: events.add,
	})
	if err != nil {
		return fmt.Errorf("start the gateway: %w", err)
	}
	defer s.Close()
	p := newPlayer("", naming{})
	defer p.close()
	signer, err := webhook.NewSigner(s.WebhookSecret())
	if err != nil {
		return err
	}
	p.service = &feedService{client: p.client, url: s.TierPrivate, signer: signer, now: time.Now}
	token, err := s.Users.Token("phone")
	if err != nil {
		return err
	}
	check := gatewayCheck{
		player: p, events: &events, patience: gatewayPatience,
		published: s.Posts()[:gatewayPosts/2], // of 40; the others are announced by the page alone
		graphql:   phone.Server{URL: s.Gateway, Token: token},
	}
	seen, err := check.run(ctx)
	if err != nil {
		return errors.Join(fmt.Errorf("page of the gateway: %w", err), s.Logs())
	}
	fmt.Println(seen)
	return nil
}

// gatewayCheck requests a page and its images as a phone does.
type gatewayCheck struct {
	*player
	graphql   phone.Server
	published []string // URLs of images whose posts are announced before the page
	events    *pageEvents
	patience  time.Duration // in all
}

// seenPage has the results of a gatewayCheck.
type seenPage struct {
	posts, images int
	sent          time.Duration // from the answer to its event; 0 if that came first
	made, held    float64       // paths of the event, by outcome
	hits          share         // of first requests
}

// String implements fmt.Stringer.
func (s seenPage) String() string {
	return fmt.Sprintf("the gateway: a page of %d posts with %d images, their feed.page event %v after the answer; "+
		"the tier held %.0f, made %.0f and gave up %.0f of them; %.0f %% of %d first requests were hits",
		s.posts, s.images, s.sent.Round(time.Millisecond), s.held, s.made, float64(s.images)-s.held-s.made,
		s.hits.percent(), s.hits.all)
}

// run announces posts, requests a page, and after the tier has made its images these, each once and in the
// page's order. It fails unless the events name the images of the answer in that order.
func (c gatewayCheck) run(ctx context.Context) (seen seenPage, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	if err := c.publish(ctx); err != nil {
		return seen, err
	}
	before, err := stack.Scrape(ctx, c.service.url)
	if err != nil {
		return seen, err
	}
	posts, _, err := phone.New(c.client.Transport).Feed(ctx, c.graphql, gatewayPosts)
	if err != nil {
		return seen, err
	}
	answered := time.Now()
	base, paths, err := pathsOf(posts)
	if err != nil {
		return seen, err
	}
	seen.posts, seen.images = len(posts), len(paths)
	after, err := c.await(ctx, before, len(paths))
	sent, at, refused := c.events.seen()
	if fault := errors.Join(refused, samePaths(sent, paths), err); fault != nil {
		return seen, fault
	}
	seen.sent = max(at.Sub(answered), 0)
	seen.made = pathCount(after, "made") - pathCount(before, "made")
	seen.held = pathCount(after, "hit") - pathCount(before, "hit")
	for _, path := range paths {
		a := c.get(ctx, base+path, time.Now())
		if a.err != nil {
			return seen, a.err
		}
		seen.hits.count(a.from.hit)
	}
	return seen, nil
}

// publish announces posts and waits until the tier's queue is empty.
func (c gatewayCheck) publish(ctx context.Context) error {
	e := eventBody{Type: "post.published", Timestamp: c.service.now().UTC(), Data: eventData{Profile: "feed"}}
	for i, url := range c.published {
		e.Data.Posts = append(e.Data.Posts, eventPost{
			ID: "p" + strconv.Itoa(i), Audience: 1000, Image: eventImage{URL: url},
		})
	}
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if err := c.service.send(ctx, "gateway-posts", body); err != nil {
		return err
	}
	for {
		m, err := stack.Scrape(ctx, c.service.url)
		if err != nil {
			return err
		}
		if m["imagetier_prefetch_queue_jobs"] == 0 {
			return nil
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("%.0f jobs of published posts wait: %w", m["imagetier_prefetch_queue_jobs"], err)
		}
	}
}

// await returns the metrics of the tier once n paths of pages are done. It fails if they are not
// while the context lasts.
func (c gatewayCheck) await(ctx context.Context, before stack.Metrics, paths int) (stack.Metrics, error) {
	for {
		m, err := stack.Scrape(ctx, c.service.url)
		if err != nil {
			return nil, err
		}
		done := 0.0
		for _, outcome := range []string{"made", "hit", "busy", "late", "failed"} {
			done += pathCount(m, outcome) - pathCount(before, outcome)
		}
		if int(done) >= paths {
			return m, nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return nil, fmt.Errorf("the tier has worked on %.0f of %d paths: %w", done, paths, err)
		}
	}
}

func pathCount(m stack.Metrics, outcome string) float64 {
	return m[`imagetier_prefetch_paths_total{outcome="`+outcome+`"}`]
}

// pathsOf returns the paths of the images that posts show, each once, in the order of the answer, and
// scheme and host of their URLs.
func pathsOf(posts []phone.Post) (base string, paths []string, err error) {
	for _, p := range posts {
		urls := []*string{p.ImageURL, p.ThumbnailURL}
		if p.Author != nil {
			urls = append(urls, p.Author.AvatarURL)
		}
		for _, url := range urls {
			if url == nil {
				continue
			}
			at := strings.Index(*url, "/i/")
			if at < 0 || base != "" && base != (*url)[:at] {
				return "", nil, fmt.Errorf("the gateway has not signed %q", *url)
			}
			if base = (*url)[:at]; !slices.Contains(paths, (*url)[at:]) {
				paths = append(paths, (*url)[at:])
			}
		}
	}
	return base, paths, nil
}

// samePaths says where the paths that the gateway has sent differ from those of its answer.
func samePaths(sent, answered []string) error {
	for i := range max(len(sent), len(answered)) {
		var a, b string
		if i < len(sent) {
			a = sent[i]
		}
		if i < len(answered) {
			b = answered[i]
		}
		if a != b {
			return fmt.Errorf("feed.page names %d paths and the answer %d: path %d is %q instead of %q",
				len(sent), len(answered), i, a, b)
		}
	}
	return nil
}

// pageEvents collects the feed.page events of a gateway. It is safe for concurrent use.
type pageEvents struct {
	mu      sync.Mutex
	paths   []string  // guarded by mu
	at      time.Time // guarded by mu: of the first event
	refused error     // guarded by mu
}

// add notes an event and the status of the tier's answer.
func (e *pageEvents) add(status int, body []byte) {
	now := time.Now()
	var event eventBody
	err := json.Unmarshal(body, &event)
	if err == nil && event.Type != "feed.page" {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if status != http.StatusAccepted || err != nil {
		e.refused = cmp.Or(err, fmt.Errorf("the tier answers %d to a feed.page event", status))
	}
	if e.at.IsZero() {
		e.at = now
	}
	e.paths = append(e.paths, event.Data.Paths...)
}

// seen returns the paths of all events, the time of the first, and why the tier did not take one.
func (e *pageEvents) seen() (paths []string, at time.Time, refused error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.paths), e.at, e.refused
}
