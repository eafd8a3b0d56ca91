package fill_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"image"
	"image/png"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/fill"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/imagecache/tiertest"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/resize"
)

// fakeSource is a Source with one answer. It records its requests.
type fakeSource struct {
	opens atomic.Int32
	cond  origin.Cond
	open  func(ctx context.Context, cond origin.Cond) (*origin.Object, error)
}

func (b *fakeSource) Open(ctx context.Context, _ string, cond origin.Cond) (*origin.Object, error) {
	b.opens.Add(1)
	b.cond = cond
	return b.open(ctx, cond)
}

func (b *fakeSource) Head(context.Context, string) (origin.Metadata, error) {
	return origin.Metadata{}, errors.New("a fill asks for no metadata")
}

func has(body []byte, fresh origin.Freshness) func(context.Context, origin.Cond) (*origin.Object, error) {
	return func(context.Context, origin.Cond) (*origin.Object, error) {
		obj := origin.NewWhole(body)
		obj.ETag, obj.Fresh = `"abc"`, fresh
		return obj, nil
	}
}

// fakeResizer is a Resizer whose images are the names of their Specs.
type fakeResizer struct {
	jobs atomic.Int32
	wait chan struct{} // may be nil
	err  error
}

func (p *fakeResizer) Resize(ctx context.Context, job resize.Job) error {
	p.jobs.Add(1)
	if p.wait != nil {
		select {
		case <-p.wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if p.err != nil {
		return p.err
	}
	for i, s := range job.Specs {
		job.Made(i, resize.Image{Body: []byte(s.Name()), Format: s.Format})
	}
	return nil
}

func picture(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 30, 20))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func ref(t testing.TB, path string) imageurl.Ref {
	t.Helper()
	r, err := imageurl.ParseRef(path)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func newFiller(b *fakeSource, p *fakeResizer) *fill.Filler {
	return fill.New(fill.Config{Sources: map[string]origin.Source{"posts": b}, Resizer: p})
}

func TestFiller_Fill_Variant(t *testing.T) {
	b := &fakeSource{open: has(picture(t), origin.Freshness{Silent: true})}
	f := newFiller(b, &fakeResizer{})
	got, err := f.Fill(t.Context(), ref(t, "/10x/e.abc/posts/cat.png.webp"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if string(got.Image.Body) != "10x.webp" || got.Image.ContentType != "image/webp" || !got.Image.Fresh.Pinned() ||
		len(
			got.Image.ETag,
		) != 34 || got.Image.LastModified.IsZero() || got.Detail != imagecache.FromOrigin || got.Status != 200 {
		t.Errorf("%+v", got)
	}
	if b.cond != (origin.Cond{Match: "abc"}) {
		t.Errorf("condition %+v, want a pin", b.cond)
	}
	other, err := f.Fill(t.Context(), ref(t, "/11x/e.abc/posts/cat.png.webp"), nil)
	if err != nil || other.Image.ETag == got.Image.ETag {
		t.Errorf("other bytes have the same tag %s, %v", other.Image.ETag, err)
	}
}

func TestFiller_Fill_SharesFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeSource{open: has(picture(t), origin.Freshness{Silent: true})}
		p := &fakeResizer{wait: make(chan struct{})}
		f := newFiller(b, p)
		for _, path := range []string{
			"/10x/v.1/posts/a.png.webp", "/20x/v.1/posts/a.png.webp", "/20x/v.1/posts/a.png.jpg",
		} {
			go func() {
				if _, err := f.Fill(t.Context(), ref(t, path), nil); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
		}
		if b.opens.Load() != 1 || p.jobs.Load() != 1 {
			t.Errorf("%d fetches for %d jobs, want 1 and 1 while the others wait", b.opens.Load(), p.jobs.Load())
		}
		f.Purge(t.Context(), imagecache.Original{Source: "posts", Name: "a.png"})
		go f.Fill(t.Context(), ref(t, "/30x/v.1/posts/a.png.webp"), nil)
		synctest.Wait()
		if b.opens.Load() != 2 {
			t.Errorf("%d fetches after a purge, want 2", b.opens.Load())
		}
		close(p.wait)
		synctest.Wait()
		if p.jobs.Load() != 3 {
			t.Errorf("%d jobs, want 3: the first request, the batch behind it, after the purge", p.jobs.Load())
		}
	})
}

// A request that arrives when an original has been fetched uses it only while it is fresh, also if
// requests that arrived before are still waiting for their variants.
func TestFiller_Fill_SharesNoStaleOriginal(t *testing.T) {
	for name, c := range map[string]struct {
		fresh origin.Freshness
		after time.Duration
		want  int32
	}{
		"no-store":                  {origin.Freshness{NoStore: true}, 0, 2},
		"no-store with a lifetime":  {origin.Freshness{NoStore: true, Lifetime: time.Minute}, 0, 2},
		"no-cache":                  {origin.Freshness{}, 0, 2},
		"fresh":                     {origin.Freshness{Lifetime: time.Minute}, 59 * time.Second, 1},
		"no longer fresh":           {origin.Freshness{Lifetime: time.Minute}, time.Minute, 2},
		"fresh without a statement": {origin.Freshness{Silent: true}, time.Minute, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fetch := make(chan struct{})
				open := has(picture(t), c.fresh)
				b := &fakeSource{open: func(ctx context.Context, cond origin.Cond) (*origin.Object, error) {
					<-fetch
					return open(ctx, cond)
				}}
				p := &fakeResizer{wait: make(chan struct{})}
				f := fill.New(fill.Config{
					Sources: map[string]origin.Source{"posts": b}, Resizer: p, LiveTTL: time.Hour,
				})
				ask := func(paths ...string) {
					for _, path := range paths {
						go func() {
							if _, err := f.Fill(t.Context(), ref(t, path), nil); err != nil {
								t.Error(err)
							}
						}()
					}
					synctest.Wait()
				}
				ask("/10x/live/posts/a.png.webp", "/20x/live/posts/a.png.webp")
				if b.opens.Load() != 1 {
					t.Errorf("%d fetches for two requests during the fetch, want 1", b.opens.Load())
				}
				close(fetch)
				synctest.Wait()
				time.Sleep(c.after)
				ask("/30x/live/posts/a.png.webp")
				if got := b.opens.Load(); got != c.want {
					t.Errorf("%d fetches with one after the fetch, want %d", got, c.want)
				}
				close(p.wait)
				synctest.Wait()
			})
		})
	}
}

