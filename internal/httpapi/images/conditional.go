package images

import (
	"net/http"
	"strings"
	"time"

	"github.com/novasocial/imagetier/internal/httpserver"
)

// validators are the ETag and modification date of a stored variant.
type validators struct {
	etag     string // strong, quoted
	modified time.Time
}

type conditionVerdict uint8

const (
	proceed conditionVerdict = iota
	notModified
	preconditionFailed
)

// precondition evaluates the conditions of a GET or HEAD in the order of RFC 9110, 13.2.2.
// An invalid date is ignored.
func precondition(r *httpserver.Request, current validators) conditionVerdict {
	if lines := r.Values("If-Match"); len(lines) > 0 {
		if !matches(lines, current.etag, strongly) {
			return preconditionFailed
		}
	} else if since, ok := date(r.Values("If-Unmodified-Since")); ok && current.modifiedAfter(since) {
		return preconditionFailed
	}
	if lines := r.Values("If-None-Match"); len(lines) > 0 {
		if matches(lines, current.etag, weakly) {
			return notModified
		}
	} else if since, ok := date(r.Values("If-Modified-Since")); ok &&
		!current.modified.IsZero() && !current.modifiedAfter(since) {
		return notModified
	}
	return proceed
}

// ifRange reports whether Range is to be obeyed (RFC 9110, 13.1.5): If-Range is absent, or
// is the entity tag of what is stored. A date never is: the modified date is the original's,
// and a new version of the tier may make other bytes of the same original.
func ifRange(r *httpserver.Request, current validators) bool {
	lines := r.Values("If-Range")
	if len(lines) == 0 {
		return true
	}
	if len(lines) > 1 {
		return false
	}
	tag, rest := nextTag(trimSpace(lines[0]))
	return tag != "" && rest == "" && sameTag(tag, current.etag, strongly)
}

// modifiedAfter compares whole seconds, which is the precision of header fields.
func (v validators) modifiedAfter(t time.Time) bool {
	return v.modified.Truncate(time.Second).After(t)
}

func date(lines []string) (time.Time, bool) {
	if len(lines) != 1 {
		return time.Time{}, false
	}
	t, err := http.ParseTime(lines[0])
	return t, err == nil
}

type comparison bool

const (
	weakly   comparison = false
	strongly comparison = true
)

// matches reports whether a list of entity tags, in one or more header lines, contains etag or is
// "*". Parsing of a line stops at its first malformed tag.
func matches(lines []string, etag string, how comparison) bool {
	if len(lines) == 1 && trimSpace(lines[0]) == "*" {
		return true
	}
	if etag == "" {
		return false
	}
	for _, rest := range lines {
		for {
			rest = strings.TrimLeft(rest, " \t,")
			var tag string
			if tag, rest = nextTag(rest); tag == "" {
				break
			}
			if sameTag(tag, etag, how) {
				return true
			}
			if rest = trimSpace(rest); rest != "" && rest[0] != ',' {
				break
			}
		}
	}
	return false
}

// nextTag splits an entity tag (RFC 9110, 8.8.3) off the front of s; tag is "" if s does not begin with one.
func nextTag(s string) (tag, rest string) {
	start := 0
	if strings.HasPrefix(s, "W/") {
		start = 2
	}
	if len(s) <= start || s[start] != '"' {
		return "", s
	}
	for i := start + 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return s[:i+1], s[i+1:]
		case c <= ' ' || c == 0x7f:
			return "", s
		}
	}
	return "", s
}

// sameTag compares the tag of a client with a strong one of the tier.
func sameTag(theirs, ours string, how comparison) bool {
	if how == weakly {
		theirs = strings.TrimPrefix(theirs, "W/")
	}
	return theirs == ours
}

// trimSpace removes optional white space (RFC 9110, 5.6.3).
func trimSpace(s string) string { return strings.Trim(s, " \t") }
