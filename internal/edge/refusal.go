package edge

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/fill"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/resize"
)

// refusal is what an error looks like from outside.
type refusal struct {
	err     error
	status  int
	control string // Cache-Control
	level   slog.Level
	detail  string // what the client reads; "" is the error's own text, which is meant for it
}

type refusals []refusal

// Who may keep a refusal. Nobody keeps what the next try could answer otherwise; what is
// wrong with the URL or the original is kept for as long as it takes to mend.
const (
	byNobody     = "no-store"
	forAMinute   = "public, max-age=60"
	forFiveMin   = "public, max-age=300"
	forAMoment   = "" // Config.NegativeTTL
	detailFailed = "The tier failed to answer. Try again."
	detailSource = "There is no source of that name."
)

// The one table error → answer (CONTRACT 2). An error is the first row that errors.Is
// finds in it, so what is more exact stands above what it is wrapped with: an origin that
// was too slow is both too slow and unavailable.
var table = refusals{
	{imageurl.ErrSignature, http.StatusForbidden, byNobody, slog.LevelDebug, "The signature of this URL is missing, wrong, or of a key that is no longer live."},
	{errOriginals, http.StatusForbidden, byNobody, slog.LevelDebug, "This source does not hand out originals."},
	{imageurl.ErrNotImage, http.StatusNotFound, forAMoment, slog.LevelDebug, "There is nothing at this path: images are below /i/."},
	{errMethod, http.StatusMethodNotAllowed, byNobody, slog.LevelDebug, "Only GET and HEAD are answered."},
	{errRange, http.StatusRequestedRangeNotSatisfiable, byNobody, slog.LevelDebug, "The image has no such bytes; Content-Range says how many it has."},
	{errPrecondition, http.StatusPreconditionFailed, byNobody, slog.LevelDebug, "The image is not the one that If-Match or If-Unmodified-Since asks for."},

	{imageurl.ErrSyntax, http.StatusBadRequest, forAMinute, slog.LevelDebug, ""},
	{errSource, http.StatusBadRequest, forAMinute, slog.LevelDebug, detailSource},
	{fill.ErrSource, http.StatusBadRequest, forAMinute, slog.LevelWarn, detailSource}, // edge and fill were told of different sources
	{errWatermark, http.StatusBadRequest, forAMinute, slog.LevelDebug, "There is no watermark of that name."},
	{resize.ErrSpec, http.StatusBadRequest, forAMinute, slog.LevelInfo, "This shape or format cannot be made here."},
	{origin.ErrName, http.StatusBadRequest, forAMinute, slog.LevelDebug, "The source can have no original of that name."},

	{imagecache.ErrTakenDown, http.StatusUnavailableForLegalReasons, forFiveMin, slog.LevelDebug, "This image was taken down."},
	{origin.ErrNotFound, http.StatusNotFound, forAMoment, slog.LevelDebug, "There is no such original."},
	{origin.ErrChanged, http.StatusNotFound, forAMoment, slog.LevelDebug, "There is no such version of the original."},
	{origin.ErrTooLarge, http.StatusRequestEntityTooLarge, forAMinute, slog.LevelInfo, "The original has more bytes than are allowed."},
	{resize.ErrTooLarge, http.StatusRequestEntityTooLarge, forAMinute, slog.LevelInfo, "The original has more bytes, pixels or frames, or a longer side, than is allowed."},
	{resize.ErrUnsupported, http.StatusUnsupportedMediaType, forAMinute, slog.LevelInfo, "The original is no image of a kind that is allowed."},
	{resize.ErrCorrupt, http.StatusUnprocessableEntity, forAMinute, slog.LevelInfo, "The original is broken or cut short."},

	{origin.ErrBusy, http.StatusServiceUnavailable, byNobody, slog.LevelWarn, "Too much is being fetched right now. Try again."},
	{resize.ErrBusy, http.StatusServiceUnavailable, byNobody, slog.LevelWarn, "Too much is being resized right now. Try again."},
	{resize.ErrTimeout, http.StatusGatewayTimeout, byNobody, slog.LevelWarn, "Making the image took too long."},
	{context.DeadlineExceeded, http.StatusGatewayTimeout, byNobody, slog.LevelWarn, "Fetching or making the image took too long."},
	{origin.ErrDenied, http.StatusBadGateway, byNobody, slog.LevelWarn, "The origin did not hand out the original."},
	{origin.ErrUnavailable, http.StatusBadGateway, byNobody, slog.LevelWarn, "The origin did not answer as it should."},
	// Cancelled, and the client is still there: the tier is closing.
	{context.Canceled, http.StatusServiceUnavailable, byNobody, slog.LevelWarn, "The tier is shutting down. Try again."},
	{resize.ErrFailed, http.StatusInternalServerError, byNobody, slog.LevelError, detailFailed},
}