func TestFiller_Fill_LastCallerStopsSharedFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stopped := make(chan struct{})
		b := &fakeSource{open: func(ctx context.Context, _ origin.Cond) (*origin.Object, error) {
			<-ctx.Done()
			close(stopped)
			return nil, ctx.Err()
		}}
		f := newFiller(b, &fakeResizer{})
		first, leaveFirst := context.WithCancel(t.Context())
		second, leaveSecond := context.WithCancel(t.Context())
		go f.Fill(first, ref(t, "/10x/v.1/posts/a.png.webp"), nil)
		go f.Fill(second, ref(t, "/20x/v.1/posts/a.png.webp"), nil)
		synctest.Wait()
		leaveFirst()
		synctest.Wait()
		select {
		case <-stopped:
			t.Fatal("the fetch stopped when the first caller left")
		default:
		}
		leaveSecond()
		<-stopped
	})
}

func TestFiller_Fill_BadOriginal(t *testing.T) {
	whole := picture(t)
	for name, c := range map[string]struct {
		body []byte
		want error
	}{
		"svg":   {[]byte("<svg xmlns='http://www.w3.org/2000/svg'/>"), resize.ErrUnsupported},
		"html":  {[]byte("<!doctype html><title>sorry</title>"), resize.ErrUnsupported},
		"empty": {nil, resize.ErrCorrupt},
		"cut":   {whole[:len(whole)/2], resize.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			p := &fakeResizer{}
			_, err := newFiller(
				&fakeSource{open: has(c.body, origin.Freshness{})},
				p,
			).Fill(t.Context(), ref(t, "/10x/v.1/posts/a.png.webp"), nil)
			if !errors.Is(err, c.want) || p.jobs.Load() != 0 {
				t.Errorf("%v after %d jobs, want %v after none", err, p.jobs.Load(), c.want)
			}
		})
	}
}

