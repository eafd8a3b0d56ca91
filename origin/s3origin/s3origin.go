// Package s3origin is an origin.Source over a bucket of S3, or of a server that speaks
// its protocol. The read path is Source.Open, open, object.
//
// Open is one GetObject and Head one HeadObject. Conditions are sent with the request,
// and the ETag and version id of the answer are compared again, because some servers
// ignore conditions that they do not know. The checksum of the whole object that the store
// states, or the MD5 that its ETag is, is verified while the body is read, and a mismatch
// ends the body with origin.ErrUnavailable. For an object uploaded in parts S3 may have only
// a checksum of checksums ("…-3"), which cannot be verified here; then only the length is
// checked.
//
// Retries of the SDK are disabled: use origin.Retry.
package s3origin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/novasocial/imagetier/internal/s3client"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/origin/internal/body"
	"github.com/novasocial/imagetier/origin/objectname"
	"github.com/novasocial/imagetier/origin/rfc9111"
)

// Config configures a Source.
type Config struct {
	// Bucket is required.
	Bucket string
	// Prefix is prepended to every name: with "photos/", "a.jpg" is the key
	// "photos/a.jpg".
	Prefix string
	// Region is the bucket's region. If "", it is that of AWS_REGION and the shared
	// configuration; if these name no region, us-east-1 with an Endpoint, and an error
	// without.
	Region string
	// Endpoint is the URL of a server other than Amazon's. If "", it is that of
	// AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, or Amazon's.
	Endpoint string
	// PathStyle selects URLs like endpoint/bucket/key instead of bucket.endpoint/key.
	PathStyle bool
	// MissingIs403 maps AccessDenied to ErrNotFound: S3 answers so for a missing key
	// if the caller may not list the bucket. Other refusals (a wrong signature, an
	// expired token, an archived object) are not affected.
	MissingIs403 bool
	// OpaqueETags says that entity tags of 32 hex digits are not the MD5 of the bytes, as
	// some stores make them. Otherwise a body is verified by its tag.
	OpaqueETags bool
	// RequesterPays accepts the costs of requests to a bucket whose owner does not.
	RequesterPays bool
	// Credentials replaces the standard chain (environment, shared files, web
	// identity, container, instance). If nil, the chain is used.
	Credentials aws.CredentialsProvider
}

// Source opens the objects of a bucket. It is safe for concurrent use.
type Source struct {
	client *s3client.Client
	cfg    Config
	amazon bool // the endpoint is Amazon's
	// checksums: ask for checksums (x-amz-checksum-mode). Some servers refuse that.
	checksums atomic.Bool
}

// New returns a Source. It loads the standard configuration and credentials chain (AWS_*,
// shared files) without using the network: a bucket that cannot be read fails at the
// first Open.
func New(ctx context.Context, cfg Config) (*Source, error) {
	if cfg.Bucket == "" {
		return nil, errors.New("open S3 bucket: no bucket given")
	}
	c, err := s3client.New(ctx, s3client.Config{
		Region: cfg.Region, Endpoint: cfg.Endpoint, PathStyle: cfg.PathStyle, Credentials: cfg.Credentials,
	})
	if err != nil {
		return nil, fmt.Errorf("open S3 bucket %s: %w", cfg.Bucket, err)
	}
	s := &Source{client: c, cfg: cfg, amazon: isAmazon(c.Options().BaseEndpoint)}
	s.checksums.Store(c.Checksums)
	return s, nil
}

// isAmazon reports whether the endpoint is Amazon's; nil is.
func isAmazon(endpoint *string) bool {
	u, err := url.Parse(aws.ToString(endpoint))
	if err != nil {
		return false
	}
	host := u.Hostname()
	return endpoint == nil || strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".amazonaws.com.cn")
}

// Open implements origin.Source. The key is Prefix and name, unchanged: in Amazon's S3
// "a//b", "../a" and " " are ordinary keys. A name that S3 does not allow as a key (over 1,024
// bytes, or not UTF-8) is ErrName. So is, at an endpoint that is not Amazon's, a name with
// a "." or ".." segment or a NUL: servers that keep objects in files resolve those, so
// "../a" would leave the prefix. Freshness comes from the object's own Cache-Control and
// Expires, and is Silent without either.
func (s *Source) Open(ctx context.Context, name string, cond origin.Cond) (*origin.Object, error) {
	obj, err := s.open(ctx, name, cond)
	if err != nil {
		return nil, fmt.Errorf("get object %q: %w", name, err)
	}
	return obj, nil
}

