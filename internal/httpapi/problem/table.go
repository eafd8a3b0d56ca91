package problem

import (
	"context"
	"errors"
	"log/slog"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/fill"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/fleet"
	"github.com/novasocial/imagetier/internal/guard"
	"github.com/novasocial/imagetier/internal/inflight"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/prefetch/service"
	"github.com/novasocial/imagetier/resize"
)

// Errors of the handlers themselves. Their texts go to logs; clients read the table's.
var (
	ErrMethod       = errors.New("method is neither GET nor HEAD")
	ErrBody         = errors.New("request has a body")
	ErrSource       = errors.New("no such source")
	ErrWatermark    = errors.New("no such watermark")
	ErrOriginals    = errors.New("source does not serve originals")
	ErrPrecondition = errors.New("precondition failed")
	ErrRange        = errors.New("range not satisfiable")
	ErrEmpty        = errors.New("cache returned an image without a body")
	ErrStreams      = errors.New("too many HTTP/2 requests at once")
)

// Errors of the private API. [Errorf] gives most of them a detail.
var (
	ErrRequest     = errors.New("invalid request")
	ErrPath        = errors.New("nothing at this path")
	ErrNoMethod    = errors.New("method not answered at this path")
	ErrToken       = guard.ErrToken
	ErrTokenUnset  = guard.ErrTokenUnset
	ErrCrossSite   = guard.ErrCrossSite
	ErrHost        = guard.ErrHost
	ErrBodyLarge   = errors.New("request body too large")
	ErrBodySlow    = errors.New("request body too slow")
	ErrEncoding    = errors.New("request body is encoded")
	ErrPurge       = errors.New("purge incomplete")
	ErrTakedown    = errors.New("takedown incomplete")
	ErrLift        = errors.New("lifting a takedown failed")
	ErrNotDown     = errors.New("not taken down")
	ErrTag         = errors.New("unknown tag")
	ErrNotReady    = errors.New("not ready")
	ErrConcurrency = errors.New("too many requests of this kind at once")
	// ErrConfirmation: SNS could not be asked to confirm a subscription.
	ErrConfirmation = errors.New("subscription not confirmed")
)

// How long an error may be cached. Errors that the next attempt may not meet are not cached; faults
// of the URL or the original are cached for as long as a fix takes.
const (
	noStore     = "no-store"
	minute      = "public, max-age=60"
	fiveMinutes = "public, max-age=300"
	negative    = "" // NegativeTTL of the configuration
)

const (
	detailInternal = "The tier failed to answer. Try again."
	detailSource   = "There is no source of that name."
)

// public maps errors of the image path to answers. The first row that errors.Is finds in an error applies, so
// a more specific error stands above what it is wrapped with: an origin timeout is both a
// deadline and an unavailable origin.
var public = Table{
	{imageurl.ErrExpired, 403, "url_expired", noStore, slog.LevelDebug,
		"This URL has expired. Request a new one from the service that issued it."},
	{imageurl.ErrSignature, 403, "signature_invalid", noStore, slog.LevelDebug,
		"The signature of this URL is missing, wrong, or made with a retired key."},
	{ErrOriginals, 403, "originals_not_allowed", noStore, slog.LevelDebug, "This source does not serve originals."},
	{imageurl.ErrNotImage, 404, "path_unknown", negative, slog.LevelDebug,
		"There is nothing at this path: images are below /i/."},
	{ErrMethod, 405, "method_not_allowed", noStore, slog.LevelDebug, "Only GET and HEAD are allowed."},
	{ErrBody, 413, "body_not_allowed", noStore, slog.LevelDebug,
		"Requests for images must not have a body; this one announces one (Content-Length or Transfer-Encoding)."},
	{ErrRange, 416, "range_not_satisfiable", noStore, slog.LevelDebug,
		"The requested range is outside the image; Content-Range has the size of the image."},
	{ErrPrecondition, 412, "precondition_failed", noStore, slog.LevelDebug,
		"The image does not match If-Match or If-Unmodified-Since."},

	{imageurl.ErrSyntax, 400, "url_invalid", minute, slog.LevelDebug, ""}, // the text repeats what the client sent
	{ErrSource, 400, "source_unknown", minute, slog.LevelDebug, detailSource},
	// The catalog and the filler were configured with different sources.
	{fill.ErrSource, 400, "source_not_configured", minute, slog.LevelWarn, detailSource},
	{ErrWatermark, 400, "watermark_unknown", minute, slog.LevelDebug, "There is no watermark of that name."},
	{resize.ErrSpec, 400, "spec_unsupported", minute, slog.LevelInfo, "This shape or format cannot be made here."},
	{origin.ErrName, 400, "name_invalid", minute, slog.LevelDebug, "The name is not valid in this source."},

	{imagecache.ErrTakenDown, 451, "taken_down", fiveMinutes, slog.LevelDebug, "This image was taken down."},
	{origin.ErrNotFound, 404, "original_not_found", negative, slog.LevelDebug, "There is no such original."},
	{origin.ErrChanged, 404, "version_not_found", negative, slog.LevelDebug,
		"There is no such version of the original."},
	{origin.ErrTooLarge, 413, "original_too_large", minute, slog.LevelInfo,
		"The original has more bytes than allowed."},
	{resize.ErrTooLarge, 413, "original_over_limits", minute, slog.LevelInfo,
		"The original or the image exceeds a limit."},
	{resize.ErrUnsupported, 415, "original_unsupported", minute, slog.LevelInfo,
		"Originals of this kind are not decoded."},
	{resize.ErrCorrupt, 422, "original_damaged", minute, slog.LevelInfo, "The original is broken or cut short."},

	{ErrStreams, 503, "requests_overloaded", noStore, slog.LevelWarn,
		"Too many HTTP/2 requests are being answered right now. Try again."},
	{inflight.ErrFull, 503, "memory_overloaded", noStore, slog.LevelWarn,
		"Too many large originals are being handled right now. Try again."},
	{origin.ErrBusy, 503, "origin_overloaded", noStore, slog.LevelWarn,
		"Too many originals are being fetched right now. Try again."},
	{resize.ErrBusy, 503, "resize_overloaded", noStore, slog.LevelWarn,
		"Too many images are being resized right now. Try again."},
	{resize.ErrTimeout, 504, "resize_timeout", noStore, slog.LevelWarn, "Making the image took too long."},
	{context.DeadlineExceeded, 504, "timeout", noStore, slog.LevelWarn, "Fetching or making the image took too long."},
	{origin.ErrRejected, 502, "origin_rejected", noStore, slog.LevelWarn,
		"The origin refused to serve this original."},
	{origin.ErrDenied, 502, "origin_denied", noStore, slog.LevelWarn, "The origin denied access to the original."},
	{origin.ErrUnavailable, 502, "origin_unavailable", noStore, slog.LevelWarn,
		"The origin failed, or its answer was invalid."},
	// Canceled although the client is still there: the tier is closing.
	{context.Canceled, 503, "shutting_down", noStore, slog.LevelWarn, "The tier is shutting down. Try again."},
	{resize.ErrFailed, 500, "resize_failed", noStore, slog.LevelError, detailInternal},
	{ErrEmpty, 500, "image_empty", noStore, slog.LevelError, detailInternal},
}

