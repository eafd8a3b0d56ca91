package weborigin

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/novasocial/imagetier/origin"
)

// maxRedirects is how many are followed.
const maxRedirects = 3

// checkRedirect is http.Client's: req is about to be sent because via's last was answered
// with a redirect.
func (s *Source) checkRedirect(req *http.Request, via []*http.Request) error {
	from, to := via[len(via)-1].URL, req.URL
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("%w: redirected more than %d times", origin.ErrUnavailable, maxRedirects)
	case to.User != nil:
		return fmt.Errorf("%w: redirected to a URL with a user", origin.ErrDenied)
	case to.Scheme != from.Scheme && (from.Scheme != "http" || to.Scheme != "https"):
		return fmt.Errorf("%w: redirected from %s to %.20s", origin.ErrDenied, from.Scheme, to.Scheme)
	case !s.hosts[hostOf(to)]:
		return fmt.Errorf("%w: redirected to %.100s, which is not allowed", origin.ErrDenied, to.Host)
	}
	req.Header.Del("Referer") // the client adds it; it tells one host the URLs of another
	return nil
}

// hostOf spells a host in one way: lower case, no final dot, no port that its scheme has
// by default. The scheme may be missing; then 80 and 443 are no ports either.
func hostOf(u *url.URL) string {
	host, port := strings.TrimSuffix(strings.ToLower(u.Hostname()), "."), u.Port()
	if port == "" || port == "80" && u.Scheme != "https" || port == "443" && u.Scheme != "http" {
		return host
	}
	return host + ":" + port
}

// errMethod is wrapped when a server does not take HEAD.
var errMethod = fmt.Errorf("%w: HEAD is refused", origin.ErrUnavailable)

var headRefused = []int{http.StatusMethodNotAllowed, http.StatusNotImplemented}

// refusal is the one table from statuses other than 200 and 304 to sentinels.
func refusal(resp *http.Response, cond origin.Cond) error {
	sentinel := origin.ErrUnavailable
	switch resp.StatusCode {
	case http.StatusNotFound, http.StatusGone:
		sentinel = origin.ErrNotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		sentinel = origin.ErrDenied
	case http.StatusPreconditionFailed:
		if cond.Match != "" {
			sentinel = origin.ErrChanged
		}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		sentinel = &origin.Busy{RetryAfter: retryAfter(resp.Header.Get("Retry-After"), time.Now())}
	}
	if resp.Request.Method == http.MethodHead && slices.Contains(headRefused, resp.StatusCode) {
		sentinel = errMethod
	}
	return fmt.Errorf("%w: status %d", sentinel, resp.StatusCode)
}

// retryAfter reads delay-seconds or HTTP-date (RFC 9110, 10.2.3), at most a day; what is
// neither, or past, is 0.
func retryAfter(s string, now time.Time) time.Duration {
	const most = 24 * time.Hour
	if n, err := strconv.ParseUint(s, 10, 32); err == nil {
		return min(time.Duration(n)*time.Second, most)
	}
	if at, err := http.ParseTime(s); err == nil {
		return min(max(0, at.Sub(now)), most)
	}
	return 0
}
