package images

import (
	"net/http"
	"strings"
	"time"
)

// validators are what a stored variant can be recognised by.
type validators struct {
	etag     string // strong, quoted
	modified time.Time
	// strongDate: no two contents can bear this modified date (RFC 9110, 8.8.2.2).
	strongDate bool
}

type conditionVerdict uint8

const (
	proceed conditionVerdict = iota
	notModified
	preconditionFailed
)

// precondition evaluates the conditions of a GET or HEAD in the order of RFC 9110, 13.2.2.
// An invalid date is ignored.
func precondition(h http.Header, current validators) conditionVerdict {
	if lines := h["If-Match"]; len(lines) > 0 {
		if !matches(lines, current.etag, strongly) {
			return preconditionFailed
		}
	} else if since, ok := date(h["If-Unmodified-Since"]); ok && current.modifiedAfter(since) {
		return preconditionFailed
	}
	if lines := h["If-None-Match"]; len(lines) > 0 {
		if matches(lines, current.etag, weakly) {
			return notModified
		}
	} else if since, ok := date(h["If-Modified-Since"]); ok &&
		!current.modified.IsZero() && !current.modifiedAfter(since) {
		return notModified
	}
	return proceed
}

// ifRange reports whether Range is to be obeyed (RFC 9110, 13.1.5): If-Range is absent, or
// names exactly what is stored by a strong validator.
func ifRange(h http.Header, current validators) bool {
	lines := h["If-Range"]
	if len(lines) == 0 {
		return true
	}
	if len(lines) > 1 {
		return false
	}
	if strings.Contains(lines[0], `"`) {
		tag, rest := nextTag(trimSpace(lines[0]))
		return tag != "" && rest == "" && sameTag(tag, current.etag, strongly)
	}
	since, ok := date(lines)
	return ok && current.strongDate && !current.modified.IsZero() && since.Equal(current.modified.Truncate(time.Second))
}

// modifiedAfter compares whole seconds: a header has no others.
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

// matches reports whether a list of entity tags, of one or more header lines, has etag or
// is "*". Parsing of a line stops at its first malformed tag.
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

// nextTag splits an entity tag (RFC 9110, 8.8.3) off the front of s; tag is "" if there is none.
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

// sameTag compares a client's tag with ours, which is strong.
func sameTag(theirs, ours string, how comparison) bool {
	if how == weakly {
		theirs = strings.TrimPrefix(theirs, "W/")
	}
	return theirs == ours
}

// trimSpace removes what HTTP calls optional white space.
func trimSpace(s string) string { return strings.Trim(s, " \t") }
