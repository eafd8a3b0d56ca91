package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/prefetch/warmer"
	"github.com/novasocial/imagetier/resize"
)

// balancer makes variants by requesting them through the load balancer in front of the nodes, so
// that the node that its hash chooses for an original makes and keeps them.
type balancer struct {
	base   string // URL without a / at its end
	signer *imageurl.Signer
	client *http.Client
}

// newBalancer returns a balancer. timeout bounds each request and should be longer than the slowest
// fill.
func newBalancer(base string, signer *imageurl.Signer, timeout time.Duration) *balancer {
	return &balancer{base: base, signer: signer, client: &http.Client{
		Timeout: timeout,
		// No proxy and no redirects: the balancer is ours.
		Transport: &http.Transport{
			MaxIdleConnsPerHost:    variantsAtOnce,
			MaxResponseHeaderBytes: 64 << 10,
			IdleConnTimeout:        time.Minute,
			ForceAttemptHTTP2:      true,
			DisableCompression:     true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Make requests the variants through the balancer, and returns the outcome of each. Errors wrap the
// sentinel of origin, resize or imagecache that corresponds to the node's answer.
func (b *balancer) Make(ctx context.Context, refs []imageurl.Ref) []warmer.Outcome {
	return forEach(refs, func(ref imageurl.Ref) (out warmer.Outcome) {
		out.Hit, out.Err = b.ask(ctx, ref)
		return out
	})
}

// ask requests one variant, and reports whether it was cached.
func (b *balancer) ask(ctx context.Context, ref imageurl.Ref) (hit bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.base+b.signer.Path(ref), nil)
	if err != nil {
		return false, err
	}
	// RFC 9218: the node serves it with resize.PriorityWarm or, with page, resize.PriorityPage.
	req.Header.Set("Priority", "u=7")
	if resize.PriorityOf(ctx) == resize.PriorityPage {
		req.Header.Set("Priority", "u=7, page")
	}
	resp, err := b.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return false, fmt.Errorf("ask the balancer for %s: %w", ref, ctx.Err())
		}
		return false, fmt.Errorf("ask the balancer for %s: %w: %w", ref, origin.ErrUnavailable, err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return false, fmt.Errorf("read the balancer's answer to %s: %w: %w", ref, origin.ErrUnavailable, err)
	}
	if resp.StatusCode == http.StatusOK {
		return strings.Contains(resp.Header.Get("Cache-Status"), "; hit"), nil
	}
	return false, fmt.Errorf("the balancer answers %s to %s: %w", resp.Status, ref, meaningOf(resp))
}

// meaningOf maps an answer to an error, the inverse of the table of package problem.
func meaningOf(resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusBadRequest:
		return resize.ErrSpec
	case http.StatusNotFound:
		return origin.ErrNotFound
	case http.StatusRequestEntityTooLarge:
		return resize.ErrTooLarge
	case http.StatusUnsupportedMediaType:
		return resize.ErrUnsupported
	case http.StatusUnprocessableEntity:
		return resize.ErrCorrupt
	case http.StatusUnavailableForLegalReasons:
		return imagecache.ErrTakenDown
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		if err != nil || seconds < 0 {
			return resize.ErrBusy
		}
		return errors.Join(resize.ErrBusy, &origin.Busy{RetryAfter: time.Duration(min(seconds, 60)) * time.Second})
	}
	return origin.ErrUnavailable
}

func (b *balancer) close() { b.client.CloseIdleConnections() }
