package fill_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/fill"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/resize"
)

// recordingResizer is a Resizer that records its jobs. Its images name their input and Spec;
// its mezzanines are real JPEGs, and its infos those of the header.
type recordingResizer struct {
	mu    sync.Mutex
	jobs  []string // "original: 10x.webp info.json", "mezzanine: …"
	begun []bool   // for each job, whether resize.WithContinuation was set
	enter func(specs []resize.Spec) error
}

func (s *recordingResizer) Resize(ctx context.Context, original []byte, specs ...resize.Spec) ([]resize.Image, error) {
	h, err := resize.ReadHeader(original)
	if err != nil {
		return nil, err
	}
	of := "original:"
	if h.Kind == resize.KindJPEG {
		of = "mezzanine:"
	}
	for _, spec := range specs {
		of += " " + spec.Name()
	}
	s.mu.Lock()
	s.jobs = append(s.jobs, of)
	s.begun = append(s.begun, resize.IsContinuation(ctx))
	enter := s.enter
	s.mu.Unlock()
	if enter != nil {
		if err := enter(specs); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(original)
	var images []resize.Image
	for _, spec := range specs {
		img := resize.Image{Body: fmt.Appendf(nil, "%s of %x", spec.Name(), sum[:8]), Format: spec.Format}
		switch spec.Shape {
		case resize.ShapeMezzanine:
			var b bytes.Buffer
			w, h := spec.OutputSize(h.Upright())
			m := image.NewGray(image.Rect(0, 0, w, h))
			m.Pix[0] = sum[0]
			if err := jpeg.Encode(&b, m, nil); err != nil {
				return nil, err
			}
			img.Body = b.Bytes()
		case resize.ShapeInfo:
			if img, err = resize.NewInfo(h, len(original)).Image(); err != nil {
				return nil, err
			}
		}
		images = append(images, img)
	}
	return images, nil
}

func (s *recordingResizer) did() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.jobs)
}

// The mezzanines of these tests are 20 pixels wide, their originals 30 x 20.
const mezzanineSide = 20

func withMezzanines(b *fakeSource, s resize.Resizer, originals imagecache.Tier) *fill.Filler {
	return fill.New(
		fill.Config{
			Sources:   map[string]origin.Source{"posts": b},
			Resizer:   s,
			Originals: originals,
			Mezzanine: mezzanineSide,
		},
	)
}

func must(t testing.TB, f *fill.Filler, path string) imagecache.Filled {
	t.Helper()
	got, err := f.Fill(t.Context(), ref(t, path), nil)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return got
}

// atOnce fills all paths at the same time, in a synctest bubble.
func atOnce(t *testing.T, f *fill.Filler, paths ...string) map[string]imagecache.Image {
	t.Helper()
	var mu sync.Mutex
	made := make(map[string]imagecache.Image)
	var all sync.WaitGroup
	for _, path := range paths {
		all.Go(func() {
			got, err := f.Fill(t.Context(), ref(t, path), nil)
			if err != nil {
				t.Errorf("%s: %v", path, err)
			}
			mu.Lock()
			defer mu.Unlock()
			made[path] = got.Image
		})
	}
	all.Wait()
	return made
}

// slowly delays the answer of an origin until all requests are waiting.
func slowly(
	open func(context.Context, origin.Cond) (*origin.Object, error),
) func(context.Context, origin.Cond) (*origin.Object, error) {
	return func(ctx context.Context, cond origin.Cond) (*origin.Object, error) {
		time.Sleep(time.Millisecond) // fake time: advances when all goroutines wait
		return open(ctx, cond)
	}
}

var post = []string{
	"/10x10-cover/v.1/posts/a.png.webp", "/8x/v.1/posts/a.png.webp",
	"/15x/v.1/posts/a.png.webp", "/9x/v.1/posts/a.png.jpg",
	"/20x/v.1/posts/a.png.webp", "/8x/v.1/posts/a.png.avif", "/info/v.1/posts/a.png.json",
}

func TestFiller_Fill_SharesMezzanine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeSource{open: slowly(has(picture(t), origin.Freshness{Silent: true}))}
		s := &recordingResizer{}
		atOnce(t, withMezzanines(b, s, &fakeTier{}), post...)
		var got []string
		for _, job := range s.did() {
			of, specs, _ := strings.Cut(job, ": ")
			each := strings.Fields(specs)
			slices.Sort(each)
			got = append(got, of+": "+strings.Join(each, " "))
		}
		slices.Sort(got)
		want := []string{
			"mezzanine: 10x10-cover.webp 15x.webp 8x.webp 9x.jpg",
			"mezzanine: 8x.avif",
			"original: 20x.webp info.json mezzanine20.jpg",
		}
		// 15x15 of 30x20 is 15x10; the mezzanine is 20x13, of which 15x would be 15x10 too.
		if !slices.Equal(got, want) || b.opens.Load() != 1 {
			t.Errorf("%d fetches and these jobs:\n%s", b.opens.Load(), strings.Join(got, "\n"))
		}
	})
}

