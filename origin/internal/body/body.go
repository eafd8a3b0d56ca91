// Package body makes the Body of an origin.Object from what a store answers: it verifies the
// length and the digest that the store states, decodes gzip, and gives errors their
// sentinels. Start reading at Open.
package body

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/novasocial/imagetier/origin"
)

// Answer is the body of an answer of HTTP or S3, and the length and digest that the store states.
type Answer struct {
	Body   io.ReadCloser
	Size   int64       // Content-Length; -1 if unknown
	Header http.Header // with Content-Encoding and digests
	MD5    string      // of the body, in hex, if the store states it in another way; else ""
}

// Open sets Body, Size and Decoded of obj. Body ends with origin.ErrUnavailable unless it has
// the length and the digest that the answer states. It is decoded from gzip; Size is -1 then.
// The error wraps origin.ErrRejected if the content coding is not supported. Open does not
// read a.Body, which may be that of a HEAD.
func Open(ctx context.Context, a Answer, obj *origin.Object) error {
	layers, err := gzipLayers(a.Header)
	if err != nil {
		return err
	}
	stated := digestOf(a.Header)
	if stated == nil {
		stated = md5Digest(a.MD5)
	}
	obj.Body, obj.Size = New(ctx, a.Body, a.Size), a.Size
	if stated != nil {
		obj.Body = verified{obj.Body, stated}
	}
	for range layers {
		obj.Body, obj.Size, obj.Decoded = &decoded{ReadCloser: obj.Body}, -1, true
	}
	return nil
}

// New returns rc as the Body of an Object of that size (-1 if unknown). It fails with
// ctx's error once ctx is done, and with origin.ErrUnavailable if rc ends early or fails.
func New(ctx context.Context, rc io.ReadCloser, size int64) io.ReadCloser {
	return &body{ctx: ctx, rc: rc, size: size}
}

type body struct {
	ctx  context.Context // of the call to Open; it covers the reading too
	rc   io.ReadCloser
	size int64
	got  int64
	err  error // the first error, returned by every later Read
}

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.ctx.Err() != nil {
		b.err = fmt.Errorf("read body: %w", b.ctx.Err())
		return 0, b.err
	}
	n, err := b.rc.Read(p)
	b.got += int64(n)
	if err != nil {
		b.err = b.explain(err)
	}
	return n, b.err
}

func (b *body) explain(err error) error {
	switch {
	case err == io.EOF && b.got < b.size:
		return fmt.Errorf("%w: body ends after %d of %d bytes", origin.ErrUnavailable, b.got, b.size)
	case err == io.EOF:
		return io.EOF
	case b.ctx.Err() != nil:
		return fmt.Errorf("read body: %w", b.ctx.Err())
	}
	return fmt.Errorf("read body after %d bytes: %w", b.got, origin.NoAnswer(err))
}

func (b *body) Close() error { return b.rc.Close() }
