// Package rfc9111 computes from the headers of an HTTP answer how long a shared cache may
// use it: RFC 9111 (HTTP Caching) and RFC 5861 (stale-while-revalidate, stale-if-error).
// It applies to answers of status 200 and 304 to requests without Authorization, cookies
// or Range, the only ones that the tier sends. Start reading at Freshness.
package rfc9111

import (
	"net/http"
	"strings"
	"time"

	"github.com/novasocial/imagetier/origin"
)

// Answer is an answer whose freshness is computed.
type Answer struct {
	Header http.Header
	// Requested and Received are when the request was sent and when the headers of the
	// answer arrived, by the local clock.
	Requested, Received time.Time
	// MaxHeuristic bounds the heuristic lifetime computed from Last-Modified. 0
	// disables the heuristic.
	MaxHeuristic time.Duration
}

// Freshness returns the freshness of a 200.
//
// Dates must be in one of the three forms of RFC 9110 (5.6.7), to the letter; only case is
// ignored (4.2). An Expires that is not, or that has more than one line, is in the past (5.3,
// 4.2.1). If directives conflict, the strictest wins: no-store and private over everything,
// no-cache over any lifetime, s-maxage over max-age over Expires. A malformed lifetime is
// 0, stale at once (4.2.1). no-cache and private with field names count as without, as
// the RFC allows (5.2.2.4, 5.2.2.7). must-understand overrides no-store (5.2.2.3), since a
// 200 is understood. s-maxage implies proxy-revalidate (5.2.2.10). An answer that must be
// revalidated has no stale-while-revalidate and no stale-if-error. Pragma: no-cache counts
// only without Cache-Control. Set-Cookie has no effect (7.3): the tier sends no cookies and
// forwards none.
//
// Vary means NoStore if it is "*" or names a field in which requests for one original
// could differ. Accept, Accept-Encoding and User-Agent are not such fields (every request has
// the same), nor are those that the tier never sends: Accept-Language, Origin and the
// Access-Control-Request fields of CORS (4.1).
//
// Without an explicit lifetime it is a tenth of the time between Last-Modified and Date
// (4.2.2), at most MaxHeuristic. Without Last-Modified the answer is Silent.
func Freshness(a Answer) origin.Freshness {
	f := a.explicit()
	if !f.Silent || a.MaxHeuristic <= 0 {
		return f
	}
	modified, ok := parseTime(a.Header.Get("Last-Modified"))
	if since := a.Date().Sub(modified); ok && since >= 0 {
		f.Silent, f.Lifetime = false, min(since/10, a.MaxHeuristic)
	}
	return f
}

// Revalidated returns the freshness of a 304. It uses no heuristic: a 304 without a
// lifetime is Silent, and the stored lifetime applies again (4.3.4).
func Revalidated(a Answer) origin.Freshness { return a.explicit() }

func (a Answer) explicit() origin.Freshness {
	cc := parseDirectives(a.Header.Values("Cache-Control"))
	f := origin.Freshness{Age: a.age(), Received: a.Received}
	understood := cc.has("must-understand") && cc["must-understand"] == directive{}
	if cc.has("no-store") && !understood || cc.has("private") || a.varies() {
		f.NoStore = true
		return f
	}
	noCache := cc.has("no-cache")
	if len(a.Header.Values("Cache-Control")) == 0 {
		noCache = hasToken(a.Header.Values("Pragma"), "no-cache")
	}
	f.MustRevalidate = noCache || cc.has("must-revalidate") || cc.has("proxy-revalidate") || cc.has("s-maxage")
	lifetime, ok := a.lifetime(cc)
	switch {
	case noCache:
	case ok:
		f.Lifetime = lifetime
	case f.MustRevalidate: // no lifetime given: stale at once
	default:
		f.Silent = true
	}
	if !f.MustRevalidate {
		f.StaleWhileRevalidate, _, _ = cc.seconds("stale-while-revalidate")
		f.StaleIfError = cc.staleIfError()
	}
	return f
}

// lifetime returns the explicit freshness lifetime for a shared cache (RFC 9111, 4.2.1).
func (a Answer) lifetime(cc directives) (lifetime time.Duration, ok bool) {
	for _, name := range []string{"s-maxage", "max-age"} {
		if s, present, _ := cc.seconds(name); present {
			return s, true
		}
	}
	if lines := a.Header.Values("Expires"); len(lines) > 0 {
		expires, ok := parseTime(lines[0])
		if !ok || len(lines) > 1 {
			return 0, true // most often "0" (5.3)
		}
		return max(0, expires.Sub(a.Date())), true
	}
	return 0, false
}

// staleIfError returns the argument of stale-if-error, 0 if it is absent, and a negative
// value if it is 0 or malformed.
func (d directives) staleIfError() time.Duration {
	s, present, _ := d.seconds("stale-if-error")
	if present && s == 0 {
		return -time.Second
	}
	return s
}

// age returns the corrected_initial_age (RFC 9111, 4.2.3).
func (a Answer) age() time.Duration {
	apparent := max(0, a.Received.Sub(a.Date()))
	var value time.Duration
	if lines := a.Header.Values("Age"); len(lines) > 0 {
		first, _, _ := strings.Cut(lines[0], ",")           // only the first of a list counts (5.1)
		value, _ = deltaSeconds(strings.Trim(first, " \t")) // a malformed value counts as absent (5.1)
	}
	return max(apparent, value+max(0, a.Received.Sub(a.Requested)))
}

// Date returns the value of Date, or the time of arrival if Date is absent or malformed
// (RFC 9110, 6.6.1).
func (a Answer) Date() time.Time {
	if date, ok := parseTime(a.Header.Get("Date")); ok {
		return date
	}
	return a.Received
}

func (a Answer) varies() bool {
	for _, line := range a.Header.Values("Vary") {
		for field := range strings.SplitSeq(line, ",") {
			switch strings.ToLower(strings.Trim(field, " \t")) {
			case "", "accept", "accept-encoding", "accept-language", "user-agent",
				"origin", "access-control-request-method", "access-control-request-headers":
			default:
				return true
			}
		}
	}
	return false
}

func hasToken(lines []string, token string) bool {
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.Trim(member, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// parseTime parses the three forms of HTTP-date (RFC 9110, 5.6.7), all in GMT, ignoring case
// (RFC 9111, 4.2). time.Parse is more lenient: it allows an hour of one digit, more than one
// space, and any name of a weekday. A year of two digits is in 1969 to 2068.
func parseTime(s string) (time.Time, bool) {
	exact := s
	if n := len(s) - len("GMT"); n > 0 && strings.EqualFold(s[n:], "GMT") {
		exact = s[:n] + "GMT"
	}
	for _, layout := range []string{http.TimeFormat, "Monday, 02-Jan-06 15:04:05 GMT", time.ANSIC} {
		if t, err := time.Parse(layout, exact); err == nil && strings.EqualFold(t.Format(layout), exact) {
			return t, true
		}
	}
	return time.Time{}, false
}
