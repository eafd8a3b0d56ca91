package s3origin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/origin/rfc9111"
)

// explain wraps an error of GetObject or HeadObject in its sentinel, by the S3 error code
// if there is one and else by the status.
func (s *Source) explain(ctx context.Context, err error, cond origin.Cond, requested, received time.Time) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	var answer *awshttp.ResponseError
	if !errors.As(err, &answer) || answer.Response == nil || answer.Response.Response == nil {
		return fmt.Errorf("%w: %w", origin.ErrUnavailable, err) // no answer, or no credentials
	}
	header := answer.Response.Header
	if answer.HTTPStatusCode() == http.StatusNotModified {
		return notModified(header, cond, requested, received)
	}
	code := ""
	var api smithy.APIError
	if errors.As(err, &api) {
		code = api.ErrorCode()
	}
	sentinel := s.sentinel(answer.HTTPStatusCode(), code, header, cond)
	return fmt.Errorf("%w: status %d, %.100s, request id %.100s",
		sentinel, answer.HTTPStatusCode(), code, answer.ServiceRequestID())
}

func notModified(header http.Header, cond origin.Cond, requested, received time.Time) error {
	etag := header.Get("ETag")
	if cond.NoneMatch == "" && cond.ModifiedSince.IsZero() {
		return fmt.Errorf("%w: status 304 for an unconditional request", origin.ErrUnavailable)
	}
	if etag != "" && cond.NoneMatch != "" && !origin.SameETag(etag, cond.NoneMatch) {
		return fmt.Errorf("%w: status 304 for another entity tag", origin.ErrUnavailable)
	}
	nm := &origin.NotModified{ETag: cond.NoneMatch, Fresh: rfc9111.Revalidated(metadata(header, requested, received))}
	if origin.ValidETag(etag) {
		nm.ETag = etag
	}
	nm.LastModified, _ = http.ParseTime(header.Get("Last-Modified"))
	return nm
}

// sentinel maps S3's error codes (S3 API reference, "Error responses") and statuses to
// sentinels.
func (s *Source) sentinel(status int, code string, header http.Header, cond origin.Cond) error {
	switch {
	case isCode(code, "NoSuchBucket"):
		return origin.ErrUnavailable // a wrong configuration, not a missing original
	case isCode(code, "KeyTooLongError", "InvalidURI", "XMinioInvalidObjectName"):
		return origin.ErrName
	case isCode(code, "ExpiredToken", "InvalidToken", "TokenRefreshRequired"):
		return origin.ErrDenied // some of them come with 400
	case isCode(code, "SlowDown", "ServiceUnavailable", "TooManyRequests", "RequestLimitExceeded"):
		return busy(header)
	}
	switch status {
	case http.StatusNotFound:
		return origin.ErrNotFound // NoSuchKey, NoSuchVersion; also a delete marker
	case http.StatusMethodNotAllowed:
		if header.Get("x-amz-delete-marker") == "true" {
			return origin.ErrNotFound // the requested version is a delete marker
		}
	case http.StatusBadRequest:
		if cond.VersionID != "" && isCode(code, "InvalidArgument", "NoSuchVersion", "InvalidVersionId") {
			return origin.ErrNotFound // malformed as a version id of this store
		}
	case http.StatusPreconditionFailed:
		return origin.ErrChanged
	case http.StatusForbidden:
		if s.cfg.MissingIs403 && isCode(code, "AccessDenied", "AllAccessDisabled", "Forbidden") {
			return origin.ErrNotFound
		}
		return origin.ErrDenied
	case http.StatusUnauthorized:
		return origin.ErrDenied
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return busy(header)
	}
	return origin.ErrUnavailable
}

func busy(header http.Header) error {
	after, err := strconv.ParseUint(header.Get("Retry-After"), 10, 16)
	if err != nil {
		after = 0
	}
	return &origin.Busy{RetryAfter: time.Duration(after) * time.Second}
}
