// Package objectname has the rules for the names of originals, by kind of source. Sources refuse
// other names, and package profile makes no URL with such a name.
package objectname

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"
)

// ErrName means that the name is not valid for its source: "..", an empty segment, a NUL.
var ErrName = errors.New("invalid name of an original")

// Error is returned for an invalid name. It wraps ErrName, and What may be shown to a client.
type Error struct {
	What string // "contains a NUL"
}

func (e *Error) Error() string { return ErrName.Error() + ": " + e.What }

// Unwrap returns ErrName.
func (e *Error) Unwrap() error { return ErrName }

// Kind is the kind of a source.
type Kind uint8

// Kinds of sources. Unknown is a directory or a bucket.
const (
	Unknown Kind = iota
	Dir
	S3
	HTTP
)

// String returns "dir", "s3", "http", or "" for Unknown.
func (k Kind) String() string { return [...]string{"", "dir", "s3", "http"}[k] }

// Check returns an error that wraps ErrName if a source of this kind refuses name. For Unknown,
// these are the names that a directory or a bucket refuses.
func (k Kind) Check(name string) error {
	switch k {
	case Dir:
		return checkPath(name)
	case S3:
		return checkKey(name)
	case HTTP:
		return checkTarget(name)
	}
	return errors.Join(checkPath(name), checkKey(name))
}

// checkPath refuses names that are not safe as paths: an empty name, a NUL, and empty, "." and ".."
// segments between slashes.
func checkPath(name string) error {
	if strings.IndexByte(name, 0) >= 0 {
		return &Error{"contains a NUL"}
	}
	for segment := range strings.SplitSeq(name, "/") {
		switch segment {
		case "":
			return &Error{"empty segment"}
		case ".", "..":
			return &Error{fmt.Sprintf("segment %q", segment)}
		}
	}
	return nil
}

// checkKey refuses text that cannot be a key of S3, and keys that a server which stores objects in
// files could resolve to a file outside of the bucket's prefix. Empty segments are allowed.
func checkKey(name string) error {
	switch {
	case name == "":
		return &Error{"empty"}
	case !utf8.ValidString(name):
		return &Error{"not UTF-8"}
	case strings.IndexByte(name, 0) >= 0:
		return &Error{"contains a NUL"}
	}
	for segment := range strings.SplitSeq(name, "/") {
		if segment == "." || segment == ".." {
			return &Error{fmt.Sprintf("segment %q", segment)}
		}
	}
	return nil
}

// checkTarget refuses names that are not a path and query of RFC 3986 ("[", "]" and "|" are allowed
// too, since browsers do not encode them), and names that some server on the way could take for a
// path outside of the base: with ".", ".." or empty segments or a NUL, in any spelling
// (percent-encoded, between encoded slashes or backslashes, before a ";").
func checkTarget(name string) error {
	path, query, _ := strings.Cut(name, "?")
	if err := checkSpelling(path, ""); err != nil {
		return err
	}
	if err := checkSpelling(query, "?"); err != nil {
		return err
	}
	if err := checkPath(path); err != nil {
		return err
	}
	// Each server on the way may decode once more.
	for range 4 {
		if err := checkDecoded(path); err != nil {
			return err
		}
		decoded, err := url.PathUnescape(path)
		if err != nil || decoded == path {
			break
		}
		path = decoded
	}
	return nil
}

func checkDecoded(path string) error {
	if strings.IndexByte(path, 0) >= 0 {
		return &Error{"contains a NUL"}
	}
	for segment := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '/' || r == '\\' }) {
		segment, _, _ = strings.Cut(segment, ";") // path parameters: "..;x" is ".." to some
		if segment == "." || segment == ".." {
			return &Error{fmt.Sprintf("segment %q", segment)}
		}
	}
	return nil
}

// checkSpelling refuses characters that are not allowed in a path (RFC 3986, 3.3). extra
// is "?" for a query (3.4).
func checkSpelling(s, extra string) error {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '%':
			if i+2 >= len(s) || !hex(s[i+1]) || !hex(s[i+2]) {
				return &Error{"% without two hex digits"}
			}
			i += 2
		case strings.IndexByte("-._~!$&'()*+,;=:@/[]|"+extra, c) >= 0:
		default:
			return &Error{fmt.Sprintf("%q must be percent-encoded", c)}
		}
	}
	return nil
}

func hex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
