package imageurl

import (
	"fmt"
	"strconv"
	"time"
)

// ErrExpired means that the URL was signed until a time that has passed. It wraps ErrSignature.
var ErrExpired = fmt.Errorf("%w: the URL has expired", ErrSignature)

// DefaultWindow is the window to which expiry times are rounded up: clients and CDNs see one URL all
// day instead of a new one with every response.
const DefaultWindow = 24 * time.Hour

// maxExpiryDigits bounds an expiry to the year 5138.
const maxExpiryDigits = 11

// Expiry returns the end of a URL that is to be valid for at least lifetime from now on, rounded up
// to a multiple of window in Unix time. A window below a second is [DefaultWindow].
func Expiry(now time.Time, lifetime, window time.Duration) time.Time {
	w := int64(window / time.Second)
	if w < 1 {
		w = int64(DefaultWindow / time.Second)
	}
	end := now.Add(lifetime + time.Second - 1).Unix()
	return time.Unix((end+w-1)/w*w, 0)
}

// parseExpiry parses Unix seconds as they are spelled in a signature: decimal, no leading zero.
func parseExpiry(digits string) (time.Time, bool) {
	if len(digits) < 1 || len(digits) > maxExpiryDigits || digits[0] < '1' {
		return time.Time{}, false
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	return time.Unix(int64(n), 0), err == nil
}