func (s *Source) open(ctx context.Context, name string, cond origin.Cond) (*origin.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	in, err := s.input(name, cond)
	if err != nil {
		return nil, err
	}
	ask := s.checksums.Load() // another request may change it meanwhile
	requested := time.Now()
	out, err := s.client.GetObject(ctx, in, func(o *s3.Options) {
		if ask {
			askForChecksums(o)
		}
	})
	received := time.Now()
	if err != nil {
		if err = s.explain(ctx, err, cond, requested, received); ask && !s.checksums.Load() {
			return s.open(ctx, name, cond)
		}
		return nil, err
	}
	obj, err := s.object(ctx, out, cond, requested, received)
	if err != nil {
		out.Body.Close()
		return nil, err
	}
	return obj, nil
}

// Head implements origin.Source. The answer to a HEAD has no body and so no S3 error code,
// which tells a missing object from a missing bucket: a HEAD that is refused is repeated
// as a GET.
func (s *Source) Head(ctx context.Context, name string) (origin.Metadata, error) {
	meta, err := s.head(ctx, name)
	if err != nil {
		return origin.Metadata{}, fmt.Errorf("head object %q: %w", name, err)
	}
	return meta, nil
}

func (s *Source) head(ctx context.Context, name string) (origin.Metadata, error) {
	if err := ctx.Err(); err != nil {
		return origin.Metadata{}, err
	}
	key, err := s.key(name)
	if err != nil {
		return origin.Metadata{}, err
	}
	requested := time.Now()
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{
		Bucket: &s.cfg.Bucket, Key: &key, RequestPayer: s.payer(),
	})
	received := time.Now()
	if err != nil {
		err = s.explain(ctx, err, origin.Cond{}, requested, received)
		if errors.Is(err, origin.ErrRejected) || errors.Is(err, origin.ErrDenied) {
			return s.headByGet(ctx, name)
		}
		return origin.Metadata{}, err
	}
	meta, header, err := describe(out.ETag, out.LastModified, out.ResultMetadata, requested, received)
	if err != nil {
		return origin.Metadata{}, err
	}
	obj := &origin.Object{Metadata: meta}
	err = body.Open(ctx, body.Answer{Size: size(out.ContentLength), Header: header}, obj)
	return obj.Metadata, err
}

// headByGet is head by a GetObject whose body is not read.
func (s *Source) headByGet(ctx context.Context, name string) (origin.Metadata, error) {
	obj, err := s.open(ctx, name, origin.Cond{})
	if err != nil {
		return origin.Metadata{}, err
	}
	obj.Body.Close()
	return obj.Metadata, nil
}

// CheckName returns an error that wraps origin.ErrName or origin.ErrNotFound if the bucket can have no object of
// that name.
func (s *Source) CheckName(name string) error {
	_, err := s.key(name)
	return err
}

// maxKey is the maximum length of a key in bytes (Amazon S3 User Guide, Naming Amazon S3 objects).
const maxKey = 1024

// key returns the key of a name. The error wraps ErrName, or ErrNotFound if the name is valid and only with the
// prefix too long: who makes URLs need not know the prefix.
func (s *Source) key(name string) (string, error) {
	key := s.cfg.Prefix + name
	switch {
	case name == "":
		return "", fmt.Errorf("%w: empty", origin.ErrName)
	case len(name) > maxKey:
		return "", fmt.Errorf("%w: %d bytes, limit %d", origin.ErrName, len(name), maxKey)
	case len(key) > maxKey:
		return "", fmt.Errorf("%w: key has %d bytes with the prefix, limit %d", origin.ErrNotFound, len(key), maxKey)
	case !utf8.ValidString(key):
		return "", fmt.Errorf("%w: not UTF-8", origin.ErrName)
	case !s.amazon:
		return key, objectname.S3.Check(name)
	}
	return key, nil
}

func (s *Source) input(name string, cond origin.Cond) (*s3.GetObjectInput, error) {
	key, err := s.key(name)
	switch {
	case err != nil:
		return nil, err
	case !cond.CanMatch():
		return nil, fmt.Errorf("%w: no entity tag can be %q", origin.ErrChanged, cond.Match)
	case cond.VersionID == "null":
		return nil, fmt.Errorf("%w: version null is overwritten in place and cannot be pinned", origin.ErrNotFound)
	}
	in := &s3.GetObjectInput{Bucket: &s.cfg.Bucket, Key: &key, RequestPayer: s.payer()}
	if cond.Match != "" {
		in.IfMatch = aws.String(`"` + cond.Match + `"`)
	}
	if cond.VersionID != "" {
		in.VersionId = &cond.VersionID
	}
	if origin.ValidETag(cond.NoneMatch) {
		in.IfNoneMatch = &cond.NoneMatch
	}
	if !cond.ModifiedSince.IsZero() {
		in.IfModifiedSince = &cond.ModifiedSince
	}
	return in, nil
}

