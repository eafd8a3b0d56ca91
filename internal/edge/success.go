package edge

import (
	"net/http"
	"strconv"
	"time"

	"github.com/novasocial/imagetier/imagecache"
)

// Header values that never change. They are set as they are, under canonical keys: no
// value of them is ever changed in place.
var (
	acceptBytes    = []string{"bytes"}
	nosniff        = []string{"nosniff"}
	anyOrigin      = []string{"*"}
	varyAccept     = []string{"Accept"}
	pinnedControl  = []string{"public, max-age=31536000, immutable"}
	closeAfterward = []string{"close"}
)

// answer sends img, a part of it, or word that the client has it already.
func (x *exchange) answer(img *imagecache.Image) {
	now := x.start
	if img.Fresh.Pinned() {
		// Nothing below depends on the time.
	} else if now = x.Now(); now.Before(img.Fresh.Generated) {
		now = img.Fresh.Generated // clocks differ; no Age is negative
	}
	current := validators{etag: img.ETag, modified: img.LastModified, strongDate: img.Fresh.Pinned() || now.Sub(img.LastModified) >= time.Second}
	verdict := precondition(x.r.Header, current)
	if verdict == preconditionFailed {
		x.refuse(errPrecondition)
		return
	}
	body, status := img.Body, http.StatusOK
	var contentRange string
	if verdict == notModified {
		body, status = nil, http.StatusNotModified
	} else if lines := x.r.Header["Range"]; len(lines) > 0 && x.r.Method == http.MethodGet && ifRange(x.r.Header, current) {
		part, kind := parseRange(lines, int64(len(body)))
		switch kind {
		case rangeUnsatisfiable:
			x.w.Header()["Content-Range"] = []string{"bytes */" + strconv.Itoa(len(body))}
			x.refuse(errRange)
			return
		case rangePart:
			contentRange = part.contentRange(int64(len(body)))
			body, status = body[part.first:part.last+1], http.StatusPartialContent
		}
	}
	var conn *limitedConn
	if x.r.Method == http.MethodGet && len(body) >= gatherFrom {
		conn = connOf(x.r)
	}
	x.headers(img, status, now, len(body), contentRange, conn)
	x.send(status, body, conn)
}

// headers sets those of a 200, 206 or 304 (CONTRACT 2), on conn if it is not nil. A 304 has
// those that RFC 9110 (15.4.5) asks for and those that a browser takes over into what it
// has stored.
func (x *exchange) headers(img *imagecache.Image, status int, now time.Time, length int, contentRange string, conn *limitedConn) {
	f := fieldsOf(x.w.Header(), conn)
	own := x.ownText(img, status, length) // one allocation for what is written anew for each
	if status != http.StatusNotModified {
		contentType := img.ContentType
		if contentType == "" {
			contentType = "application/octet-stream"
		}
		f.set("Content-Type", contentType)
		f.keep("Content-Length", own.length)
		if own.modified != "" {
			f.set("Last-Modified", own.modified)
		}
		f.share("Accept-Ranges", acceptBytes)
		if contentRange != "" {
			f.set("Content-Range", contentRange)
		}
	}
	if img.ETag != "" {
		f.set("Etag", img.ETag)
	}
	f.set("X-Request-Id", x.id)
	if own.tag != "" {
		f.set(x.TagHeader, own.tag)
	}
	if img.Fresh.Pinned() {
		f.share("Cache-Control", pinnedControl)
	} else {
		f.set("Cache-Control", liveControl(img.Fresh))
		f.set("Age", strconv.FormatInt(seconds(now.Sub(img.Fresh.Generated)), 10))
	}
	if value := x.cacheStatus(); value != nil {
		f.share("Cache-Status", value)
	}
	if x.vary {
		f.share("Vary", varyAccept)
	}
	f.shareImageFields()
	x.hangUpOnBody(f.h)
}

// ownText is what headers writes anew for each answer; "" is none.
type ownText struct{ length, modified, tag string }

// ownText writes all of it into one string.
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
		b = x.of.AppendCDNTag(b)
	}
	text := string(b)
	return ownText{text[:digits], text[digits:date], text[date:]}
}

// liveControl is the Cache-Control of what is not pinned: the freshness that the origin
// (or, where it was silent, the configuration) gave it, from the moment of Generated. Age
// says how much of it is gone, so a cache on the way counts nothing twice.
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

// seconds are whole ones, towards zero.
func seconds(d time.Duration) int64 { return int64(d / time.Second) }