func TestFiller_Fill_SameBytesAloneAndTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeSource{open: slowly(has(picture(t), origin.Freshness{Silent: true}))}
		together := atOnce(t, withMezzanines(b, &recordingResizer{}, &fakeTier{}), post...)
		kept := &fakeTier{}
		oneByOne := withMezzanines(b, &recordingResizer{}, kept)
		must(t, oneByOne, "/7x/v.1/posts/a.png.jpg") // the mezzanine is there
		for _, path := range post {
			alone := must(t, withMezzanines(b, &recordingResizer{}, &fakeTier{}), path)
			nothingKept := must(t, withMezzanines(b, &recordingResizer{}, nil), path)
			fromKept := must(t, oneByOne, path)
			afterRestart := must(t, withMezzanines(b, &recordingResizer{}, kept), path)
			for how, img := range map[string]imagecache.Image{
				"alone": alone.Image, "where nothing is kept": nothingKept.Image,
				"from a kept mezzanine": fromKept.Image, "after a restart": afterRestart.Image,
			} {
				if want := together[path]; !bytes.Equal(img.Body, want.Body) || img.ETag != want.ETag ||
					img.ContentType != want.ContentType {
					t.Errorf(
						"%s %s: %s %s, together with others %s %s",
						path,
						how,
						img.ContentType,
						img.Body,
						want.ContentType,
						want.Body,
					)
				}
			}
		}
	})
}

// After a job that made the mezzanine, the second job is the smaller part of the work and is
// not refused under overload. A job that starts from a stored mezzanine may be.
func TestFiller_Fill_SecondJobHasBegun(t *testing.T) {
	b := &fakeSource{open: has(picture(t), origin.Freshness{Silent: true})}
	kept, s := &fakeTier{}, &recordingResizer{}
	must(t, withMezzanines(b, s, kept), "/10x/v.1/posts/a.png.webp")
	must(t, withMezzanines(b, s, kept), "/8x/v.1/posts/a.png.webp")
	if want := []bool{false, true, false}; !slices.Equal(s.begun, want) {
		t.Errorf("jobs %q, begun %v", s.did(), s.begun)
	}
}

func TestFiller_Fill_FromStoredMezzanine(t *testing.T) {
	b := &fakeSource{open: has(picture(t), origin.Freshness{Silent: true})}
	kept := &fakeTier{}
	must(t, withMezzanines(b, &recordingResizer{}, kept), "/10x/v.1/posts/a.png.webp")
	s := &recordingResizer{}
	again := withMezzanines(b, s, kept)
	for _, path := range []string{
		"/8x/v.1/posts/a.png.webp", "/info/v.1/posts/a.png.json", "/8x/v.1/posts/a.png.avif",
	} {
		if got := must(t, again, path); got.Detail != imagecache.FromOriginal || got.Status != 0 ||
			!got.Image.Fresh.Pinned() {
			t.Errorf("%s: %s, origin answered %d", path, got.Detail, got.Status)
		}
	}
	if want := []string{"mezzanine: 8x.webp", "mezzanine: 8x.avif"}; b.opens.Load() != 1 ||
		!slices.Equal(s.did(), want) {
		t.Errorf("%d fetches, jobs %q", b.opens.Load(), s.did())
	}
	// A Spec that needs more pixels than the mezzanine has costs a fetch, but no new mezzanine.
	if got := must(t, again, "/20x/v.1/posts/a.png.webp"); got.Detail != imagecache.FromOrigin || b.opens.Load() != 2 ||
		s.did()[2] != "original: 20x.webp" {
		t.Errorf("%s after %d fetches, jobs %q", got.Detail, b.opens.Load(), s.did())
	}
	var held []string
	kept.images.Range(func(k, _ any) bool { held = append(held, k.(imagecache.Key).String()); return true })
	if !slices.Equal(held, []string{"/mezzanine-20/v.1/posts/a.png"}) {
		t.Errorf("stored: %q", held)
	}
}

