// Package httpapi has what the public handler (images) and the private API (admin) share:
// the configured sources and watermarks, and the id of a request. The handlers, their error
// table (problem) and the console are the packages below it.
package httpapi

import (
	"math/rand/v2"
	"strings"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/httpapi/problem"
	"github.com/novasocial/imagetier/resize"
)

// Catalog is what of the configuration decides whether a URL is answered.
type Catalog struct {
	Sources    map[string]Source      // by name; any other name is answered 400
	Watermarks *imagecache.Watermarks // any other name is answered 400
}

// Source is a configured source.
type Source struct {
	Originals bool // shape orig is allowed, which hands out GPS coordinates too
}

// Check returns the problem error of a ref that this configuration does not answer.
func (c *Catalog) Check(ref imageurl.Ref) error {
	spec := ref.Spec()
	source, known := c.Sources[ref.Source()]
	switch {
	case !known:
		return problem.ErrSource
	case spec.Watermark != "" && !c.Watermarks.Has(spec.Watermark):
		return problem.ErrWatermark
	case spec.Shape == resize.ShapeOriginal && !source.Originals:
		return problem.ErrOriginals
	}
	return nil
}

// PathOf returns the raw path of a request target or URL, without its query: signatures
// cover these bytes, and %2e is another spelling of a dot. Of an absolute URL
// (http://host/path, RFC 9112, 3.2.2) it is what follows the authority, or "/".
func PathOf(target string) string {
	if target != "" && target[0] != '/' {
		if _, rest, ok := strings.Cut(target, "://"); ok {
			end := strings.IndexAny(rest, "/?")
			if end < 0 || rest[end] == '?' {
				return "/"
			}
			target = rest[end:]
		}
	}
	path, _, _ := strings.Cut(target, "?")
	return path
}

// maxRequestID is the maximum length of an X-Request-Id that is accepted, in bytes.
const maxRequestID = 64

// RequestID returns the id that correlates the logs of every hop of a request: the X-Request-Id
// that a proxy or client sent, given as its header lines, if it is 1-64 of A-Z a-z 0-9 . _ -, which need no escaping
// anywhere; otherwise 64 random bits in hexadecimal. It is not a secret and proves nothing.
func RequestID(given []string) string {
	if len(given) == 1 && plainID(given[0]) {
		return given[0]
	}
	const digits = "0123456789abcdef"
	var id [16]byte
	bits := rand.Uint64()
	for i := range id {
		id[i] = digits[bits&15]
		bits >>= 4
	}
	return string(id[:])
}

func plainID(id string) bool {
	if len(id) < 1 || len(id) > maxRequestID {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}
