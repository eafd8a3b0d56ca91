package images

import (
	"strings"

	"github.com/novasocial/imagetier/resize"
)

// negotiate returns the format for a client that requests auto: AVIF if its Accept lists image/avif
// with q > 0, else WebP if it lists image/webp with q > 0, else JPEG. image/* counts for neither,
// since every client sends it. An Accept that is invalid by RFC 9110, 12.5.1 lists nothing.
func negotiate(accept []string) resize.Format {
	avif, webp := false, false
	for _, line := range accept {
		for rest := line; rest != ""; {
			var el mediaRange
			var ok bool
			if el, rest, ok = nextMediaRange(rest); !ok {
				return resize.JPEG
			}
			if el.refused {
				continue
			}
			avif = avif || strings.EqualFold(el.name, "image/avif")
			webp = webp || strings.EqualFold(el.name, "image/webp")
		}
	}
	switch {
	case avif:
		return resize.AVIF
	case webp:
		return resize.WebP
	}
	return resize.JPEG
}

// mediaRange is one element of Accept. Its name is empty for an empty element, which lists may have.
type mediaRange struct {
	name    string // type/subtype
	refused bool   // q=0
}

// nextMediaRange splits one element of Accept, and the comma after it, off the front of s.
func nextMediaRange(s string) (el mediaRange, rest string, ok bool) {
	s = strings.TrimLeft(s, " \t")
	if s == "" || s[0] == ',' {
		return el, strings.TrimPrefix(s, ","), true
	}
	n := tokenLen(s)
	if n == 0 || n == len(s) || s[n] != '/' {
		return el, "", false
	}
	m := tokenLen(s[n+1:])
	if m == 0 {
		return el, "", false
	}
	el.name, s = s[:n+1+m], s[n+1+m:]
	weighed := false
	for {
		s = strings.TrimLeft(s, " \t")
		if s == "" || s[0] == ',' {
			return el, strings.TrimPrefix(s, ","), true
		}
		if s[0] != ';' {
			return el, "", false
		}
		s = strings.TrimLeft(s[1:], " \t")
		if s == "" || s[0] == ',' || s[0] == ';' {
			continue // an empty parameter, which is allowed
		}
		var name, value string
		if name, value, s, ok = nextParameter(s); !ok {
			return el, "", false
		}
		if name != "q" && name != "Q" {
			continue
		}
		zero, legal := weight(value)
		if !legal || weighed {
			return el, "", false
		}
		weighed, el.refused = true, zero
	}
}

// nextParameter splits name=value off the front of s. A quoted value keeps its quotes.
func nextParameter(s string) (name, value, rest string, ok bool) {
	n := tokenLen(s)
	if n == 0 || n == len(s) || s[n] != '=' {
		return "", "", "", false
	}
	name, s = s[:n], s[n+1:]
	m := tokenLen(s)
	if m == 0 {
		m = quotedLen(s)
	}
	return name, s[:m], s[m:], m > 0
}

// weight reads a qvalue (RFC 9110, 12.4.2): at most 1, with up to three decimals.
func weight(q string) (zero, ok bool) {
	if len(q) < 1 || len(q) > 5 || q[0] != '0' && q[0] != '1' || len(q) > 1 && q[1] != '.' {
		return false, false
	}
	zero = q[0] == '0'
	for i := 2; i < len(q); i++ {
		switch {
		case q[i] < '0' || q[i] > '9' || q[0] == '1' && q[i] != '0':
			return false, false
		case q[i] != '0':
			zero = false
		}
	}
	return zero, true
}

// tokenLen returns how many bytes at the front of s are a token (RFC 9110, 5.6.2).
func tokenLen(s string) int {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return i
		}
	}
	return len(s)
}

// quotedLen returns how many bytes at the front of s are a quoted string (RFC 9110,
// 5.6.4), 0 if s does not begin with one.
func quotedLen(s string) int {
	if s == "" || s[0] != '"' {
		return 0
	}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			if i++; i == len(s) || !quotable(s[i]) {
				return 0
			}
		case !quotable(c):
			return 0
		}
	}
	return 0
}

func quotable(c byte) bool { return c == '\t' || c >= ' ' && c != 0x7f }
