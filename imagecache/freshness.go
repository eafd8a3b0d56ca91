package imagecache

import "time"

// Freshness is how long an Image may be served (RFC 9111, RFC 5861), in absolute times.
// The zero value is pinned: fresh for ever.
type Freshness struct {
	Generated            time.Time     // when the origin made or validated it (Age counts from here); zero: pinned
	Date                 time.Time     // Date of the origin's answer, by its clock; zero: unknown
	Until                time.Time     // stale from then on
	StaleWhileRevalidate time.Duration // after Until
	StaleIfError         time.Duration // after Until; 0: Config.StaleIfError applies; negative: none
	MustRevalidate       bool          // never served stale
	NoStore              bool          // answered to its waiters, never stored
}

// Pinned reports whether the Image's bytes never change.
func (f Freshness) Pinned() bool { return f.Generated.IsZero() }

type freshnessState uint8

const (
	fresh       freshnessState = iota
	staleUsable                // stale, but servable while it is revalidated
	staleUnusable
)

// at returns how long the Image stays fresh from now on (negative once it is stale)
// and what may be done with it.
func (f Freshness) at(now time.Time) (left time.Duration, state freshnessState) {
	if f.Pinned() {
		return PinnedTTL, fresh
	}
	left = f.Until.Sub(now)
	switch {
	case left > 0:
		return left, fresh
	case !f.MustRevalidate && -left < f.StaleWhileRevalidate:
		return left, staleUsable
	default:
		return left, staleUnusable
	}
}

// usableOnError reports whether the Image may be served when its revalidation fails. unstated is
// the limit if the origin stated none.
func (f Freshness) usableOnError(now time.Time, unstated time.Duration) bool {
	return f.Pinned() || now.Sub(f.Until) < f.staleIfError(unstated)
}

// staleIfError returns how long after Until the Image may be served when its revalidation fails.
func (f Freshness) staleIfError(unstated time.Duration) time.Duration {
	switch {
	case f.MustRevalidate || f.StaleIfError < 0:
		return 0
	case f.StaleIfError == 0:
		return unstated
	}
	return f.StaleIfError
}
