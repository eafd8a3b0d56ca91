// Package s3origin is an origin.Source over a bucket of S3, or of a server that speaks
// its protocol.
//
// Open is one GetObject and Head one HeadObject. If-Match, VersionId and the conditions of a revalidation
// go with it, and the answer's own ETag and version id are compared again, because there
// are servers that ignore what they do not know. A checksum that the store has for the
// whole object is verified while the body is read, and a body that fails it ends with
// origin.ErrUnavailable; of an object uploaded in parts S3 keeps a checksum of checksums
// ("…-3"), which a reader of the whole cannot verify, so there only the length counts.
//
// The SDK tries nothing twice: that is origin.Retry's.
package s3origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/origin/internal/body"
	"github.com/novasocial/imagetier/origin/rfc9111"
)

// Config says which bucket, and how it is reached.
type Config struct {
	// Bucket is required.
	Bucket string
	// Prefix is put before every name, as it is: "photos/" makes "photos/a.jpg" of
	// "a.jpg". "" is none.
	Prefix string
	// Region is the bucket's. "" is what AWS_REGION and the shared configuration say;
	// where they say nothing either, us-east-1 with an Endpoint, and an error without.
	Region string
	// Endpoint is the URL of a server that is not Amazon's. "" is AWS_ENDPOINT_URL_S3
	// and the like, or Amazon's.
	Endpoint string
	// PathStyle asks for endpoint/bucket/key instead of bucket.endpoint/key.
	PathStyle bool
	// MissingIs403 takes AccessDenied for ErrNotFound: that is what S3 says of a missing
	// key to who may not list the bucket. Refusals for other reasons (a wrong signature,
	// an expired token, an archived object) stay what they are.
	MissingIs403 bool
	// Credentials are used instead of the standard chain (environment, shared files,
	// web identity, container, instance). nil is the chain.
	Credentials aws.CredentialsProvider
}

// Source opens the objects of a bucket. It is safe for concurrent use.
type Source struct {
	client  *s3.Client
	cfg     Config
	foreign bool // the endpoint is not Amazon's
}

// New reads the standard configuration and credentials chain (AWS_*, shared files), and
// asks the network for nothing: that the bucket can be read shows with the first Open.
func New(ctx context.Context, cfg Config) (*Source, error) {
	if cfg.Bucket == "" {
		return nil, errors.New("open S3 bucket: none is named")
	}
	options := []func(*config.LoadOptions) error{config.WithHTTPClient(transport())}
	if cfg.Region != "" {
		options = append(options, config.WithRegion(cfg.Region))
	}
	if cfg.Credentials != nil {
		options = append(options, config.WithCredentialsProvider(cfg.Credentials))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("open S3 bucket %s: %w", cfg.Bucket, err)
	}
	if loaded.Region == "" {
		if cfg.Endpoint == "" && loaded.BaseEndpoint == nil {
			return nil, fmt.Errorf("open S3 bucket %s: no region: set region= or AWS_REGION", cfg.Bucket)
		}
		loaded.Region = "us-east-1"
	}
	client := s3.NewFromConfig(loaded, func(o *s3.Options) {
		o.HTTPClient = client{o.HTTPClient}
		o.UsePathStyle = o.UsePathStyle || cfg.PathStyle
		o.Retryer = aws.NopRetryer{}
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenSupported
		o.DisableLogOutputChecksumValidationSkipped = true
		if cfg.Endpoint != "" {
			o.BaseEndpoint = aws.String(cfg.Endpoint)
		}
	})
	foreign := !amazon(client.Options().BaseEndpoint)
	return &Source{client: client, cfg: cfg, foreign: foreign}, nil
}

// amazon reports whether the endpoint is one of S3 itself; nil is.
func amazon(endpoint *string) bool {
	u, err := url.Parse(aws.ToString(endpoint))
	if err != nil {
		return false
	}
	host := u.Hostname()
	return endpoint == nil || strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".amazonaws.com.cn")
}

// Open implements origin.Source. Names are bytes and keys are prefix and name, never
// changed on their way: "a//b", "../a" and " " are objects of their own in Amazon's S3.
// A key that S3 cannot have (over 1,024 bytes, or not UTF-8) is ErrName. So is, at an
// Endpoint that is not Amazon's, one with a "." or ".." segment or a NUL: servers that
// keep objects in files resolve those, and "../a" then leaves the prefix. Freshness is what
// the object's own Cache-Control and Expires say, and Silent where it has neither.
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
	requested := time.Now()
	out, err := s.client.GetObject(ctx, in)
	received := time.Now()
	if err != nil {
		return nil, s.explain(ctx, err, cond, requested, received)
	}
	obj, err := object(ctx, out, cond, requested, received)
	if err != nil {
		out.Body.Close()
		return nil, err
	}
	return obj, nil
}

