package weborigin

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/novasocial/imagetier/origin"
)

// maxRedirects is how many redirects are followed.
const maxRedirects = 3

// checkRedirect is the CheckRedirect of the http.Client: it decides whether req, the
// target of a redirect, may be sent.
func (s *Source) checkRedirect(req *http.Request, via []*http.Request) error {
	from, to := via[len(via)-1].URL, req.URL
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("%w: redirected more than %d times", origin.ErrRejected, maxRedirects)
	case to.User != nil:
		return fmt.Errorf("%w: redirected to a URL with a user", origin.ErrDenied)
	case to.Scheme != from.Scheme && (from.Scheme != "http" || to.Scheme != "https"):
		return fmt.Errorf("%w: redirected from %s to %.20s", origin.ErrDenied, from.Scheme, to.Scheme)
	case !s.hosts[hostOf(to)]:
		return fmt.Errorf("%w: redirected to %.100s, which is not an allowed host", origin.ErrDenied, to.Host)
	}
	req.Header.Del("Referer") // added by the client; it would leak URLs to another host
	keepCookies(req, via)
	return nil
}

// keepCookies sends the cookies that the host of req has set with the redirects of this fetch:
// some hosts redirect for ever to a client without them. They are not kept any longer.
func keepCookies(req *http.Request, via []*http.Request) {
	req.Header.Del("Cookie")
	set := map[string]bool{}
	steps := append(via[:len(via):len(via)], req) // steps[i].Response is the redirect that led from steps[i-1] to it
	for i := len(via); i > 0; i-- {
		if steps[i].Response == nil || hostOf(steps[i-1].URL) != hostOf(req.URL) {
			continue
		}
		for _, c := range steps[i].Response.Cookies() {
			if !set[c.Name] && c.MaxAge >= 0 { // the latest of a name counts
				req.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
			}
			set[c.Name] = true
		}
	}
}

// hostOf returns the host in one canonical form: lower case, no final dot, no default
// port. Without a scheme both 80 and 443 count as default.
func hostOf(u *url.URL) string {
	host, port := strings.TrimSuffix(strings.ToLower(u.Hostname()), "."), u.Port()
	if port == "" || port == "80" && u.Scheme != "https" || port == "443" && u.Scheme != "http" {
		return host
	}
	return host + ":" + port
}

// errHeadRefused means that the server does not support HEAD.
var errHeadRefused = fmt.Errorf("%w: HEAD not supported", origin.ErrRejected)

// statusError maps statuses other than 200, 203 and 304 to sentinels.
func (s *Source) statusError(resp *http.Response, cond origin.Cond) error {
	status := resp.StatusCode
	sentinel := origin.ErrRejected
	switch status {
	case http.StatusNotFound, http.StatusGone:
		sentinel = origin.ErrNotFound
	case http.StatusForbidden:
		sentinel = origin.ErrDenied
		if s.cfg.MissingIs403 {
			sentinel = origin.ErrNotFound
		}
	case http.StatusUnauthorized:
		sentinel = origin.ErrDenied
	case http.StatusPreconditionFailed:
		if cond.Match != "" {
			sentinel = origin.ErrChanged
		}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusRequestTimeout, http.StatusTooEarly:
		sentinel = &origin.Busy{RetryAfter: retryAfter(resp.Header.Get("Retry-After"), time.Now())}
	default:
		if status >= 500 {
			sentinel = origin.ErrUnavailable
		}
	}
	if resp.Request.Method == http.MethodHead &&
		(status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented) {
		sentinel = errHeadRefused
	}
	return fmt.Errorf("%w: status %d", sentinel, status)
}

// retryAfter parses delay-seconds or an HTTP-date (RFC 9110, 10.2.3), capped at a day. A
// malformed value or a time in the past is 0.
func retryAfter(s string, now time.Time) time.Duration {
	const limit = 24 * time.Hour
	if n, err := strconv.ParseUint(s, 10, 32); err == nil {
		return min(time.Duration(n)*time.Second, limit)
	}
	if at, err := http.ParseTime(s); err == nil {
		return min(max(0, at.Sub(now)), limit)
	}
	return 0
}