func TestFiller_Purge_Mezzanine(t *testing.T) {
	b := &fakeSource{open: has(picture(t), origin.Freshness{Silent: true})}
	kept := &fakeTier{}
	f := withMezzanines(b, &recordingResizer{}, kept)
	must(t, f, "/10x/v.1/posts/a.png.webp")
	removed, err := f.Purge(t.Context(), imagecache.Original{Source: "posts", Name: "a.png"})
	if err != nil || removed.Images != 1 {
		t.Fatalf("%+v, %v", removed, err)
	}
	if got := must(t, f, "/10x/v.1/posts/a.png.webp"); got.Detail != imagecache.FromOrigin || b.opens.Load() != 2 {
		t.Errorf("%s after %d fetches", got.Detail, b.opens.Load())
	}
}

func TestFiller_Fill_DamagedMezzanine(t *testing.T) {
	b := &fakeSource{open: has(picture(t), origin.Freshness{Silent: true})}
	kept := &fakeTier{}
	want := must(t, withMezzanines(b, &recordingResizer{}, kept), "/10x/v.1/posts/a.png.webp")
	key, err := imagecache.MezzanineKey(ref(t, "/10x/v.1/posts/a.png.webp"), mezzanineSide)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := kept.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	damage := map[string][]byte{"none": {}, "cut": whole.Body[:len(whole.Body)-1], "its beginning": whole.Body[:7]}
	for i := range whole.Body {
		b := bytes.Clone(whole.Body)
		b[i] ^= 0x40
		damage[fmt.Sprintf("byte %d", i)] = b
	}
	for name, body := range damage {
		img := whole
		img.Body = body
		_ = kept.Put(t.Context(), key, img)
		before := b.opens.Load()
		got := must(t, withMezzanines(b, &recordingResizer{}, kept), "/10x/v.1/posts/a.png.webp")
		if b.opens.Load() != before+1 || !bytes.Equal(got.Image.Body, want.Image.Body) {
			t.Fatalf("%s: %d fetches, %s", name, b.opens.Load()-before, got.Image.Body)
		}
		if replaced, err := kept.Get(t.Context(), key); err != nil || !bytes.Equal(replaced.Body, whole.Body) {
			t.Fatalf("%s: not replaced: %v", name, err)
		}
	}
}

func TestFiller_Fill_StoresOriginalWithoutMezzanine(t *testing.T) {
	b := &fakeSource{open: has(picture(t), origin.Freshness{Silent: true})}
	for side, want := range map[int]string{
		0: "/orig/v.1/posts/a.png", 21: "/orig/v.1/posts/a.png", 20: "/mezzanine-20/v.1/posts/a.png",
	} {
		kept := &fakeTier{}
		f := fill.New(
			fill.Config{
				Sources:   map[string]origin.Source{"posts": b},
				Resizer:   &recordingResizer{},
				Originals: kept,
				Mezzanine: side,
			},
		)
		must(t, f, "/10x/v.1/posts/a.png.webp")
		kept.images.Range(func(k, _ any) bool {
			if k.(imagecache.Key).String() != want {
				t.Errorf("with --mezzanine %d: stored %s", side, k)
			}
			return true
		})
	}
}

func TestFiller_Fill_LiveMezzanine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeSource{open: has(picture(t), origin.Freshness{Lifetime: time.Minute})}
		s := &recordingResizer{}
		kept := &fakeTier{}
		f := withMezzanines(b, s, kept)
		first := must(t, f, "/10x/live/posts/a.png.webp")
		time.Sleep(time.Hour)
		b.open = func(_ context.Context, cond origin.Cond) (*origin.Object, error) {
			if cond.NoneMatch != `"abc"` {
				t.Errorf("condition %+v", cond)
			}
			return nil, &origin.NotModified{Fresh: origin.Freshness{Lifetime: time.Minute}}
		}
		second := must(t, f, "/8x/live/posts/a.png.webp")
		if second.Detail != imagecache.FromOriginal || second.Status != 304 ||
			!second.Image.Fresh.Until.Equal(time.Now().Add(time.Minute)) {
			t.Errorf("%s %d %+v", second.Detail, second.Status, second.Image.Fresh)
		}
		if must(t, f, "/9x/live/posts/a.png.webp"); b.opens.Load() != 2 {
			t.Errorf("%d fetches: the revalidated mezzanine was not stored", b.opens.Load())
		}
		// The stale variant is fresh as long as its original.
		time.Sleep(time.Hour)
		again, err := f.Fill(t.Context(), ref(t, "/10x/live/posts/a.png.webp"), &first.Image)
		if err != nil || !again.NotModified || !bytes.Equal(again.Image.Body, first.Image.Body) {
			t.Errorf("%+v, %v", again, err)
		}
		time.Sleep(time.Hour)
		b.open = func(context.Context, origin.Cond) (*origin.Object, error) {
			obj := origin.NewWhole(append(picture(t), picture(t)[:0]...))
			obj.ETag, obj.Fresh = `"def"`, origin.Freshness{Lifetime: time.Minute}
			return obj, nil
		}
		before := len(s.did())
		replaced, err := f.Fill(t.Context(), ref(t, "/10x/live/posts/a.png.webp"), &first.Image)
		if err != nil || replaced.NotModified || replaced.Image.Origin.ETag != `"def"` {
			t.Errorf("%+v, %v", replaced, err)
		}
		want := []string{"original: mezzanine20.jpg info.json", "mezzanine: 10x.webp"}
		if did := s.did()[before:]; !slices.Equal(did, want) {
			t.Errorf("jobs %q", did)
		}
	})
}