var (
	// unknown is the row of an error that no row names: a fault of ours.
	unknown = refusal{nil, http.StatusInternalServerError, byNobody, slog.LevelError, detailFailed}
	// gone is the row of a client that hung up. It is written all the same: one that
	// closed only its half of the connection must not take silence for an empty 200.
	gone = refusal{nil, StatusClientGone, byNobody, slog.LevelDebug, "The client closed the request."}
)

// newRefusals returns the table with what is configured about it filled in.
func newRefusals(negativeTTL time.Duration) refusals {
	rows := append(refusals(nil), table...)
	for i := range rows {
		if rows[i].control == forAMoment {
			rows[i].control = "public, max-age=" + strconv.FormatInt(seconds(negativeTTL), 10)
		}
	}
	return rows
}

// of returns the row of err, met while serving a request with ctx.
func (rows refusals) of(ctx context.Context, err error) *refusal {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return &gone
	}
	for i := range rows {
		if errors.Is(err, rows[i].err) {
			return &rows[i]
		}
	}
	return &unknown
}

// problem is the body of a refusal (RFC 9457). Its type is about:blank: the status says
// it all to a program, and detail to a person.
type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	RequestID string `json:"request_id"`
}

// refuse answers err by its row. Nothing of err's text goes out but that of ErrSyntax,
// which repeats what the client sent.
func (x *exchange) refuse(err error) {
	row := x.refusals.of(x.r.Context(), err)
	x.err = err
	detail := row.detail
	var missing *resize.Missing
	switch {
	case errors.As(err, &missing):
		detail = "This cannot be made here yet: " + missing.What + "."
	case detail == "":
		detail = err.Error()
	}
	h := x.w.Header()
	h["Cache-Control"] = []string{row.control}
	h["Access-Control-Allow-Origin"] = anyOrigin // a page may read why it gets no image
	if value := x.cacheStatus(); value != nil {
		h["Cache-Status"] = value
	}
	if x.TagHeader != "" && x.of.Source != "" && row.control != byNobody {
		h[x.TagHeader] = []string{x.of.CDNTag()}
	}
	if x.vary {
		h["Vary"] = varyAccept
	}
	switch row.status {
	case http.StatusMethodNotAllowed:
		h["Allow"] = []string{"GET, HEAD"}
	case http.StatusServiceUnavailable:
		h["Retry-After"] = []string{retryAfter(err)}
	}
	x.hangUpOnBody(h)
	x.send(row.status, problemBody(h, row.status, detail, x.id), nil)
}

// problemBody makes a problem and sets the headers that describe it.
func problemBody(h http.Header, status int, detail, id string) []byte {
	title := http.StatusText(status)
	if status == StatusClientGone {
		title = "Client Closed Request"
	}
	body, err := json.Marshal(problem{"about:blank", title, status, detail, id})
	if err != nil {
		panic(err) // strings and a number always have a JSON
	}
	body = append(body, '\n')
	h["Content-Type"] = []string{"application/problem+json"}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	h["X-Content-Type-Options"] = nosniff
	h["X-Request-Id"] = []string{id}
	return body
}

// retryAfter is in seconds: what the origin asked for, at most a minute, or else 1 or 2,
// so that those who were refused together do not come back together.
func retryAfter(err error) string {
	var busy *origin.Busy
	if errors.As(err, &busy) && busy.RetryAfter > 0 {
		whole := int64((busy.RetryAfter + time.Second - 1) / time.Second)
		return strconv.FormatInt(min(whole, 60), 10)
	}
	return strconv.Itoa(1 + rand.IntN(2))
}
