package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/novasocial/imagetier/cmd/tierbench/socialday"
)

// window is a part of a day.
type window struct {
	day      *socialday.Day
	from, to time.Duration
}

func (w window) holds(at time.Duration) bool { return at >= w.from && at < w.to }

// fresh reports whether a post is published in the window.
func (w window) fresh(post int) bool {
	p := w.day.Posts[post]
	return !p.Old && w.holds(p.At)
}

// asks returns the requests of the pages in the window, sorted by time.
func (w window) asks() (asks []socialday.Ask) {
	for _, page := range w.day.Pages {
		if w.holds(page.At) {
			asks = append(asks, page.Asks...)
		}
	}
	slices.SortStableFunc(asks, func(a, b socialday.Ask) int { return cmp.Compare(a.At, b.At) })
	return asks
}

// before returns the paths that a tier has cached when the window begins: those requested in the
// window for posts that were published earlier, and the avatars of its authors in every size. Old
// posts are never cached.
func (n naming) before(w window) (paths []string, err error) {
	seen := make(map[string]bool)
	add := func(path string, fault error) {
		if fault != nil {
			err = fault
		}
		if !seen[path] {
			seen[path] = true
			paths = append(paths, path)
		}
	}
	authors := make(map[int]bool)
	for _, ask := range w.asks() {
		post := w.day.Posts[ask.Post]
		authors[post.Author] = true
		if !ask.Avatar && !post.Old && post.At < w.from {
			add(n.path(w.day, ask))
		}
	}
	for i, post := range w.day.Posts {
		if w.fresh(i) {
			authors[post.Author] = true
		}
	}
	avatars, _ := n.set.Get("avatar")
	for _, author := range slices.Sorted(maps.Keys(authors)) {
		for _, spec := range avatars.Specs() {
			add(n.sign(n.avatar(author), spec))
		}
	}
	return paths, err
}

// paths returns the paths that are requested in the window.
func (n naming) paths(w window) (paths []string, err error) {
	for _, ask := range w.asks() {
		path, err := n.path(w.day, ask)
		if err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// player replays a window against a tier.
type player struct {
	client  *http.Client
	public  string
	names   naming
	service *feedService // nil: the tier receives no events
}

func newPlayer(public string, names naming) *player {
	transport := &http.Transport{MaxIdleConns: 1024, MaxIdleConnsPerHost: 1024, DisableCompression: true}
	return &player{client: &http.Client{Transport: transport, Timeout: time.Minute}, public: public, names: names}
}

func (p *player) close() { p.client.CloseIdleConnections() }

// answer is the result of an Ask.
type answer struct {
	ask  socialday.Ask
	took time.Duration // from the due time to the end of the body
	from cacheStatus
	err  error // no answer, or a status other than 200
}

// outcome has the results of a window.
type outcome struct {
	answers []answer
	took    time.Duration
	events  int
	refused int // events
}

// get requests a path and reads the answer.
func (p *player) get(ctx context.Context, path string, due time.Time) (a answer) {
	defer func() { a.took = time.Since(due) }()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.public+path, nil)
	if err != nil {
		return answer{err: err}
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return answer{err: err}
	}
	if resp.StatusCode != http.StatusOK {
		return answer{err: fmt.Errorf("%s: %s", path, resp.Status)}
	}
	return answer{from: readCacheStatus(resp.Header.Get("Cache-Status"))}
}

// action is something to do at a time of the day.
type action struct {
	at time.Duration
	do func(due time.Time)
}

// play performs all actions of a window at their times, whether or not earlier requests have been
// answered: users do not wait for each other.
func (p *player) play(ctx context.Context, w window) (outcome, error) {
	asks := w.asks()
	out := outcome{answers: make([]answer, len(asks))}
	actions := make([]action, 0, len(asks))
	for i, ask := range asks {
		path, err := p.names.path(w.day, ask)
		if err != nil {
			return out, err
		}
		actions = append(actions, action{ask.At, func(due time.Time) {
			out.answers[i] = p.get(ctx, path, due)
			out.answers[i].ask = ask
		}})
	}
	var refused atomic.Int64
	if p.service != nil {
		events, err := p.events(ctx, w, &refused)
		if err != nil {
			return out, err
		}
		out.events = len(events)
		actions = append(actions, events...)
	}
	slices.SortStableFunc(actions, func(a, b action) int { return cmp.Compare(a.at, b.at) })
	began := time.Now()
	var all sync.WaitGroup
	for _, a := range actions {
		due := began.Add(a.at - w.from)
		if err := pause(ctx, time.Until(due)); err != nil {
			break
		}
		all.Go(func() { a.do(due) })
	}
	all.Wait()
	out.took, out.refused = time.Since(began), int(refused.Load())
	return out, ctx.Err()
}

// events returns the events of a window: one for each post when it is published, and one for each
// page before it is sent.
func (p *player) events(ctx context.Context, w window, refused *atomic.Int64) (events []action, err error) {
	add := func(at time.Duration, id string, body []byte, fault error) {
		if fault != nil {
			err = fault
		}
		events = append(events, action{at, func(time.Time) {
			if p.service.send(ctx, id, body) != nil {
				refused.Add(1)
			}
		}})
	}
	for i := range w.day.Posts {
		if w.fresh(i) {
			body, fault := p.service.published(w.day, i)
			add(w.day.Posts[i].At, p.names.run+"post-"+strconv.Itoa(i), body, fault)
		}
	}
	for i, page := range w.day.Pages {
		if w.holds(page.At) {
			body, fault := p.service.page(w.day, page)
			add(page.At, p.names.run+"page-"+strconv.Itoa(i), body, fault)
		}
	}
	return events, err
}

// rush requests paths in order with a number of concurrent clients, each of which waits for its
// answers, until all are requested or the time is over. Later answers are not counted.
func (p *player) rush(
	ctx context.Context,
	paths []string,
	askers int,
	most time.Duration,
) (done int, took time.Duration, err error) {
	began := time.Now()
	var next, answered, failed atomic.Int64
	var first atomic.Pointer[error] // first error
	var all sync.WaitGroup
	for range askers {
		all.Go(func() {
			for time.Since(began) < most && ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(paths) {
					return
				}
				if err := p.get(ctx, paths[i], time.Now()).err; err != nil {
					failed.Add(1)
					first.CompareAndSwap(nil, &err)
				} else if time.Since(began) <= most {
					answered.Add(1)
				}
			}
		})
	}
	all.Wait()
	if n := failed.Load(); n > 0 {
		return 0, 0, fmt.Errorf("%d of %d requests failed, the first: %w", n, n+answered.Load(), *first.Load())
	}
	return int(answered.Load()), min(time.Since(began), most), ctx.Err()
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