// Head implements origin.Source. The answer to a HEAD has no body and so no code of S3: a
// bucket that does not exist cannot be told from a missing object and is ErrNotFound.
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
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.cfg.Bucket, Key: &key})
	received := time.Now()
	if err != nil {
		return origin.Metadata{}, s.explain(ctx, err, origin.Cond{}, requested, received)
	}
	return describe(out.ETag, out.ContentLength, out.LastModified, out.ResultMetadata, requested, received)
}

// key returns the key of a name, or an error that wraps ErrName.
func (s *Source) key(name string) (string, error) {
	key := s.cfg.Prefix + name
	switch {
	case name == "":
		return "", fmt.Errorf("%w: it is empty", origin.ErrName)
	case len(key) > 1024:
		return "", fmt.Errorf("%w: a key of %d bytes, S3 has at most 1024", origin.ErrName, len(key))
	case !utf8.ValidString(key):
		return "", fmt.Errorf("%w: not UTF-8", origin.ErrName)
	case s.foreign && climbs(name):
		return "", fmt.Errorf("%w: a segment . or .., or a NUL, for a server that may keep objects in files", origin.ErrName)
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
		return nil, fmt.Errorf("%w: version null is overwritten in place and pins nothing", origin.ErrNotFound)
	}
	in := &s3.GetObjectInput{Bucket: &s.cfg.Bucket, Key: &key, ChecksumMode: types.ChecksumModeEnabled}
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

// climbs reports whether name could be another file than it spells.
func climbs(name string) bool {
	for segment := range strings.SplitSeq(name, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return strings.IndexByte(name, 0) >= 0
}

func object(ctx context.Context, out *s3.GetObjectOutput, cond origin.Cond, requested, received time.Time) (*origin.Object, error) {
	if v := aws.ToString(out.VersionId); cond.VersionID != "" && v != cond.VersionID {
		return nil, fmt.Errorf("%w: asked for version %.100q and got %.100q", origin.ErrNotFound, cond.VersionID, v)
	}
	meta, err := describe(out.ETag, out.ContentLength, out.LastModified, out.ResultMetadata, requested, received)
	if err == nil {
		err = cond.CheckETag(meta.ETag)
	}
	if err != nil {
		return nil, err
	}
	return &origin.Object{Metadata: meta, Body: body.New(ctx, out.Body, meta.Size)}, nil
}

// describe reads what GetObject and HeadObject answer alike.
func describe(etag *string, size *int64, modified *time.Time, result middleware.Metadata, requested, received time.Time) (origin.Metadata, error) {
	meta := origin.Metadata{Size: -1, ETag: aws.ToString(etag), LastModified: aws.ToTime(modified)}
	if !origin.ValidETag(meta.ETag) {
		meta.ETag = ""
	}
	if size != nil {
		meta.Size = *size
	}
	raw, ok := awsmiddleware.GetRawResponse(result).(*smithyhttp.Response)
	if !ok {
		return origin.Metadata{}, fmt.Errorf("%w: the SDK hides the response", origin.ErrUnavailable)
	}
	if raw.StatusCode != http.StatusOK {
		return origin.Metadata{}, fmt.Errorf("%w: status %d", origin.ErrUnavailable, raw.StatusCode)
	}
	meta.Fresh = rfc9111.Freshness(metadata(raw.Header, requested, received))
	return meta, nil
}

// metadata is what an object's own metadata says: the Vary that S3 adds for CORS is the
// bucket's, and nothing is guessed from Last-Modified.
func metadata(h http.Header, requested, received time.Time) rfc9111.Answer {
	h = h.Clone()
	h.Del("Vary")
	return rfc9111.Answer{Header: h, Requested: requested, Received: received}
}

// transport is the SDK's (proxies and certificates by environment, as everywhere with
// AWS) with room for as many idle connections as a busy tier has use for.
func transport() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
		tr.MaxIdleConns, tr.MaxIdleConnsPerHost = 256, 128
		tr.MaxResponseHeaderBytes = 64 << 10
		tr.DisableCompression = true
	})
}

// client is the HTTP client of the SDK, which would read an answer that is no object to
// its end, however long it is.
type client struct{ s3.HTTPClient }

// maxError is the most that is read of an answer that is no object.
const maxError = 64 << 10

func (c client) Do(req *http.Request) (*http.Response, error) {
	resp, err := c.HTTPClient.Do(req)
	if err == nil && resp.StatusCode != http.StatusOK {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxError), resp.Body}
	}
	return resp, err
}

// said reports whether any of the words stands in s, whatever their case.
func said(s string, words ...string) bool {
	for _, word := range words {
		if strings.EqualFold(s, word) {
			return true
		}
	}
	return false
}
