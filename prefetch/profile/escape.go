package profile

import "strings"

// escape percent-encodes the bytes of a path and query that a URL cannot hold, as browsers do (the
// path and special-query percent-encode sets of the URL Standard), so that the origin gets the same
// request. As browsers do, it takes a backslash in the path for a slash, and drops tabs, line breaks,
// and blanks at the end. Escapes stay as they are, and so does a "%" that begins none.
//
// In a query it also encodes ^ ` { } and \, which browsers do not, but RFC 3986 demands.
func escape(s string) string {
	s = strings.TrimRightFunc(s, func(r rune) bool { return r <= ' ' })
	i := 0
	for i < len(s) && !escaped(s[i]) && s[i] != '\'' {
		i++
	}
	if i == len(s) {
		return s
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	inQuery := false
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\t' || c == '\n' || c == '\r':
		case c == '\\' && !inQuery:
			b.WriteByte('/')
		case escaped(c) || c == '\'' && inQuery:
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		default:
			inQuery = inQuery || c == '?'
			b.WriteByte(c)
		}
	}
	return b.String()
}

// escaped reports whether c is in no URL.
func escaped(c byte) bool { return c <= ' ' || c > '~' || strings.IndexByte("\"#<>\\^`{}", c) >= 0 }