func TestFiller_Fill_OriginalMustDecode(t *testing.T) {
	b := &fakeSource{open: has(picture(t), origin.Freshness{})}
	r := ref(t, "/orig/v.1/posts/a.png")
	got, err := newFiller(b, &fakeResizer{}).Fill(t.Context(), r, nil)
	if err != nil || !bytes.Equal(got.Image.Body, picture(t)) || got.Image.ContentType != "image/png" {
		t.Errorf("%d bytes of %s, %v", len(got.Image.Body), got.Image.ContentType, err)
	}
	_, err = newFiller(b, &fakeResizer{err: resize.ErrCorrupt}).Fill(t.Context(), r, nil)
	if !errors.Is(err, resize.ErrCorrupt) {
		t.Errorf("a broken original: %v", err)
	}
}

func TestFiller_Fill_Live(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeSource{open: has(picture(t), origin.Freshness{Age: 10 * time.Second, Lifetime: time.Minute})}
		p := &fakeResizer{}
		f := newFiller(b, p)
		r := ref(t, "/10x/live/posts/a.png.webp")
		got, err := f.Fill(t.Context(), r, nil)
		if err != nil || !got.Image.Fresh.Until.Equal(time.Now().Add(50*time.Second)) {
			t.Fatalf("%+v, %v; want fresh for 50s", got.Image.Fresh, err)
		}
		time.Sleep(time.Hour)
		b.open = func(_ context.Context, cond origin.Cond) (*origin.Object, error) {
			if cond.NoneMatch != `"abc"` {
				t.Errorf("condition %+v, want If-None-Match", cond)
			}
			return nil, &origin.NotModified{Fresh: origin.Freshness{Lifetime: 2 * time.Minute}}
		}
		again, err := f.Fill(t.Context(), r, &got.Image)
		if err != nil || !again.NotModified || again.Status != 304 ||
			!again.Image.Fresh.Until.Equal(time.Now().Add(2*time.Minute)) ||
			!bytes.Equal(again.Image.Body, got.Image.Body) ||
			p.jobs.Load() != 1 {
			t.Errorf("%+v, %v after %d jobs", again, err, p.jobs.Load())
		}
	})
}

// The age of an answer includes its delay (RFC 9111, 4.2.3).
func TestFiller_Fill_CountsTheDelayOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fresh := func() origin.Freshness {
			time.Sleep(3 * time.Second)
			return origin.Freshness{Age: 3 * time.Second, Received: time.Now(), Lifetime: time.Minute}
		}
		b := &fakeSource{open: func(ctx context.Context, cond origin.Cond) (*origin.Object, error) {
			return has(picture(t), fresh())(ctx, cond)
		}}
		f := newFiller(b, &fakeResizer{})
		r := ref(t, "/10x/live/posts/a.png.webp")
		got, err := f.Fill(t.Context(), r, nil)
		if err != nil || !got.Image.Fresh.Until.Equal(time.Now().Add(57*time.Second)) {
			t.Fatalf("%+v, %v; want fresh for 57s", got.Image.Fresh, err)
		}
		for _, silent := range []bool{false, true} {
			b.open = func(context.Context, origin.Cond) (*origin.Object, error) {
				again := fresh()
				again.Silent = silent
				time.Sleep(time.Second) // the 304 is handled later
				return nil, &origin.NotModified{Fresh: again}
			}
			again, err := f.Fill(t.Context(), r, &got.Image)
			if err != nil || !again.Image.Fresh.Until.Equal(time.Now().Add(56*time.Second)) {
				t.Errorf("silent %v: %+v, %v; want fresh for 56s", silent, again.Image.Fresh, err)
			}
		}
	})
}

