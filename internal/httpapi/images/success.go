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

// Header values that many responses share. They must not be changed in place.
var (
	acceptBytes   = []string{"bytes"}
	anyOrigin     = []string{"*"}
	varyAccept    = []string{"Accept"}
	pinnedControl = []string{"public, max-age=31536000, immutable"}
)

// imageFields are those of every image.
var imageFields = httpserver.NewFields(
	"X-Content-Type-Options", "nosniff",
	"Content-Security-Policy", "default-src 'none'; sandbox", // disarms SVG and HTML served as orig
	"Cross-Origin-Resource-Policy", "cross-origin",
	"Access-Control-Allow-Origin", "*",
	"Timing-Allow-Origin", "*",
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
	verdict := precondition(x.r.Header, current)
	if verdict == preconditionFailed {
		x.refuse(problem.ErrPrecondition)
		return
	}
	body, status := img.Body, http.StatusOK
	var contentRange string
	if verdict == notModified {
		body, status = nil, http.StatusNotModified
	} else if lines := x.r.Header["Range"]; len(lines) > 0 && x.r.Method == http.MethodGet &&
		ifRange(x.r.Header, current) {
		part, kind := parseRange(lines, int64(len(body)))
		switch kind {
		case rangeUnsatisfiable:
			x.w.Header()["Content-Range"] = []string{"bytes */" + strconv.Itoa(len(body))}
			x.refuse(problem.ErrRange)
			return
		case rangePart:
			contentRange = part.contentRange(int64(len(body)))
			body, status = body[part.first:part.last+1], http.StatusPartialContent
		}
	}
	resp := httpserver.NewResponse(x.w, x.r, len(body))
	x.headers(&resp, img, status, now, len(body), contentRange)
	x.send(status, body, &resp)
}

// headers sets the header of a 200, 206 or 304. A 304 has the fields that RFC 9110, 15.4.5
// requires and those that browsers copy into the stored response.
func (x *exchange) headers(
	resp *httpserver.Response,
	img *imagecache.Image,
	status int,
	now time.Time,
	length int,
	contentRange string,
) {
	own := x.ownText(img, status, length)
	if status != http.StatusNotModified {
		contentType := img.ContentType
		if contentType == "" {
			contentType = "application/octet-stream"
		}
		resp.Set("Content-Type", contentType)
		resp.SetContentLength(own.length)
		if own.modified != "" {
			resp.Set("Last-Modified", own.modified)
		}
		resp.SetShared("Accept-Ranges", acceptBytes)
		if contentRange != "" {
			resp.Set("Content-Range", contentRange)
		}
	}
	if img.ETag != "" {
		resp.Set("Etag", img.ETag)
	}
	resp.Set("X-Request-Id", x.id)
	if own.tag != "" {
		resp.Set(x.TagHeader, own.tag)
	}
	switch {
	case img.Fresh.Pinned() && x.expires.IsZero():
		resp.SetShared("Cache-Control", pinnedControl)
	case img.Fresh.Pinned():
		resp.Set("Cache-Control", x.untilExpiry(pinnedControl[0]))
	default:
		resp.Set("Cache-Control", x.untilExpiry(liveControl(img.Fresh)))
		resp.SetDate(dateOf(img.Fresh))
		resp.Set("Age", strconv.FormatInt(seconds(now.Sub(img.Fresh.Generated)), 10))
	}
	if value := x.cacheStatus(); value != nil {
		resp.SetShared("Cache-Status", value)
	}
	if x.vary {
		resp.SetShared("Vary", varyAccept)
	}
	resp.SetFields(imageFields)
}

// ownText are the header values that differ between responses; empty ones are absent.
type ownText struct{ length, modified, tag string }

// ownText formats it into one string: one allocation.
func (x *exchange) ownText(img *imagecache.Image, status, length int) (own ownText) {
	var buf [20 + len(http.TimeFormat) + imagecache.CDNTagLen]byte
	b := buf[:0]
	if status != http.StatusNotModified {
		b = strconv.AppendInt(b, int64(length), 10)
	}
	digits := len(b)
	if status != http.StatusNotModified && !img.LastModified.IsZero() {
		b = img.LastModified.UTC().AppendFormat(b, http.TimeFormat)
	}
	date := len(b)
	if x.TagHeader != "" {
		b = x.original.AppendCDNTag(b)
	}
	text := string(b)
	return ownText{text[:digits], text[digits:date], text[date:]}
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

// untilExpiry limits max-age to what is left of an expiring URL, without immutable and stale-*.
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
