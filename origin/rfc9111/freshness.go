// Package rfc9111 reckons from the headers of an HTTP answer how long a shared cache may
// use it: RFC 9111 (HTTP Caching) and RFC 5861 (stale-while-revalidate, stale-if-error),
// reduced to origin.Freshness. It is for answers of status 200 and 304 to requests
// without Authorization, cookies or Range, which is all that the tier sends.
package rfc9111

import (
	"net/http"
	"strings"
	"time"

	"github.com/novasocial/imagetier/origin"
)

// Answer is what is reckoned from.
type Answer struct {
	Header http.Header
	// Requested and Received are when the request was begun and the headers of the
	// answer had come, by the tier's clock.
	Requested, Received time.Time
	// MaxHeuristic is the most that a lifetime may be that is guessed from
	// Last-Modified. 0: no lifetime is guessed.
	MaxHeuristic time.Duration
}

// Freshness returns what a 200 allows.
//
// Conflicts are settled for the stricter: no-store and private over all, no-cache over
// any lifetime, s-maxage over max-age over Expires. A lifetime that is there and cannot
// be read is 0, stale at once (4.2.1). The forms of no-cache and private that name header
// fields count as if they named none, as the RFC lets a cache do (5.2.2.4, 5.2.2.7).
// must-understand lifts no-store (5.2.2.3): a 200 is understood. s-maxage implies
// proxy-revalidate (5.2.2.10). What may never be served stale has no stale-while-revalidate
// and no stale-if-error. Pragma: no-cache counts where there is no Cache-Control.
// Set-Cookie changes nothing (7.3): the tier sends no cookie and passes none on.
//
// Vary is NoStore where it is "*" or names a field that requests for one original could
// differ in. Accept-Encoding is none: the tier always asks for identity. Nor are Origin
// and the Access-Control-Request fields of CORS, which the tier never sends, so that every
// request of its own selects the answer that it has (4.1).
//
// Without a word on the lifetime it is guessed as a tenth of the time between Last-Modified
// and Date (4.2.2), at most MaxHeuristic; without Last-Modified too the answer is Silent.
func Freshness(a Answer) origin.Freshness {
	f := a.explicit()
	if !f.Silent || a.MaxHeuristic <= 0 {
		return f
	}
	modified, ok := parseTime(a.Header.Get("Last-Modified"))
	if since := a.date().Sub(modified); ok && since >= 0 {
		f.Silent, f.Lifetime = false, min(since/10, a.MaxHeuristic)
	}
	return f
}

// Revalidated returns what a 304 allows. It guesses nothing: a 304 without a lifetime is
// Silent, and the stored one holds again (4.3.4).
func Revalidated(a Answer) origin.Freshness { return a.explicit() }

func (a Answer) explicit() origin.Freshness {
	cc := parseDirectives(a.Header.Values("Cache-Control"))
	f := origin.Freshness{Age: a.age()}
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
	lifetime, said := a.lifetime(cc)
	switch {
	case noCache:
	case said:
		f.Lifetime = lifetime
	case f.MustRevalidate: // strict, but for how long is not said: not at all
	default:
		f.Silent = true
		return f
	}
	if !f.MustRevalidate {
		f.StaleWhileRevalidate, _, _ = cc.seconds("stale-while-revalidate")
		f.StaleIfError, _, _ = cc.seconds("stale-if-error")
	}
	return f
}

// lifetime is RFC 9111, 4.2.1, for a shared cache.
func (a Answer) lifetime(cc directives) (lifetime time.Duration, said bool) {
	for _, name := range []string{"s-maxage", "max-age"} {
		if s, there, _ := cc.seconds(name); there {
			return s, true
		}
	}
	if lines := a.Header.Values("Expires"); len(lines) > 0 {
		expires, ok := parseTime(lines[0])
		if !ok {
			return 0, true // "0" above all (5.3)
		}
		return max(0, expires.Sub(a.date())), true
	}
	return 0, false
}

// age is RFC 9111, 4.2.3: corrected_initial_age.
func (a Answer) age() time.Duration {
	apparent := max(0, a.Received.Sub(a.date()))
	var value time.Duration
	if lines := a.Header.Values("Age"); len(lines) > 0 {
		first, _, _ := strings.Cut(lines[0], ",")           // of a list the first counts (5.1)
		value, _ = deltaSeconds(strings.Trim(first, " \t")) // not a number: as if absent (5.1)
	}
	return max(apparent, value+max(0, a.Received.Sub(a.Requested)))
}

// date is the value of Date, or where it is absent or not a date the time of arrival
// (RFC 9110, 6.6.1).
func (a Answer) date() time.Time {
	if date, ok := parseTime(a.Header.Get("Date")); ok {
		return date
	}
	return a.Received
}

func (a Answer) varies() bool {
	for _, line := range a.Header.Values("Vary") {
		for field := range strings.SplitSeq(line, ",") {
			switch strings.ToLower(strings.Trim(field, " \t")) {
			case "", "accept-encoding", "origin", "access-control-request-method", "access-control-request-headers":
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

// parseTime reads the three forms of HTTP-date (RFC 9110, 5.6.7), all of which are GMT.
// A year of two digits is one of 1969 to 2068.
func parseTime(s string) (time.Time, bool) {
	for _, layout := range []string{http.TimeFormat, "Monday, 02-Jan-06 15:04:05 GMT", time.ANSIC} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
