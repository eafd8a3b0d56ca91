// Package s3store is a sharedstore.Store in a bucket of S3, or of a server that speaks its
// protocol.
package s3store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/novasocial/imagetier/imagecache/sharedstore"
	"github.com/novasocial/imagetier/internal/s3client"
)

// Config configures a Store. Its fields are those of s3origin.Config.
type Config struct {
	Bucket string // required
	// Prefix is prepended to every key.
	Prefix string
	// Region is the bucket's region. If "", it is the environment's; if that names no region,
	// us-east-1 with an Endpoint, and an error without.
	Region string
	// Endpoint is the URL of a server other than Amazon's. If "", it is the
	// environment's, or Amazon's.
	Endpoint string
	// PathStyle selects URLs like endpoint/bucket/key instead of bucket.endpoint/key.
	PathStyle bool
	// Credentials replaces the standard chain. If nil, the chain is used.
	Credentials aws.CredentialsProvider
}

// Store is a sharedstore.Store.
type Store struct {
	client         *s3client.Client
	bucket, prefix string
}

// maxObject is the maximum size of an object that Get reads, in bytes.
const maxObject = 16 << 20

// Bounds of a listing, which is of the variants of an original.
const (
	maxPages  = 100
	maxOnPage = 1000 // objects: S3's own limit
)

// New returns a Store. It loads the standard configuration and credentials chain without
// using the network. Failed requests are not retried: the tier works without the store.
func New(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Bucket == "" {
		return nil, errors.New("open shared store: no bucket given")
	}
	client, err := s3client.New(ctx, s3client.Config{
		Region: cfg.Region, Endpoint: cfg.Endpoint, PathStyle: cfg.PathStyle, Credentials: cfg.Credentials,
		HeaderTimeout: 10 * time.Second,
	})
	if err != nil {
		return nil, fmt.Errorf("open shared store in %s: %w", cfg.Bucket, err)
	}
	return &Store{client: client, bucket: cfg.Bucket, prefix: cfg.Prefix}, nil
}

// Get implements sharedstore.Store.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: aws.String(s.prefix + key)})
	if err != nil {
		var missing *types.NoSuchKey
		var answer *awshttp.ResponseError
		if errors.As(err, &missing) || errors.As(err, &answer) && answer.HTTPStatusCode() == http.StatusNotFound {
			return nil, sharedstore.ErrNotFound
		}
		return nil, fmt.Errorf("get object %s: %w", key, err)
	}
	defer out.Body.Close()
	size := aws.ToInt64(out.ContentLength)
	if size < 0 || size > maxObject {
		return nil, fmt.Errorf("get object %s: %d bytes, limit %d", key, size, maxObject)
	}
	// What is announced may never come: beyond a MiB the buffer grows with what has.
	object := bytes.NewBuffer(make([]byte, 0, min(size, 1<<20)+bytes.MinRead))
	if _, err := io.CopyN(object, out.Body, size); err != nil {
		return nil, fmt.Errorf("get object %s: %w", key, err)
	}
	return object.Bytes(), nil
}

// Put implements sharedstore.Store.
func (s *Store) Put(ctx context.Context, key string, object []byte) error {
	_, err := s.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &s.bucket, Key: aws.String(s.prefix + key),
		Body: bytes.NewReader(object), ContentType: aws.String("application/octet-stream"),
	})
	if err != nil {
		return fmt.Errorf("put object %s: %w", key, err)
	}
	return nil
}

// List implements sharedstore.Store: one request for each 1,000 objects.
func (s *Store) List(ctx context.Context, prefix string) (found []sharedstore.Object, err error) {
	err = s.pages(ctx, prefix, func(page []sharedstore.Object) error {
		found = append(found, page...)
		return nil
	})
	return found, err
}

// DeleteAll implements sharedstore.Store: one listing, and one request for each 1,000 objects.
func (s *Store) DeleteAll(ctx context.Context, prefix string) (deleted []sharedstore.Object, err error) {
	err = s.pages(ctx, prefix, func(page []sharedstore.Object) error {
		names := make([]types.ObjectIdentifier, len(page))
		for i, o := range page {
			names[i].Key = aws.String(s.prefix + o.Key)
		}
		out, err := s.client.DeleteObjects(ctx, &s3.DeleteObjectsInput{
			Bucket: &s.bucket, Delete: &types.Delete{Objects: names, Quiet: aws.Bool(true)},
		})
		if err != nil {
			return fmt.Errorf("delete objects %s: %w", prefix, err)
		}
		if len(out.Errors) > 0 {
			return fmt.Errorf("delete objects %s: %d of %d failed: %s",
				prefix, len(out.Errors), len(names), aws.ToString(out.Errors[0].Code))
		}
		deleted = append(deleted, page...)
		return nil
	})
	return deleted, err
}

// pages calls each with every page of objects that is not empty.
func (s *Store) pages(ctx context.Context, prefix string, each func([]sharedstore.Object) error) error {
	in := &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: aws.String(s.prefix + prefix)}
	for range maxPages {
		page, err := s.client.ListObjectsV2(ctx, in)
		if err != nil {
			return fmt.Errorf("list objects %s: %w", prefix, err)
		}
		if len(page.Contents) > maxOnPage {
			return fmt.Errorf("list objects %s: more than %d on a page", prefix, maxOnPage)
		}
		var objects []sharedstore.Object
		for _, o := range page.Contents {
			objects = append(objects, sharedstore.Object{
				Key: strings.TrimPrefix(aws.ToString(o.Key), s.prefix), Size: aws.ToInt64(o.Size),
			})
		}
		if len(objects) > 0 {
			if err := each(objects); err != nil {
				return err
			}
		}
		if !aws.ToBool(page.IsTruncated) || page.NextContinuationToken == nil {
			return nil
		}
		in.ContinuationToken = page.NextContinuationToken
	}
	return fmt.Errorf("list objects %s: more than %d pages", prefix, maxPages)
}
