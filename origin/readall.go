package origin

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/novasocial/imagetier/internal/inflight"
)

// Original is an Object that has been read into memory completely.
type Original struct {
	Metadata // Size is always len(Body)
	Body     []byte
}

// ReadAll opens the object and reads all of it. Beside the errors of Open it returns
// ErrTooLarge if the object has more than max bytes, by its promised size or by count;
// ErrUnavailable if the body is shorter or longer than promised, or if reading fails;
// and ErrChanged if the entity tag is not the one that cond pins, even if the Source
// did not check. It returns no bytes with an error.
//
// It allocates no more than firstPiece before that many bytes have arrived: an origin
// cannot make it allocate by promising a large size. It asks the budget of ctx for room
// first (inflight.Grow): without room the error wraps ErrBusy. It calls the [Arrival] of ctx
// with what it has read.
func ReadAll(ctx context.Context, src Source, name string, cond Cond, max int64) (Original, error) {
	obj, err := src.Open(ctx, name, cond)
	if err != nil {
		return Original{}, err
	}
	defer obj.Body.Close()
	if err := cond.CheckETag(obj.ETag); err != nil {
		return Original{}, err
	}
	arrival := arrivalOf(ctx)
	body, err := readBody(ctx, obj, max, arrival)
	if err != nil {
		arrival.Failed()
		return Original{}, err
	}
	meta := obj.Metadata
	meta.Size = int64(len(body))
	return Original{Metadata: meta, Body: body}, nil
}

// firstPiece is how many bytes are read before a promised size is trusted. 256 KiB
// costs one small copy for larger originals and none for smaller ones.
const firstPiece = 256 << 10

func readBody(ctx context.Context, obj *Object, max int64, arrival Arrival) ([]byte, error) {
	if obj.Size > max {
		return nil, &SizeError{max}
	}
	if whole, ok := obj.Whole(); ok {
		if int64(len(whole)) > max {
			return nil, &SizeError{max}
		}
		return whole, nil
	}
	// One byte more than expected, so that the last Read can return io.EOF and a
	// longer body is detected.
	size := int64(firstPiece)
	if obj.Size >= 0 {
		size = min(size, obj.Size+1)
	}
	if err := inflight.Grow(ctx, min(cmp.Or(obj.Size+1, size), max+1)); err != nil {
		return nil, full(err)
	}
	buf := make([]byte, 0, min(size, max+1))
	for {
		n, err := obj.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		got := int64(len(buf))
		if n > 0 && got <= min(obj.Size, max) {
			arrival.Arrived(buf, obj.Size)
		}
		switch {
		case obj.Size >= 0 && got > obj.Size:
			return nil, fmt.Errorf("%w: body is longer than the promised %d bytes", ErrUnavailable, obj.Size)
		case got > max:
			return nil, &SizeError{max}
		case err == io.EOF && got < obj.Size:
			return nil, fmt.Errorf("%w: body ends after %d of %d bytes", ErrUnavailable, got, obj.Size)
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return nil, bodyError(ctx, err)
		case len(buf) < cap(buf):
		case obj.Size >= 0:
			buf = append(make([]byte, 0, obj.Size+1), buf...)
		default:
			if err := inflight.Grow(ctx, min(2*got, max+1)); err != nil {
				return nil, full(err)
			}
			buf = append(make([]byte, 0, min(2*got, max+1)), buf...)
		}
	}
}

// full makes the error of a full budget wrap ErrBusy.
func full(err error) error {
	if errors.Is(err, inflight.ErrFull) {
		return fmt.Errorf("%w: %w", ErrBusy, err)
	}
	return err
}

// bodyError makes the error of a failed Read wrap ErrUnavailable, unless it wraps a
// sentinel already or the caller's context ended.
func bodyError(ctx context.Context, err error) error {
	if ctx.Err() != nil || IsSentinel(err) {
		return fmt.Errorf("read original: %w", err)
	}
	return fmt.Errorf("read original: %w", NoAnswer(err))
}

// IsSentinel reports whether err wraps one of this package's errors.
func IsSentinel(err error) bool {
	for _, target := range []error{
		ErrNotFound, ErrChanged, ErrNotModified, ErrDenied, ErrRejected, ErrUnavailable, ErrBusy, ErrTooLarge, ErrName,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// wholeBody is the Body of an Object that is in memory already.
type wholeBody struct {
	bytes.Reader
	all []byte
}

func (*wholeBody) Close() error    { return nil }
func (b *wholeBody) Whole() []byte { return b.all }

// NewWhole returns an Object whose body is in memory, with Size and Body set. ReadAll
// returns body without copying it, so it must not be modified afterwards.
func NewWhole(body []byte) *Object {
	b := &wholeBody{all: body}
	b.Reset(body)
	return &Object{Metadata: Metadata{Size: int64(len(body))}, Body: b}
}

// Whole returns the bytes of an Object whose Body has a method Whole, such as that of NewWhole: they are
// in memory already. They must not be modified.
func (o *Object) Whole() ([]byte, bool) {
	if b, ok := o.Body.(interface{ Whole() []byte }); ok {
		return b.Whole(), true
	}
	return nil, false
}
