package images

import (
	"math"
	"strconv"
	"strings"
)

type rangeKind uint8

const (
	rangeWhole         rangeKind = iota // no valid range: the whole body is sent
	rangePart                           // one part
	rangeUnsatisfiable                  // 416
)

// byteRange is a part of a body, both ends included.
type byteRange struct{ first, last int64 }

// parseRange reads the Range header of a body of size bytes, at least 1 (RFC 9110, 14.2).
//
// One range is served. For several the whole body is sent, as RFC 9110 allows, so that a client
// cannot request a hundred overlapping parts. A header that is malformed, or in a unit other than
// bytes, is ignored.
func parseRange(lines []string, size int64) (byteRange, rangeKind) {
	if len(lines) != 1 {
		return byteRange{}, rangeWhole
	}
	unit, set, ok := strings.Cut(trimSpace(lines[0]), "=")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return byteRange{}, rangeWhole
	}
	from, to, ok := strings.Cut(trimSpace(set), "-")
	first, fromOK := position(from)
	last, toOK := position(to)
	switch {
	case !ok || (from != "" && !fromOK) || (to != "" && !toOK) || from == "" && to == "":
		return byteRange{}, rangeWhole
	case from == "": // suffix length
		if last == 0 {
			return byteRange{}, rangeUnsatisfiable
		}
		return byteRange{max(0, size-last), size - 1}, rangePart
	case to == "":
		last = size - 1
	case last < first:
		return byteRange{}, rangeWhole
	}
	if first >= size {
		return byteRange{}, rangeUnsatisfiable
	}
	return byteRange{first, min(last, size-1)}, rangePart
}

// position parses digits only. Numbers beyond int64 become math.MaxInt64, which exceeds every body.
func position(s string) (int64, bool) {
	if s == "" {
		return 0, false
	}
	n := int64(0)
	for i := range len(s) {
		d := int64(s[i]) - '0'
		if d < 0 || d > 9 {
			return 0, false
		}
		if n > (math.MaxInt64-d)/10 {
			n = math.MaxInt64
			continue
		}
		n = n*10 + d
	}
	return n, true
}

// contentRange is the value of Content-Range for the part of a body of size bytes.
func (r byteRange) contentRange(size int64) string {
	b := make([]byte, 0, 48)
	b = append(b, "bytes "...)
	b = strconv.AppendInt(b, r.first, 10)
	b = strconv.AppendInt(append(b, '-'), r.last, 10)
	b = strconv.AppendInt(append(b, '/'), size, 10)
	return string(b)
}