var (
	// internal is the row of an error that no row names: a bug or an unexpected fault.
	internal = Row{nil, 500, "internal", noStore, slog.LevelError, detailInternal}
	// clientGone is the row of a client that hung up. The answer is still written: a client that
	// closed only its half of the connection must not take silence for an empty 200.
	clientGone = Row{nil, StatusClientGone, "client_gone", noStore, slog.LevelDebug, "The client closed the request."}
)

// private has the rows of the private API. They come before the rows of the image path, because a
// purge that failed at its deadline is an incomplete purge in the first place.
var private = append(Table{
	{fleet.ErrOutboxFull, 503, "outbox_full", noStore, slog.LevelError,
		"The other nodes could not be reached for too long, and no more changes for them can be stored. " +
			"Restore the NATS cluster, then try again."},
	{ErrRequest, 400, "request_invalid", noStore, slog.LevelInfo, "The request is invalid."},
	{ErrToken, 401, "token_invalid", noStore, slog.LevelInfo,
		"This needs the header Authorization: Bearer with the admin token."},
	{ErrTokenUnset, 403, "token_not_configured", noStore, slog.LevelInfo,
		"No admin token is configured (--admin-token), so nothing can be changed here."},
	{ErrCrossSite, 403, "cross_site", noStore, slog.LevelInfo, "Pages of other sites may not send this request."},
	{ErrPath, 404, "endpoint_unknown", noStore, slog.LevelInfo, "There is nothing at this path."},
	{ErrTag, 404, "tag_unknown", noStore, slog.LevelInfo, "No original with that tag is known."},
	{ErrNotDown, 404, "not_taken_down", noStore, slog.LevelInfo, "That original is not taken down."},
	{ErrNoMethod, 405, "endpoint_method", noStore, slog.LevelInfo, "This method is not allowed at this path."},
	{ErrBodySlow, 408, "body_timeout", noStore, slog.LevelInfo, "The request body was not received in time."},
	{ErrBodyLarge, 413, "body_too_large", noStore, slog.LevelInfo, "The request body is too large."},
	{ErrEncoding, 415, "body_encoded", noStore, slog.LevelInfo,
		"Encoded bodies (Content-Encoding) are not supported here."},
	{ErrHost, 421, "host_unknown", noStore, slog.LevelInfo, "This listener does not accept that host name."},
	{ErrConcurrency, 429, "too_many_requests", noStore, slog.LevelInfo, "Too many requests at once. Try again."},
	{ErrPurge, 500, "purge_incomplete", noStore, slog.LevelError,
		"Not every tier could remove it, so it may still be served: repeat the purge."},
	{ErrTakedown, 500, "takedown_incomplete", noStore, slog.LevelError,
		"The takedown could not be stored durably, or the original could not be removed everywhere: repeat the takedown."},
	{ErrLift, 500, "lift_incomplete", noStore, slog.LevelError,
		"The takedown could not be lifted durably: repeat it."},
	{ErrConfirmation, 503, "subscription_unconfirmed", noStore, slog.LevelError,
		"The subscription could not be confirmed with SNS; the log says why. SNS will send this request again."},
	{ErrNotReady, 503, "not_ready", noStore, slog.LevelInfo, "Not ready."},

	// The queue of events and jobs.
	{service.ErrForged, 401, "event_signature_invalid", noStore, slog.LevelInfo, ""},
	{service.ErrTooLarge, 413, "event_too_large", noStore, slog.LevelInfo,
		"This event has more than the queue accepts at once: split it into several events."},
	{service.ErrInvalid, 422, "event_invalid", noStore, slog.LevelInfo, ""},
	{service.ErrQueueFull, 429, "queue_full", noStore, slog.LevelInfo, "The queue is full. Try again."},
	{
		service.ErrUnavailable,
		503,
		"queue_unavailable",
		noStore,
		slog.LevelError,
		"The queue cannot be written now. Try again.",
	},
}, public...)