func TestFiller_Fill_Errors(t *testing.T) {
	for _, want := range []error{origin.ErrNotFound, origin.ErrUnavailable, origin.ErrDenied} {
		b := &fakeSource{open: func(context.Context, origin.Cond) (*origin.Object, error) { return nil, want }}
		_, err := newFiller(b, &fakeResizer{}).Fill(t.Context(), ref(t, "/10x/v.1/posts/a.png.webp"), nil)
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	b := &fakeSource{open: func(context.Context, origin.Cond) (*origin.Object, error) { panic("boom") }}
	_, err := newFiller(b, &fakeResizer{}).Fill(t.Context(), ref(t, "/10x/v.1/posts/a.png.webp"), nil)
	if !errors.Is(err, resize.ErrFailed) {
		t.Errorf("a panic: %v", err)
	}
	_, err = newFiller(b, &fakeResizer{}).Fill(t.Context(), ref(t, "/10x/v.1/avatars/a.png.webp"), nil)
	if !errors.Is(err, fill.ErrSource) {
		t.Errorf("an unknown source: %v", err)
	}
}

func TestFiller_Fill_VariantTooLarge(t *testing.T) {
	b := &fakeSource{open: has(picture(t), origin.Freshness{Silent: true})}
	p := &fakeResizer{}
	f := fill.New(
		fill.Config{
			Sources: map[string]origin.Source{"posts": b},
			Resizer: p,
			Limits:  resize.Limits{MaxPixels: 1_000_000},
		},
	)
	_, err := f.Fill(t.Context(), ref(t, "/4000x4000-cover-up/v.1/posts/cat.png.webp"), nil)
	if !errors.Is(err, resize.ErrTooLarge) || p.jobs.Load() != 0 {
		t.Errorf("%v after %d jobs, want ErrTooLarge before any", err, p.jobs.Load())
	}
	if _, err := f.Fill(t.Context(), ref(t, "/40x40-cover-up/v.1/posts/cat.png.webp"), nil); err != nil {
		t.Error(err)
	}
}

// A fill that fetched its original before a purge must not store it after the purge: other
// sizes would be made from it.
func TestFiller_Purge_DuringFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeSource{open: has(picture(t), origin.Freshness{Silent: true})}
		p := &fakeResizer{wait: make(chan struct{})}
		originals := &tiertest.Map{}
		f := fill.New(fill.Config{Sources: map[string]origin.Source{"posts": b}, Resizer: p, Originals: originals})
		before := make(chan error)
		go func() {
			_, err := f.Fill(t.Context(), ref(t, "/10x/live/posts/a.png.webp"), nil)
			before <- err
		}()
		synctest.Wait() // fetched, and being resized
		if _, err := f.Purge(t.Context(), imagecache.Original{Source: "posts", Name: "a.png"}); err != nil {
			t.Fatal(err)
		}
		close(p.wait)
		if err := <-before; err != nil {
			t.Fatal(err)
		}
		after, err := f.Fill(t.Context(), ref(t, "/20x/live/posts/a.png.webp"), nil)
		if err != nil || after.Detail != imagecache.FromOrigin || b.opens.Load() != 2 {
			t.Errorf("%s after %d fetches, %v; want another fetch", after.Detail, b.opens.Load(), err)
		}
	})
}

// A stored original of a directory is verified by its entity tag, which is its digest.
func TestFiller_Fill_VerifiesStoredOriginals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := picture(t)
		sum := sha256.Sum256(body)
		b := &fakeSource{open: func(context.Context, origin.Cond) (*origin.Object, error) {
			obj := origin.NewWhole(body)
			obj.ETag, obj.Fresh = fmt.Sprintf(`"%x"`, sum[:16]), origin.Freshness{Silent: true}
			return obj, nil
		}}
		tier := &tiertest.Map{}
		f := fill.New(fill.Config{
			Sources: map[string]origin.Source{"posts": b}, Digests: map[string]bool{"posts": true},
			Resizer: &fakeResizer{}, Originals: tier,
		})
		for i, want := range []int32{1, 1, 2} {
			synctest.Wait() // the work of the request before has ended, so its original is not shared
			if i == 2 {
				for key, img := range tier.Images() {
					img.Body[len(img.Body)/2] ^= 1
					_ = tier.Put(t.Context(), key, img)
				}
			}
			path := fmt.Sprintf("/%dx/v.1/posts/cat.png.webp", 10+i)
			if _, err := f.Fill(t.Context(), ref(t, path), nil); err != nil || b.opens.Load() != want {
				t.Errorf("%d: %d fetches, want %d, error %v", i, b.opens.Load(), want, err)
			}
		}
	})
}
