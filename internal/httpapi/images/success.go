package images

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/httpapi/problem"
	"github.com/novasocial/imagetier/internal/httpserver"
)

var (
	nameAge           = httpserver.NewName("Age")
	nameCacheControl  = httpserver.NewName("Cache-Control")
	nameCacheStatus   = httpserver.NewName("Cache-Status")
	nameContentRange  = httpserver.NewName("Content-Range")
	nameContentType   = httpserver.NewName("Content-Type")
	nameETag          = httpserver.NewName("Etag")
	nameLastModified  = httpserver.NewName("Last-Modified")
	nameRequestID     = httpserver.NewName("X-Request-Id")
	acceptRangesBytes = httpserver.NewField("Accept-Ranges", "bytes")
	pinnedField       = httpserver.NewField("Cache-Control", pinnedControl)
	varyAccept        = httpserver.NewField("Vary", "Accept")
)

const pinnedControl = "public, max-age=31536000, immutable"

// imageFields are the header fields that every image has.
var imageFields = httpserver.Join(
	httpserver.NewField("X-Content-Type-Options", "nosniff"),
	// Disarms SVG and HTML served as orig.
	httpserver.NewField("Content-Security-Policy", "default-src 'none'; sandbox"),
	httpserver.NewField("Cross-Origin-Resource-Policy", "cross-origin"),
	httpserver.NewField("Access-Control-Allow-Origin", "*"),
	httpserver.NewField("Timing-Allow-Origin", "*"),
)

// answer sends img, a range of it, or 304.
func (x *exchange) answer(img *imagecache.Image) {
	now := x.start
	if img.Fresh.Pinned() {
		// Nothing below depends on the time.
	} else if now = x.Now(); now.Before(img.Fresh.Generated) {
		now = img.Fresh.Generated // clocks differ; Age is never negative
	}
	current := validators{etag: img.ETag, modified: img.LastModified}
	verdict := precondition(x.r, current)
	if verdict == preconditionFailed {
		x.refuse(problem.ErrPrecondition)
		return
	}
	body, status := img.Body, http.StatusOK
	var contentRange string
	if verdict == notModified {
		body, status = nil, http.StatusNotModified
	} else if lines := x.r.Values("Range"); len(lines) > 0 && x.r.Method == http.MethodGet &&
		ifRange(x.r, current) {
		part, kind := parseRange(lines, int64(len(body)))
		switch kind {
		case rangeUnsatisfiable:
			x.refuse(problem.ErrRange, http.Header{"Content-Range": {"bytes */" + strconv.Itoa(len(body))}})
			return
		case rangePart:
			contentRange = part.contentRange(int64(len(body)))
			body, status = body[part.first:part.last+1], http.StatusPartialContent
		}
	}
	x.headers(img, status, now, contentRange)
	x.send(status, body)
}

// headers sets the header of a 200, 206 or 304. A 304 has the fields that RFC 9110, 15.4.5
// requires and those that browsers copy into the stored response.
func (x *exchange) headers(img *imagecache.Image, status int, now time.Time, contentRange string) {
	w := x.w
	if status != http.StatusNotModified {
		contentType := img.ContentType
		if contentType == "" {
			contentType = "application/octet-stream"
		}
		w.Set(nameContentType, contentType)
		if !img.LastModified.IsZero() {
			var buf [len(http.TimeFormat)]byte
			w.SetBytes(nameLastModified, img.LastModified.UTC().AppendFormat(buf[:0], http.TimeFormat))
		}
		w.SetField(acceptRangesBytes)
		if contentRange != "" {
			w.Set(nameContentRange, contentRange)
		}
	}
	if img.ETag != "" {
		w.Set(nameETag, img.ETag)
	}
	w.Set(nameRequestID, x.id)
	if x.TagHeader != "" {
		var buf [imagecache.CDNTagLen]byte
		w.SetBytes(x.handler.tagName, x.original.AppendCDNTag(buf[:0]))
	}
	switch {
	case img.Fresh.Pinned() && x.expires.IsZero():
		w.SetField(pinnedField)
	case img.Fresh.Pinned():
		w.Set(nameCacheControl, x.untilExpiry(pinnedControl))
	default:
		w.Set(nameCacheControl, x.untilExpiry(liveControl(img.Fresh)))
		w.SetDate(dateOf(img.Fresh))
		w.Set(nameAge, strconv.FormatInt(seconds(now.Sub(img.Fresh.Generated)), 10))
	}
	if value := x.cacheStatus(); value != "" {
		w.Set(nameCacheStatus, value)
	}
	if x.vary {
		w.SetField(varyAccept)
	}
	w.SetField(imageFields)
}

// liveControl is the Cache-Control of an unpinned response: its freshness lifetime, counted from
// Generated, as set by the origin or else by the configuration. Age is the part of it that has
// passed, so downstream caches do not count it twice.
func liveControl(f imagecache.Freshness) string {
	if f.NoStore {
		return "no-store"
	}
	b := make([]byte, 0, 96)
	b = append(b, "public, max-age="...)
	b = strconv.AppendInt(b, max(0, seconds(f.Until.Sub(f.Generated))), 10)
	if f.MustRevalidate {
		return string(append(b, ", must-revalidate"...))
	}
	if s := seconds(f.StaleWhileRevalidate); s > 0 {
		b = strconv.AppendInt(append(b, ", stale-while-revalidate="...), s, 10)
	}
	if s := seconds(f.StaleIfError); s > 0 {
		b = strconv.AppendInt(append(b, ", stale-if-error="...), s, 10)
	}
	return string(b)
}

// dateOf is the Date of an answer that is not pinned: its origin's, which a cache keeps, or
// when it was generated.
func dateOf(f imagecache.Freshness) string {
	date := f.Date
	if date.IsZero() {
		date = f.Generated
	}
	return date.UTC().Format(http.TimeFormat)
}

// untilExpiry limits max-age to the remaining lifetime of an expiring URL, without immutable and
// stale-*.
func (x *exchange) untilExpiry(control string) string {
	const public = "public, max-age="
	rest, ok := strings.CutPrefix(control, public)
	if x.expires.IsZero() || !ok {
		return control
	}
	digits, rest, _ := strings.Cut(rest, ",")
	age, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return "no-store"
	}
	control = public + strconv.FormatInt(max(0, min(age, seconds(x.expires.Sub(x.Now())))), 10)
	if strings.Contains(rest, "must-revalidate") {
		control += ", must-revalidate"
	}
	return control
}

// seconds truncates toward zero.
func seconds(d time.Duration) int64 { return int64(d / time.Second) }