func (s *Source) object(
	ctx context.Context, out *s3.GetObjectOutput, cond origin.Cond, requested, received time.Time,
) (*origin.Object, error) {
	if v := aws.ToString(out.VersionId); cond.VersionID != "" && v != cond.VersionID {
		return nil, fmt.Errorf("%w: requested version %.100q, got %.100q", origin.ErrNotFound, cond.VersionID, v)
	}
	meta, header, err := describe(out.ETag, out.LastModified, out.ResultMetadata, requested, received)
	if err == nil {
		err = cond.CheckETag(meta.ETag)
	}
	if err != nil {
		return nil, err
	}
	obj := &origin.Object{Metadata: meta}
	stated := body.Answer{
		Body: out.Body, Size: size(out.ContentLength), Header: header, MD5: s.md5Of(meta.ETag, header),
	}
	if err := body.Open(ctx, stated, obj); err != nil {
		return nil, err
	}
	return obj, nil
}

// md5Of returns the MD5 of an object's bytes, in hex, if its entity tag is that: 32 hex digits,
// without a key of KMS or of the customer (S3 API reference, "Object"). It is not in directory
// buckets, and other stores may differ (Config.OpaqueETags).
func (s *Source) md5Of(etag string, header http.Header) string {
	encryption := header.Get("X-Amz-Server-Side-Encryption")
	if s.cfg.OpaqueETags || strings.HasSuffix(s.cfg.Bucket, "--x-s3") ||
		encryption != "" && encryption != string(types.ServerSideEncryptionAes256) ||
		header.Get("X-Amz-Server-Side-Encryption-Customer-Algorithm") != "" {
		return ""
	}
	return strings.Trim(etag, `"`)
}

// describe returns the metadata in the answer to a GetObject or HeadObject, without the size,
// and its header.
func describe(
	etag *string, modified *time.Time, result middleware.Metadata, requested, received time.Time,
) (origin.Metadata, http.Header, error) {
	meta := origin.Metadata{ETag: aws.ToString(etag), LastModified: aws.ToTime(modified)}
	if !origin.ValidETag(meta.ETag) {
		meta.ETag = ""
	}
	raw, ok := awsmiddleware.GetRawResponse(result).(*smithyhttp.Response)
	if !ok {
		return origin.Metadata{}, nil, fmt.Errorf("%w: no raw response from the SDK", origin.ErrUnavailable)
	}
	if raw.StatusCode != http.StatusOK {
		return origin.Metadata{}, nil, fmt.Errorf("%w: status %d", origin.ErrRejected, raw.StatusCode)
	}
	a := metadata(raw.Header, requested, received)
	meta.Date, meta.Fresh = a.Date(), rfc9111.Freshness(a)
	return meta, raw.Header, nil
}

// size returns a Content-Length, -1 if it is unknown.
func size(length *int64) int64 {
	if length == nil {
		return -1
	}
	return *length
}

// payer is who pays for a request.
func (s *Source) payer() types.RequestPayer {
	if s.cfg.RequesterPays {
		return types.RequestPayerRequester
	}
	return ""
}

// askForChecksums asks the store to state the checksums that it has. The SDK would do it
// (ChecksumMode), but then it verifies them itself, with errors that do not say what failed.
func askForChecksums(o *s3.Options) {
	o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue("X-Amz-Checksum-Mode", "ENABLED"))
}

// metadata returns the headers for computing freshness. The Vary that S3 adds for CORS is
// dropped: every request of this client has the same headers. No heuristic lifetime.
func metadata(h http.Header, requested, received time.Time) rfc9111.Answer {
	h = h.Clone()
	h.Del("Vary")
	return rfc9111.Answer{Header: h, Requested: requested, Received: received}
}

// isCode reports whether code is one of codes, ignoring case.
func isCode(code string, codes ...string) bool {
	return slices.ContainsFunc(codes, func(c string) bool { return strings.EqualFold(code, c) })
}
