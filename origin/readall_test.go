package origin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/novasocial/imagetier/origin"
)

func TestReadAll(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789"), 100_000)
	for _, c := range []struct {
		name string
		body io.Reader
		size int64
		max  int64
		want []byte
		err  error
	}{
		{"whole", strings.NewReader("hello"), 5, 5, []byte("hello"), nil},
		{"whole, byte by byte", iotest.OneByteReader(strings.NewReader("hello")), 5, 5, []byte("hello"), nil},
		{"whole, the end with the last bytes",
			iotest.DataErrReader(strings.NewReader("hello")), 5, 5, []byte("hello"), nil},
		{"empty", strings.NewReader(""), 0, 5, []byte{}, nil},
		{"empty and nothing allowed", strings.NewReader(""), 0, 0, []byte{}, nil},
		{"of unknown size", strings.NewReader("hello"), -1, 5, []byte("hello"), nil},
		{"big", bytes.NewReader(big), int64(len(big)), 1 << 20, big, nil},
		{"big of unknown size", bytes.NewReader(big), -1, int64(len(big)), big, nil},
		{"cut", strings.NewReader("hell"), 5, 5, nil, origin.ErrUnavailable},
		{"cut at once", strings.NewReader(""), 5, 5, nil, origin.ErrUnavailable},
		{"big and cut", bytes.NewReader(big[1:]), int64(len(big)), 1 << 20, nil, origin.ErrUnavailable},
		{"too long for its promise", strings.NewReader("hello!"), 5, 99, nil, origin.ErrUnavailable},
		{"more than promised by one in a second read",
			iotest.OneByteReader(strings.NewReader("hello!")), 5, 99, nil, origin.ErrUnavailable},
		{"promised too large", strings.NewReader("hello"), 5, 4, nil, origin.ErrTooLarge},
		{"counted too large", strings.NewReader("hello"), -1, 4, nil, origin.ErrTooLarge},
		{"endless", endless{}, -1, 1 << 20, nil, origin.ErrTooLarge},
		{"failing", iotest.ErrReader(errors.New("reset")), 5, 5, nil, origin.ErrUnavailable},
		{"failing with a sentinel",
			iotest.ErrReader(fmt.Errorf("x: %w", origin.ErrDenied)), 5, 5, nil, origin.ErrDenied},
	} {
		t.Run(c.name, func(t *testing.T) {
			closed := 0
			src := gives(func(context.Context) *origin.Object {
				o := object(c.body, c.size)
				o.Body = closer{o.Body, &closed}
				return o
			})
			got, err := origin.ReadAll(t.Context(), src, "x", origin.Cond{}, c.max)
			if !errors.Is(err, c.err) || c.err == nil && err != nil {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if !bytes.Equal(got.Body, c.want) {
				t.Errorf("got %d bytes, want %d", len(got.Body), len(c.want))
			}
			if err == nil && got.ETag != `"1"` {
				t.Errorf("entity tag %q is lost", got.ETag)
			}
			if closed != 1 {
				t.Errorf("body closed %d times", closed)
			}
		})
	}
}

type closer struct {
	io.Reader
	n *int
}

func (c closer) Close() error { *c.n++; return nil }

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestReadAll_DoesNotTrustPromisedSize(t *testing.T) {
	src := gives(func(context.Context) *origin.Object { return object(strings.NewReader("liar"), 64<<20) })
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := origin.ReadAll(t.Context(), src, "x", origin.Cond{}, 64<<20)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, origin.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
		t.Errorf("%d bytes allocated for a body of 4", took)
	}
}

func TestReadAll_ChecksEntityTag(t *testing.T) {
	for _, etag := range []string{"", `"2"`, `W/"1"`, "1"} {
		src := gives(func(context.Context) *origin.Object {
			o := object(strings.NewReader(""), 0)
			o.ETag = etag
			return o
		})
		_, err := origin.ReadAll(t.Context(), src, "x", origin.Cond{Match: "1"}, 9)
		if !errors.Is(err, origin.ErrChanged) {
			t.Errorf("%s: error %v, want ErrChanged", etag, err)
		}
	}
}

func TestReadAll_ContextCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	src := gives(func(ctx context.Context) *origin.Object { cancel(); return object(hang{ctx}, 5) })
	_, err := origin.ReadAll(ctx, src, "x", origin.Cond{}, 9)
	if !errors.Is(err, context.Canceled) || errors.Is(err, origin.ErrUnavailable) {
		t.Errorf("error %v, want context.Canceled only", err)
	}
}

func TestNewWhole_ReadAllDoesNotCopy(t *testing.T) {
	body := []byte("hello")
	src := origin.Limit(origin.Deadline(origin.Retry(gives(func(context.Context) *origin.Object {
		return origin.NewWhole(body)
	}), origin.RetryConfig{}), 0), origin.LimitConfig{})
	got, err := origin.ReadAll(t.Context(), src, "x", origin.Cond{}, 5)
	if err != nil || &got.Body[0] != &body[0] {
		t.Errorf("copied, or error %v", err)
	}
	if _, err := origin.ReadAll(t.Context(), src, "x", origin.Cond{}, 4); !errors.Is(err, origin.ErrTooLarge) {
		t.Errorf("error %v", err)
	}
}
