package service

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/resize"
)

// Bounds of the paths of pages.
const (
	maxPathsWaiting = 4096
	// firstScreen is the number of images that a phone shows before the user scrolls: those of two
	// or three posts with their avatars. They are made before the rest of any page.
	firstScreen = 6
	// pageAge is the time after which a path is dropped: the phone has requested it long ago.
	pageAge = 20 * time.Second
	// pathsAtOnce is the number of concurrent paths per resize process: most of them wait for their
	// origin, or are cached.
	pathsAtOnce = 4
)

// pages makes the paths of pages. It keeps them in memory only: a page is useless after a restart.
type pages struct {
	do      func(context.Context, imageurl.Ref) (outcome string)
	observe func(outcome string)
	workers int

	mu     sync.Mutex // held while sending
	screen chan pagePath
	rest   chan pagePath
}

type pagePath struct {
	ref    imageurl.Ref
	queued time.Time
}

func newPages(
	do func(context.Context, imageurl.Ref) string, observe func(string), workers int,
) *pages {
	return &pages{
		do: do, observe: observe, workers: workers,
		screen: make(chan pagePath, maxPathsWaiting), rest: make(chan pagePath, maxPathsWaiting),
	}
}

// put queues the paths of a page in order, or none of them if there is not room for all.
func (p *pages) put(paths []imageurl.Ref) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting()+len(paths) > maxPathsWaiting {
		return false
	}
	now := time.Now()
	for i, ref := range paths {
		to := p.rest
		if i < firstScreen {
			to = p.screen
		}
		to <- pagePath{ref, now} // there is room: only put sends
	}
	return true
}

func (p *pages) waiting() int { return len(p.screen) + len(p.rest) }

// run makes paths until ctx is done.
func (p *pages) run(ctx context.Context) error {
	var all sync.WaitGroup
	for range p.workers {
		all.Go(func() {
			for ctx.Err() == nil {
				if path, ok := p.next(ctx); ok {
					p.observe(p.make(ctx, path))
				}
			}
		})
	}
	all.Wait()
	return nil
}

// next waits for a path. Those of first screens come first.
func (p *pages) next(ctx context.Context) (path pagePath, ok bool) {
	select {
	case path = <-p.screen:
		return path, true
	default:
	}
	select {
	case path = <-p.screen:
	case path = <-p.rest:
	case <-ctx.Done():
		return path, false
	}
	return path, true
}

func (p *pages) make(ctx context.Context, path pagePath) (outcome string) {
	left := pageAge - time.Since(path.queued)
	if left <= 0 {
		return "late"
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	return p.do(ctx, path.ref)
}

// makeForPage makes a variant that a page shows, and watches whether it is requested.
func (s *Service) makeForPage(ctx context.Context, ref imageurl.Ref) (outcome string) {
	done := s.watch.Making(ref)
	ctx = resize.WithPriority(ctx, resize.PriorityPage)
	out := s.request(ctx, []imageurl.Ref{ref})[0]
	done(out.Err == nil && !out.Hit && s.balancer == nil, out)
	switch {
	case out.Hit:
		return "hit"
	case out.Err == nil:
		return "made"
	case errors.Is(out.Err, resize.ErrBusy):
		return "busy"
	case ctx.Err() != nil:
		return "late"
	}
	if !errors.Is(out.Err, imagecache.ErrTakenDown) {
		s.cfg.Log.Debug("image of a page not made", "ref", ref.String(), "err", out.Err)
	}
	return "failed"
}

// readPath verifies and parses a path like that of a request.
func (s *Service) readPath(path string) (imageurl.Ref, error) {
	ref, err := s.cfg.Signer.Parse(path)
	if err != nil {
		return ref, fmt.Errorf("%.80q: %w", path, err)
	}
	if s.cfg.CheckRef != nil {
		err = s.cfg.CheckRef(ref)
	}
	return ref, err
}