func TestFiller_Fill_BadSpecFailsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeSource{open: slowly(has(picture(t), origin.Freshness{Silent: true}))}
		s := &recordingResizer{enter: func(specs []resize.Spec) error {
			for _, spec := range specs {
				if spec.Gray {
					return fmt.Errorf("gray: %w", &resize.UnavailableError{What: "gray"})
				}
			}
			return nil
		}}
		f := withMezzanines(b, s, &fakeTier{})
		var all sync.WaitGroup
		for path, want := range map[string]error{
			"/10x/v.1/posts/a.png.webp": nil, "/8x-gray/v.1/posts/a.png.webp": resize.ErrSpec,
			"/20x/v.1/posts/a.png.webp": nil, "/20x-gray/v.1/posts/a.png.webp": resize.ErrSpec,
		} {
			all.Go(func() {
				if _, err := f.Fill(t.Context(), ref(t, path), nil); !errors.Is(err, want) {
					t.Errorf("%s: %v, want %v", path, err, want)
				}
			})
		}
		all.Wait()
		if b.opens.Load() != 1 {
			t.Errorf("%d fetches", b.opens.Load())
		}
	})
}

// The mezzanine of 31 x 20 is 20 x 13. A width of 15 gives a height of 10 from either, but
// 14 x 9 and x12 are a pixel off.
func TestFiller_Fill_SizeFromMezzanine(t *testing.T) {
	for width := 30; width < 40; width++ {
		var original bytes.Buffer
		if err := jpegOf(&original, width, 21); err != nil {
			t.Fatal(err)
		}
		for box := 1; box < 16; box++ {
			for _, shape := range []string{
				fmt.Sprintf("%dx", box), fmt.Sprintf("x%d", box), fmt.Sprintf("%dx%d", box, box),
				fmt.Sprintf("%dx-rot90", box), fmt.Sprintf("x%d-rot270-flip", box),
			} {
				spec, err := resize.ParseSpec(shape, "webp")
				if err != nil {
					t.Fatal(err)
				}
				s := &recordingResizer{}
				f := withMezzanines(&fakeSource{open: has(original.Bytes(), origin.Freshness{})}, s, nil)
				must(t, f, "/"+shape+"/v.1/posts/a.webp")
				did := s.did()
				last, ok := strings.CutPrefix(did[len(did)-1], "mezzanine: ")
				if len(did) == 1 || !ok {
					continue // not made from the mezzanine
				}
				made, err := resize.ParseSpecName(last)
				if err != nil {
					t.Fatal(err)
				}
				w, h := spec.OutputSize(width, 21)
				mw, mh := resize.Mezzanine(mezzanineSide).OutputSize(width, 21)
				if gotW, gotH := made.OutputSize(mw, mh); gotW != w || gotH != h {
					t.Errorf(
						"%s of %dx21 is %dx%d from its mezzanine as %s, want %dx%d",
						shape,
						width,
						gotW,
						gotH,
						last,
						w,
						h,
					)
				}
			}
		}
	}
}

func jpegOf(b *bytes.Buffer, width, height int) error {
	return jpeg.Encode(b, image.NewGray(image.Rect(0, 0, width, height)), nil)
}

func TestFiller_Fill_ForegroundBeforeBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blocked := make(chan struct{})
		b := &fakeSource{open: has(picture(t), origin.Freshness{Silent: true})}
		s := &recordingResizer{enter: func([]resize.Spec) error { <-blocked; return nil }}
		f := withMezzanines(b, s, &fakeTier{})
		go f.Fill(resize.WithPriority(t.Context(), resize.PriorityWarm), ref(t, "/10x/v.1/posts/a.png.webp"), nil)
		synctest.Wait()
		s.mu.Lock()
		s.enter = nil
		s.mu.Unlock()
		if got := must(t, f, "/8x/v.1/posts/a.png.webp"); len(got.Image.Body) == 0 || b.opens.Load() != 1 {
			t.Errorf("%d fetches", b.opens.Load())
		}
		close(blocked)
		synctest.Wait()
	})
}

