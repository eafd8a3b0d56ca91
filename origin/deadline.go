package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Deadline returns a Source whose objects must be opened and read to their end within
// d; 0 means 5 s. After that Open or Body fails with an error that wraps ErrUnavailable
// and context.DeadlineExceeded, even if bytes still arrive. If the caller's own deadline
// comes first, the error is the context's alone: it says nothing about the origin.
func Deadline(src Source, d time.Duration) Source {
	if d <= 0 {
		d = 5 * time.Second
	}
	return &deadline{src, d}
}

type deadline struct {
	src Source
	d   time.Duration
}

func (s *deadline) Open(ctx context.Context, name string, cond Cond) (*Object, error) {
	bounded, cancel := context.WithTimeout(ctx, s.d)
	explain := func(err error) error { return s.explain(ctx, bounded, err) }
	obj, err := s.src.Open(bounded, name, cond)
	if err != nil {
		err = explain(err)
		cancel()
		return nil, err
	}
	if _, whole := obj.Whole(); whole {
		cancel()
		return obj, nil
	}
	obj.Body = &heldBody{ReadCloser: obj.Body, explain: explain, release: cancel}
	return obj, nil
}

// Head implements Source. It must return within the same time.
func (s *deadline) Head(ctx context.Context, name string) (Metadata, error) {
	bounded, cancel := context.WithTimeout(ctx, s.d)
	defer cancel()
	meta, err := s.src.Head(bounded, name)
	return meta, s.explain(ctx, bounded, err)
}

// explain replaces an error caused by this deadline.
func (s *deadline) explain(ctx, bounded context.Context, err error) error {
	ours := ctx.Err() == nil && bounded.Err() == context.DeadlineExceeded
	late := errors.Is(err, context.DeadlineExceeded) || !IsSentinel(err)
	if err == nil || err == io.EOF || !ours || !late {
		return err
	}
	return fmt.Errorf("%w: incomplete after %v: %w", ErrUnavailable, s.d, context.DeadlineExceeded)
}

// heldBody releases a resource when it is closed.
type heldBody struct {
	io.ReadCloser
	explain func(error) error // replaces the error of a Read; may be nil
	release func()            // called once
	once    sync.Once
}

func (b *heldBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && b.explain != nil {
		err = b.explain(err)
	}
	return n, err
}

func (b *heldBody) Close() error {
	err := b.ReadCloser.Close()
	b.once.Do(b.release)
	return err
}
