package rewrite

import (
	"unicode/utf16"
	"unicode/utf8"
)

// appendUnquoted appends the text of raw, the inside of a JSON string. ok is false if raw is invalid
// JSON or not Unicode: an unpaired surrogate or invalid UTF-8.
func appendUnquoted(dst, raw []byte) (text []byte, ok bool) {
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			c, n := utf8.DecodeRune(raw[i:])
			if c == utf8.RuneError && n == 1 {
				return dst, false
			}
			dst = append(dst, raw[i:i+n]...)
			i += n
			continue
		}
		if i+1 == len(raw) {
			return dst, false
		}
		switch c := raw[i+1]; c {
		case '"', '\\', '/':
			dst = append(dst, c)
		case 'b', 'f', 'n', 'r', 't':
			dst = append(dst, map[byte]byte{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}[c])
		case 'u':
			c, ok := hex4(raw[i:])
			if !ok {
				return dst, false
			}
			i += 4
			if utf16.IsSurrogate(c) {
				low, ok := hex4(raw[i+2:])
				if c = utf16.DecodeRune(c, low); !ok || c == utf8.RuneError {
					return dst, false
				}
				i += 6
			}
			dst = utf8.AppendRune(dst, c)
		default:
			return dst, false
		}
		i += 2
	}
	return dst, true
}

// hex4 parses \uXXXX.
func hex4(raw []byte) (c rune, ok bool) {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return 0, false
	}
	for _, digit := range raw[2:6] {
		switch {
		case '0' <= digit && digit <= '9':
			digit -= '0'
		case 'a' <= digit && digit <= 'f':
			digit -= 'a' - 10
		case 'A' <= digit && digit <= 'F':
			digit -= 'A' - 10
		default:
			return 0, false
		}
		c = c<<4 | rune(digit)
	}
	return c, true
}

// appendQuoted appends text as the inside of a JSON string.
func appendQuoted(dst []byte, text string) []byte {
	const hex = "0123456789abcdef"
	from := 0 // text[from:i] needs no escape
	for i := range len(text) {
		c := text[i]
		if plainByte[c] {
			continue
		}
		dst = append(dst, text[from:i]...)
		if from = i + 1; c == '"' || c == '\\' {
			dst = append(dst, '\\', c)
		} else {
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(dst, text[from:]...)
}
