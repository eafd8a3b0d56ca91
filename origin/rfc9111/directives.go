package rfc9111

import (
	"strings"
	"time"
)

// directives are the members of all Cache-Control lines of an answer by their names in
// lower case. If a name is repeated, the first member counts (RFC 9111, 4.2.1).
type directives map[string]directive

// directive is one member.
type directive struct {
	value string // unquoted
	given bool   // there was a "="
	bad   bool   // the member is not token [ "=" ( token / quoted-string ) ]
}

// parseDirectives parses Cache-Control (RFC 9111, 5.2: a list of token [ "=" ( token /
// quoted-string ) ]; RFC 9110, 5.6.1: empty members are skipped). A malformed member
// keeps the name it begins with and is marked bad: a restriction still applies then,
// while a permission does not.
func parseDirectives(lines []string) directives {
	d := directives{}
	for _, line := range lines {
		for len(line) > 0 {
			var member string
			member, line = cutMember(line)
			name, m := parseMember(member)
			if _, seen := d[name]; name != "" && !seen {
				d[name] = m
			}
		}
	}
	return d
}

// cutMember splits s at the first comma outside of quotes. A quote that is never closed is
// an ordinary character, so that it cannot hide a no-store.
func cutMember(s string) (member, rest string) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ',':
			return s[:i], s[i+1:]
		case '"':
			if n := quoted(s[i:]); n > 0 {
				i += n - 1
			}
		}
	}
	return s, ""
}

// quoted returns the length of the quoted-string at the start of s with its quotes, or 0
// if s does not start with one (RFC 9110, 5.6.4).
func quoted(s string) int {
	if s == "" || s[0] != '"' {
		return 0
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return 0
}

func parseMember(s string) (name string, d directive) {
	s = strings.Trim(s, " \t")
	end := 0
	for end < len(s) && tokenChar(s[end]) {
		end++
	}
	name, s = strings.ToLower(s[:end]), s[end:]
	if s == "" {
		return name, directive{}
	}
	if s[0] != '=' {
		return name, directive{bad: true}
	}
	d = directive{value: s[1:], given: true}
	if n := quoted(d.value); n > 0 {
		d.bad = n != len(d.value)
		d.value = unescape(d.value[1 : n-1])
		return name, d
	}
	d.bad = d.value == ""
	for i := range len(d.value) {
		d.bad = d.bad || !tokenChar(d.value[i])
	}
	return name, d
}

func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// tokenChar reports whether c is tchar (RFC 9110, 5.6.2).
func tokenChar(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// has reports whether the directive is present, even if malformed.
func (d directives) has(name string) bool {
	_, ok := d[name]
	return ok
}

// seconds returns the directive's argument. present reports whether the directive is
// there at all, ok whether its argument is delta-seconds.
func (d directives) seconds(name string) (s time.Duration, present, ok bool) {
	m, present := d[name]
	if !present || m.bad || !m.given {
		return 0, present, false
	}
	s, ok = deltaSeconds(m.value)
	return s, true, ok
}

// maxDelta is the value of larger delta-seconds (RFC 9111, 1.2.2).
const maxDelta = 1 << 31

// deltaSeconds parses 1*DIGIT (RFC 9111, 1.2.2): no sign, no fraction, no space.
func deltaSeconds(s string) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = min(n*10+int64(s[i]-'0'), maxDelta)
	}
	return time.Duration(n) * time.Second, true
}
