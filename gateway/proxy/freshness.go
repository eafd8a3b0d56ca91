package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// boundFreshness lets caches keep an answer, and use it when it is stale, for at most half of the
// time for which the image URLs in it are valid. Without --url-lifetime it changes nothing.
func (p *Proxy) boundFreshness(h http.Header) {
	now := time.Now()
	expires := p.cfg.Linker.Expires()
	if expires.IsZero() {
		return
	}
	most := expires.Sub(now) / 2
	for _, name := range []string{"Cache-Control", "Cdn-Cache-Control", "Surrogate-Control"} {
		if list := strings.Join(h[name], ","); list != "" {
			if list = boundDirectives(list, most); list != "" {
				h.Set(name, list)
			} else {
				h.Del(name)
			}
		}
	}
	// A date that is no date means stale (RFC 9111, 5.3).
	if at, err := http.ParseTime(h.Get("Expires")); err == nil && at.After(now.Add(most)) {
		h.Set("Expires", now.Add(most).UTC().Format(http.TimeFormat))
	}
}

// boundDirectives limits the lifetimes in a Cache-Control header (RFC 9111, 5.2.2; RFC 5861;
// RFC 8246). Those that are no number of seconds are left: they mean stale.
func boundDirectives(list string, most time.Duration) string {
	var kept []string
	for _, directive := range splitList(list) {
		name, value, _ := strings.Cut(directive, "=")
		switch name = strings.ToLower(strings.TrimSpace(name)); name {
		case "immutable", "stale-while-revalidate", "stale-if-error":
			continue
		case "max-age", "s-maxage":
			limit := uint64(most / time.Second)
			// A number that is too large for n is larger than the limit, too.
			n, err := strconv.ParseUint(strings.Trim(value, ` "`), 10, 64)
			if (err == nil || errors.Is(err, strconv.ErrRange)) && n > limit {
				directive = fmt.Sprintf("%s=%d", name, limit)
			}
		}
		kept = append(kept, directive)
	}
	return strings.Join(kept, ", ")
}
