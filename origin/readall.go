package origin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// Original is an Object that was read whole: all of its bytes, in memory, as many as
// were promised.
type Original struct {
	Metadata // Size is len(Body), whatever the origin promised
	Body     []byte
}

// ReadAll opens the object and reads it to its end. It returns what Open returns, and
// ErrTooLarge if the object has more than max bytes, by promise or by count;
// ErrUnavailable if it ended early, went on after the promised size, or failed on the
// way; ErrChanged if its entity tag is not the one that cond pins, even if the Source
// let it pass. Of a failed read there are no bytes.
//
// Memory is taken by what arrives: a promised size counts only once the first
// firstPiece bytes of it have come, so that an origin cannot make the tier allocate
// by its word alone.
func ReadAll(ctx context.Context, src Source, name string, cond Cond, max int64) (Original, error) {
	obj, err := src.Open(ctx, name, cond)
	if err != nil {
		return Original{}, err
	}
	defer obj.Body.Close()
	if err := cond.CheckETag(obj.ETag); err != nil {
		return Original{}, err
	}
	body, err := readBody(ctx, obj, max)
	if err != nil {
		return Original{}, err
	}
	meta := obj.Metadata
	meta.Size = int64(len(body))
	return Original{Metadata: meta, Body: body}, nil
}

// firstPiece is what is read before a promised size is believed. 256 KiB costs one
// small copy of larger originals and none of smaller ones.
const firstPiece = 256 << 10

func readBody(ctx context.Context, obj *Object, max int64) ([]byte, error) {
	if obj.Size > max {
		return nil, fmt.Errorf("%w: %d bytes, %d are allowed", ErrTooLarge, obj.Size, max)
	}
	if whole, ok := obj.Whole(); ok {
		if int64(len(whole)) > max {
			return nil, fmt.Errorf("%w: %d bytes, %d are allowed", ErrTooLarge, len(whole), max)
		}
		return whole, nil
	}
	// One byte more than is wanted, so that the last Read has room to say io.EOF
	// and a body that goes on is seen.
	room := int64(firstPiece)
	if obj.Size >= 0 {
		room = min(room, obj.Size+1)
	}
	buf := make([]byte, 0, min(room, max+1))
	for {
		n, err := obj.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		got := int64(len(buf))
		switch {
		case obj.Size >= 0 && got > obj.Size:
			return nil, fmt.Errorf("%w: body goes on after the %d promised bytes", ErrUnavailable, obj.Size)
		case got > max:
			return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, max)
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
			buf = append(make([]byte, 0, min(2*got, max+1)), buf...)
		}
	}
}

// bodyError gives a failed Read one of the sentinels, if the Source has not.
func bodyError(ctx context.Context, err error) error {
	if ctx.Err() != nil || IsSentinel(err) {
		return fmt.Errorf("read original: %w", err)
	}
	return fmt.Errorf("read original: %w: %w", ErrUnavailable, err)
}

// IsSentinel reports whether err wraps one of the errors of this package.
func IsSentinel(err error) bool {
	for _, target := range []error{ErrNotFound, ErrChanged, ErrNotModified, ErrDenied, ErrUnavailable, ErrBusy, ErrTooLarge, ErrName} {
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

func (*wholeBody) Close() error { return nil }

// NewWhole returns an Object whose body is in memory, with Size and Body set: reading
// it cannot fail, and ReadAll takes body as it is. body must not be changed any more.
func NewWhole(body []byte) *Object {
	b := &wholeBody{all: body}
	b.Reset(body)
	return &Object{Metadata: Metadata{Size: int64(len(body))}, Body: b}
}

// Whole returns the bytes of an Object that NewWhole made. They must not be changed.
func (o *Object) Whole() ([]byte, bool) {
	if b, ok := o.Body.(*wholeBody); ok {
		return b.all, true
	}
	return nil, false
}