func TestFiller_Fill_StopsAbandonedJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeSource{open: has(picture(t), origin.Freshness{Silent: true})}
		p := &fakeResizer{wait: make(chan struct{})}
		f := newFiller(b, p)
		first, leave := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() {
			_, err := f.Fill(first, ref(t, "/10x/v.1/posts/a.png.webp"), nil)
			gone <- err
		}()
		synctest.Wait()
		served := make(chan error)
		go func() {
			_, err := f.Fill(t.Context(), ref(t, "/20x/v.1/posts/a.png.webp"), nil)
			served <- err
		}()
		synctest.Wait()
		if p.jobs.Load() != 1 {
			t.Fatalf("%d jobs", p.jobs.Load())
		}
		leave()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("the caller that left: %v", err)
		}
		synctest.Wait()
		if p.jobs.Load() != 2 {
			t.Errorf("%d jobs: the abandoned job was not stopped", p.jobs.Load())
		}
		close(p.wait)
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

func TestFiller_Fill_ResizerPanics(t *testing.T) {
	b := &fakeSource{open: has(picture(t), origin.Freshness{})}
	s := &recordingResizer{enter: func(specs []resize.Spec) error { panic("boom") }}
	f := withMezzanines(b, s, &fakeTier{})
	if _, err := f.Fill(t.Context(), ref(t, "/10x/v.1/posts/a.png.webp"), nil); !errors.Is(err, resize.ErrFailed) {
		t.Errorf("%v", err)
	}
	s.enter = nil
	must(t, f, "/10x/v.1/posts/a.png.webp")
}

// A fill that begins while the tier is being purged could read an entry that is about to be
// removed, and store it again after the origin's 304.
func TestFiller_Purge_DuringRevalidation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeSource{open: has(picture(t), origin.Freshness{Lifetime: time.Minute})}
		kept := &slowTier{purging: make(chan struct{}), goOn: make(chan struct{})}
		f := withMezzanines(b, &recordingResizer{}, kept)
		must(t, f, "/10x/live/posts/a.png.webp")
		time.Sleep(time.Hour)
		purged := make(chan error)
		go func() {
			_, err := f.Purge(t.Context(), imagecache.Original{Source: "posts", Name: "a.png"})
			purged <- err
		}()
		<-kept.purging
		renewed := make(chan struct{})
		open := b.open
		b.open = func(ctx context.Context, cond origin.Cond) (*origin.Object, error) {
			if cond.NoneMatch != "" {
				<-renewed
				return nil, &origin.NotModified{Fresh: origin.Freshness{Lifetime: time.Hour}}
			}
			return open(ctx, cond)
		}
		filled := make(chan error)
		go func() {
			_, err := f.Fill(t.Context(), ref(t, "/8x/live/posts/a.png.webp"), nil)
			filled <- err
		}()
		synctest.Wait()
		close(kept.goOn)
		if err := <-purged; err != nil {
			t.Fatal(err)
		}
		close(renewed)
		if err := <-filled; err != nil {
			t.Fatal(err)
		}
		b.open = open
		before := b.opens.Load()
		if got := must(t, f, "/9x/live/posts/a.png.webp"); got.Detail != imagecache.FromOrigin ||
			b.opens.Load() != before+1 {
			t.Errorf("after the purge: %s, %d fetches", got.Detail, b.opens.Load()-before)
		}
	})
}

// slowTier waits before it purges.
type slowTier struct {
	fakeTier
	purging, goOn chan struct{}
}

func (s *slowTier) Purge(ctx context.Context, target imagecache.Target) (imagecache.Removed, error) {
	close(s.purging)
	<-s.goOn
	return s.fakeTier.Purge(ctx, target)
}

func TestMezzanineKey(t *testing.T) {
	r := ref(t, "/10x/e.~YSBi/posts/~YSBi.webp")
	key, err := imagecache.MezzanineKey(r, 1440)
	if err != nil || key.String() != "/mezzanine-1440/e.~YSBi/posts/~YSBi" ||
		key.Original() != imagecache.KeyOf(r).Original() {
		t.Errorf("%s of %+v, %v", key, key.Original(), err)
	}
	if _, err := imageurl.ParseRef(key.String() + ".jpg"); err == nil {
		t.Error("a URL has the same key")
	}
}
