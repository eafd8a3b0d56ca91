package rfc9111

import (
	"strings"
	"time"
)

// directives are the members of all Cache-Control lines of an answer, names in lower
// case. Of a name that comes more than once the first member counts (RFC 9111, 4.2.1).
type directives map[string]directive

// directive is one member. value is without its quotes; given says that there was "=".
type directive struct {
	value string
	given bool
	bad   bool // the member is not token [ "=" ( token / quoted-string ) ]
}

// parseDirectives reads Cache-Control (RFC 9111, 5.2: a list of token [ "=" ( token /
// quoted-string ) ]; RFC 9110, 5.6.1: empty members are skipped). It refuses nothing: a
// member that is malformed keeps the name it begins with and is marked bad, so that what
// forbids can still count and what allows need not.
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

// cutMember returns what is before the first comma outside of quotes. A quote that is
// never closed is an ordinary character, so that it cannot swallow a no-store.
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

// quoted returns the length of the quoted-string that s begins with, quotes included,
// or 0 (RFC 9110, 5.6.4).
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

// has reports whether the directive is there, however malformed.
func (d directives) has(name string) bool {
	_, ok := d[name]
	return ok
}

// seconds returns the directive's argument; there says that the directive is, ok that
// its argument is delta-seconds.
func (d directives) seconds(name string) (s time.Duration, there, ok bool) {
	m, there := d[name]
	if !there || m.bad || !m.given {
		return 0, there, false
	}
	s, ok = deltaSeconds(m.value)
	return s, true, ok
}

// maxDelta is what a number of seconds is taken for that is too large for its holder
// (RFC 9111, 1.2.2).
const maxDelta = 1 << 31

// deltaSeconds reads 1*DIGIT (RFC 9111, 1.2.2): no sign, no fraction, no space.
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
