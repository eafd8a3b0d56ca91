// Package body gives a response body the errors that origin.Object.Body promises. The
// three sources share it.
package body

import (
	"context"
	"fmt"
	"io"

	"github.com/novasocial/imagetier/origin"
)

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
