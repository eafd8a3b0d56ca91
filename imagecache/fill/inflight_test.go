package fill_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/imagecache/fill"
	"github.com/novasocial/imagetier/internal/inflight"
	"github.com/novasocial/imagetier/origin"
)

// arrives returns an Object whose body must still be read. size is -1 if unknown.
func arrives(body []byte, size int64) func(context.Context, origin.Cond) (*origin.Object, error) {
	return func(context.Context, origin.Cond) (*origin.Object, error) {
		return &origin.Object{
			Metadata: origin.Metadata{Size: size, ETag: `"abc"`, Fresh: origin.Freshness{Silent: true}},
			Body:     io.NopCloser(bytes.NewReader(body)),
		}, nil
	}
}

func TestFiller_Fill_BoundsBytesInFlight(t *testing.T) {
	body := picture(t)
	for name, c := range map[string]struct{ size, budget int64 }{
		"known size":   {int64(len(body)), int64(len(body)) * 3 / 2},
		"unknown size": {-1, 300 << 10}, // room for one first piece of 256 KiB
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				budget := inflight.New(c.budget)
				resizer := &fakeResizer{wait: make(chan struct{})}
				f := fill.New(fill.Config{
					Sources: map[string]origin.Source{"posts": &fakeSource{open: arrives(body, c.size)}},
					Resizer: resizer, InFlight: budget,
				})
				first := make(chan error, 1)
				go func() {
					_, err := f.Fill(t.Context(), ref(t, "/10x/v.1/posts/a.png.webp"), nil)
					first <- err
				}()
				synctest.Wait()
				_, err := f.Fill(t.Context(), ref(t, "/10x/v.1/posts/b.png.webp"), nil)
				if !errors.Is(err, origin.ErrBusy) {
					t.Errorf("a second original: %v, want ErrBusy", err)
				}
				close(resizer.wait)
				if err := <-first; err != nil {
					t.Error(err)
				}
				synctest.Wait()
				if n := budget.Stats().Bytes; n != 0 {
					t.Errorf("%d bytes in flight after the fills, want 0", n)
				}
				if _, err := f.Fill(t.Context(), ref(t, "/10x/v.1/posts/b.png.webp"), nil); err != nil {
					t.Errorf("once there is room: %v", err)
				}
				time.Sleep(time.Second) // the budget stops waiting
			})
		})
	}
}
