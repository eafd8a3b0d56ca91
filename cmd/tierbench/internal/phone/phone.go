// Package phone simulates an iPhone that shows a feed: an app with SDWebImageSwiftUI and a lazy
// list. Its requests are those of SDWebImage 5.21:
//
//   - six concurrent downloads, in request order, with a timeout of 15 s each;
//   - Accept image/*,*/*;q=0.8, and a User-Agent with system and scale; no cookies;
//   - a cache by the whole URL that ignores HTTP caching headers: a cached image is not requested again;
//   - two views of one URL share a download;
//   - a URL that answers 200 without an image is never requested again; other failures are retried.
//
// The time for decoding and drawing is not included.
package phone

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// Headers of SDWebImage, and of an app's own requests (URLSession).
const (
	accept       = "image/*,*/*;q=0.8"
	userAgent    = "App/1.0 (iPhone; iOS 17.4; Scale/3.00)"
	appUserAgent = "App/1 CFNetwork/1494.0.7 Darwin/23.4.0"
)

const (
	downloads = 6 // at once
	timeout   = 15 * time.Second
)

// maxBytes bounds one picture; the largest original of a tier has 32 MiB.
const maxBytes = 64 << 20

var (
	// ErrStatus: the answer was not 200.
	ErrStatus = errors.New("not a picture")
	// ErrRefused: an earlier 200 of the URL was not a picture, so it is not requested again.
	ErrRefused = errors.New("refused until the app restarts")
)

// Phone is one app on one phone. Its methods must not be called concurrently.
type Phone struct {
	client *http.Client
	slots  chan struct{}
	now    func() time.Time

	mu      sync.Mutex
	cached  map[string]bool
	refused map[string]bool
}

// New returns a phone with an empty cache whose requests go through transport.
func New(transport http.RoundTripper) *Phone {
	return &Phone{
		client:  &http.Client{Transport: transport},
		slots:   make(chan struct{}, downloads),
		now:     time.Now,
		cached:  map[string]bool{},
		refused: map[string]bool{},
	}
}

// Picture is an image of a view.
type Picture struct {
	URL    string
	Cached bool  // it was in the phone's cache
	Bytes  int64 // downloaded
	// Asked is when the view requested it, Began when its download started, and Ended when it was
	// complete. All three are equal if it was cached.
	Asked, Began, Ended time.Time
}

// Show downloads the pictures of these URLs, in this order, and returns when all are complete: one
// Picture for each distinct URL. The error joins all failures.
func (p *Phone) Show(ctx context.Context, urls []string) ([]Picture, error) {
	var pictures []Picture
	wanted := map[string]bool{}
	asked := p.now()
	for _, url := range urls {
		if !wanted[url] {
			wanted[url] = true
			pictures = append(pictures, Picture{URL: url, Asked: asked, Began: asked, Ended: asked, Cached: p.has(url)})
		}
	}
	faults := make([]error, len(pictures))
	var all sync.WaitGroup
	for i := range pictures {
		if pictures[i].Cached {
			continue
		}
		p.slots <- struct{}{} // acquired before the goroutine starts: first come, first served
		all.Go(func() {
			defer func() { <-p.slots }()
			faults[i] = p.download(ctx, &pictures[i])
		})
	}
	all.Wait()
	return pictures, errors.Join(faults...)
}

func (p *Phone) has(url string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cached[url]
}

func (p *Phone) download(ctx context.Context, pic *Picture) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", pic.URL, err)
		}
	}()
	p.mu.Lock()
	refused := p.refused[pic.URL]
	p.mu.Unlock()
	if refused {
		return ErrRefused
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, pic.URL, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", userAgent)
	pic.Began = p.now()
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: %s", ErrStatus, resp.Status)
	}
	var head [16]byte
	n, err := io.ReadFull(resp.Body, head[:])
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return err
	}
	rest, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxBytes))
	pic.Ended, pic.Bytes = p.now(), int64(n)+rest
	if err != nil {
		return err
	}
	picture := isPicture(head[:n])
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cached[pic.URL], p.refused[pic.URL] = picture, !picture
	if !picture {
		return fmt.Errorf("%w: a 200 that begins with %q", ErrStatus, head[:n])
	}
	return nil
}

// isPicture reports whether body begins like an image that iOS 17 decodes.
func isPicture(head []byte) bool {
	switch http.DetectContentType(head) {
	case "image/jpeg", "image/png", "image/gif", "image/webp":
		return true
	}
	return len(head) >= 12 &&
		(bytes.Equal(head[4:12], []byte("ftypavif")) || bytes.Equal(head[4:12], []byte("ftypheic")))
}
