// Package s3client makes the clients of S3 that sources and the shared store use: the
// standard configuration of the SDK (AWS_*, shared files) with what both need of it. Start
// reading at New.
package s3client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/novasocial/imagetier/origin"
)

// Config configures a client.
type Config struct {
	// Region is the bucket's region. If "", it is that of AWS_REGION and the shared
	// configuration; if these name no region, us-east-1 with an Endpoint, and an error without.
	Region string
	// Endpoint is the URL of a server other than Amazon's. If "", it is that of
	// AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, or Amazon's.
	Endpoint string
	// PathStyle selects URLs like endpoint/bucket/key instead of bucket.endpoint/key.
	PathStyle bool
	// Credentials replaces the standard chain (environment, shared files, web identity,
	// container, instance). If nil, the chain is used.
	Credentials aws.CredentialsProvider
	// HeaderTimeout bounds the wait for the headers of an answer; 0 does not.
	HeaderTimeout time.Duration
}

// Client is a client of S3 that retries nothing. Answers that are not objects are bounded: see
// bounded.go.
type Client struct {
	*s3.Client
	// Checksums reports whether answers are to be verified by their checksums
	// (AWS_RESPONSE_CHECKSUM_VALIDATION). The SDK itself does not verify them.
	Checksums bool

	files *files // nil: the credentials are not read from files
}

// New returns a client. It loads the configuration without using the network.
func New(ctx context.Context, cfg Config, options ...func(*s3.Options)) (*Client, error) {
	load := []func(*config.LoadOptions) error{config.WithHTTPClient(transport(cfg.HeaderTimeout))}
	if cfg.Region != "" {
		load = append(load, config.WithRegion(cfg.Region))
	}
	if cfg.Credentials != nil {
		load = append(load, config.WithCredentialsProvider(cfg.Credentials))
	}
	loaded, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("load the configuration of AWS: %w", err)
	}
	if loaded.Region == "" {
		if cfg.Endpoint == "" && loaded.BaseEndpoint == nil {
			return nil, errors.New("no region: set region= or AWS_REGION")
		}
		loaded.Region = "us-east-1"
	}
	c := &Client{Checksums: loaded.ResponseChecksumValidation != aws.ResponseChecksumValidationWhenRequired}
	if cfg.Credentials == nil {
		c.files = newFiles(loaded.Credentials, load)
		loaded.Credentials = c.files
	}
	base := func(o *s3.Options) {
		o.HTTPClient = bounded{o.HTTPClient}
		o.UsePathStyle = o.UsePathStyle || cfg.PathStyle
		o.Retryer = aws.NopRetryer{}
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.DisableLogOutputChecksumValidationSkipped = true
		o.APIOptions = append(o.APIOptions, unsignedAcceptEncoding)
		if cfg.Endpoint != "" {
			o.BaseEndpoint = aws.String(cfg.Endpoint)
		}
	}
	c.Client = s3.NewFromConfig(loaded, append([]func(*s3.Options){base}, options...)...)
	return c, nil
}

// Expired makes the next request read the credentials again. Call it when the store has
// answered that they have expired.
func (c *Client) Expired() {
	if c.files != nil {
		c.files.expired()
	}
}

// transport returns the SDK's HTTP client (proxies and certificates from the environment)
// with more idle connections, dead ones of which are detected.
func transport(headerTimeout time.Duration) *awshttp.BuildableClient {
	client := awshttp.NewBuildableClient().WithDialerOptions(origin.DetectDeadPeers)
	return client.WithTransportOptions(func(tr *http.Transport) {
		tr.MaxIdleConns, tr.MaxIdleConnsPerHost = 256, 128
		tr.MaxResponseHeaderBytes = 64 << 10
		tr.DisableCompression = true
		tr.ResponseHeaderTimeout = headerTimeout
	})
}

// unsignedAcceptEncoding leaves Accept-Encoding out of the signature: Google Cloud Storage
// changes it on the way, and then refuses the signature.
func unsignedAcceptEncoding(stack *middleware.Stack) error {
	remove := middleware.FinalizeMiddlewareFunc("RemoveAcceptEncoding", func(
		ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler,
	) (middleware.FinalizeOutput, middleware.Metadata, error) {
		if req, ok := in.Request.(*smithyhttp.Request); ok {
			req.Header.Del("Accept-Encoding")
		}
		return next.HandleFinalize(ctx, in)
	})
	restore := middleware.FinalizeMiddlewareFunc("RestoreAcceptEncoding", func(
		ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler,
	) (middleware.FinalizeOutput, middleware.Metadata, error) {
		if req, ok := in.Request.(*smithyhttp.Request); ok {
			req.Header.Set("Accept-Encoding", "identity")
		}
		return next.HandleFinalize(ctx, in)
	})
	return errors.Join(
		stack.Finalize.Insert(remove, "Signing", middleware.Before),
		stack.Finalize.Insert(restore, "Signing", middleware.After),
	)
}
