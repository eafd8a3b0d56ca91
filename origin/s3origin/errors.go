package s3origin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/origin/rfc9111"
)

// answer is an error answer of the store.
type answer struct {
	status    int
	code      string // of the S3 API; "" if the answer has none, as that to a HEAD
	message   string
	requestID string
	header    http.Header
}

// explain wraps an error of GetObject, HeadObject or ListObjects in its sentinel.
func (s *Source) explain(ctx context.Context, err error, cond origin.Cond, requested, received time.Time) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	var raw *awshttp.ResponseError
	if !errors.As(err, &raw) || raw.Response == nil || raw.Response.Response == nil || raw.HTTPStatusCode() == 0 {
		var inURL *url.Error
		if !origin.IsSentinel(err) && errors.As(err, &inURL) {
			err = inURL.Err // without the URL, which names the host
		}
		return origin.NoAnswer(err) // of a request that was not answered, or not even sent
	}
	a := answer{status: raw.HTTPStatusCode(), requestID: raw.ServiceRequestID(), header: raw.Response.Header}
	if a.status == http.StatusNotModified {
		return notModified(a.header, cond, requested, received)
	}
	var api smithy.APIError
	if made := strings.ReplaceAll(http.StatusText(a.status), " ", ""); errors.As(err, &api) && api.ErrorCode() != made {
		// Without a code in the answer, the SDK makes one of its status.
		a.code, a.message = api.ErrorCode(), api.ErrorMessage()
	}
	if a.refusesChecksums() {
		s.checksums.Store(false)
	}
	err = s.sentinel(a, cond)
	if errors.Is(err, origin.ErrExpired) {
		s.client.Expired()
	}
	return fmt.Errorf("%w: status %d, code %.100q, request id %.100q", err, a.status, a.code, a.requestID)
}

// refusesChecksums reports whether the store does not know x-amz-checksum-mode: Backblaze B2
// answers 400 InvalidArgument, others 501 NotImplemented, and name the header.
func (a answer) refusesChecksums() bool {
	return (a.status == http.StatusBadRequest || a.status == http.StatusNotImplemented) &&
		strings.Contains(strings.ToLower(a.message), "checksum-mode")
}

func notModified(header http.Header, cond origin.Cond, requested, received time.Time) error {
	etag := header.Get("ETag")
	if cond.NoneMatch == "" && cond.ModifiedSince.IsZero() {
		return fmt.Errorf("%w: status 304 for an unconditional request", origin.ErrRejected)
	}
	if etag != "" && cond.NoneMatch != "" && !origin.SameETag(etag, cond.NoneMatch) {
		return fmt.Errorf("%w: status 304 for another entity tag", origin.ErrRejected)
	}
	a := metadata(header, requested, received)
	nm := &origin.NotModified{ETag: cond.NoneMatch, Date: a.Date(), Fresh: rfc9111.Revalidated(a)}
	if origin.ValidETag(etag) {
		nm.ETag = etag
	}
	nm.LastModified, _ = http.ParseTime(header.Get("Last-Modified"))
	return nm
}

// sentinel maps S3's error codes (S3 API reference, "Error responses") and statuses to
// sentinels. Only an answer that says that the object is missing is ErrNotFound: a wrong
// configuration is not, although some of its codes have status 404.
func (s *Source) sentinel(a answer, cond origin.Cond) error {
	switch {
	case isCode(a.code, "NoSuchKey", "NoSuchVersion"): // also of a delete marker
		return origin.ErrNotFound
	case a.status == http.StatusMethodNotAllowed && a.header.Get("x-amz-delete-marker") == "true":
		return origin.ErrNotFound // the requested version is a delete marker
	case a.status == http.StatusBadRequest && cond.VersionID != "" &&
		isCode(a.code, "InvalidArgument", "InvalidVersionId"):
		return origin.ErrNotFound // malformed as a version id of this store
	case a.status == http.StatusPreconditionFailed:
		return origin.ErrChanged
	case isCode(a.code, "KeyTooLongError", "InvalidURI", "XMinioInvalidObjectName"):
		return origin.ErrName
	case isCode(a.code, "SlowDown", "ServiceUnavailable", "TooManyRequests", "RequestLimitExceeded", "RequestTimeout"):
		return busy(a.header)
	case isCode(a.code, "AccessDenied") && s.cfg.MissingIs403:
		return origin.ErrNotFound
	}
	if err := misconfigured(a); err != nil {
		return err
	}
	switch a.status {
	case http.StatusForbidden, http.StatusUnauthorized:
		return origin.ErrDenied
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusRequestTimeout:
		return busy(a.header)
	}
	if a.status < 500 {
		return origin.ErrRejected
	}
	return origin.ErrUnavailable
}

// misconfigured returns the error of an answer that is about the configuration, not about
// the object, or nil. Credentials are ErrDenied whatever their status, which is 400 for some
// codes and 404 for some servers; the rest is ErrUnavailable, so that nothing is remembered
// of an object.
func misconfigured(a answer) error {
	switch {
	case isCode(a.code, "NoSuchBucket", "InvalidBucketName"):
		return fmt.Errorf("%w: %w", origin.ErrUnavailable, origin.ErrNoBucket)
	case isCode(a.code, "PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed",
		"IllegalLocationConstraintException", "AuthorizationQueryParametersError"),
		a.status == http.StatusMovedPermanently:
		return fmt.Errorf("%w: %w", origin.ErrUnavailable, &origin.WrongRegion{Region: a.region()})
	case isCode(a.code, "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"):
		return fmt.Errorf("%w: %w", origin.ErrDenied, origin.ErrExpired)
	case isCode(a.code, "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidSecurity",
		"UnrecognizedClientException"):
		return fmt.Errorf("%w: %w", origin.ErrDenied, origin.ErrCredentials)
	case isCode(a.code, "RequestTimeTooSkewed"):
		return fmt.Errorf("%w: %w", origin.ErrDenied, origin.ErrClock)
	case isCode(a.code, "AccessDenied") && strings.Contains(a.message, "s3:ListBucket"):
		return fmt.Errorf("%w: %w", origin.ErrDenied, origin.ErrMayNotList)
	}
	return nil
}

var expectedRegion = regexp.MustCompile(`expecting '([a-z0-9-]{1,40})'`)

// region returns the region that the store names for its bucket, or "".
func (a answer) region() string {
	if region := a.header.Get("x-amz-bucket-region"); region != "" {
		return region
	}
	if m := expectedRegion.FindStringSubmatch(a.message); m != nil {
		return m[1]
	}
	return ""
}

func busy(header http.Header) error {
	after, err := strconv.ParseUint(header.Get("Retry-After"), 10, 16)
	if err != nil {
		after = 0
	}
	return &origin.Busy{RetryAfter: time.Duration(after) * time.Second}
}
