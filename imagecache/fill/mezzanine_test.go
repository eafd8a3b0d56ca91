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

// recordingResizer is a Resizer that records its jobs. Its images name their input and Spec;
// its mezzanines are real JPEGs, and its infos those of the header.
type recordingResizer struct {
	mu    sync.Mutex
	jobs  []string // "original: 10x.webp + mezzanine20.jpg info.json", "mezzanine: …"
	begun []bool   // for each job, whether resize.WithContinuation was set
	busy  bool     // leaves Optional Specs out
	enter func(specs []resize.Spec) error
	// optional, if not nil, is called before the Optional Specs.
	optional func() error
}

func (s *recordingResizer) Resize(ctx context.Context, job resize.Job) error {
	original := job.Original
	if job.Early != nil {
		whole, usable := job.Early.Whole()
		if !usable {
			return resize.ErrNotEarly
		}
		original = whole
	}
	h, err := resize.ReadHeader(original)
	if err != nil {
		return err
	}
	of := "original:"
	if job.Early != nil {
		of = "early original:"
	}
	if h.Kind == resize.KindJPEG && job.Early == nil {
		of = "mezzanine:"
	}
	for i, spec := range job.All() {
		if i == len(job.Specs) {
			of += " +"
		}
		of += " " + spec.Name()
	}
	s.mu.Lock()
	s.jobs = append(s.jobs, of)
	s.begun = append(s.begun, resize.IsContinuation(ctx))
	enter := s.enter
	s.mu.Unlock()
	if enter != nil {
		if err := enter(job.Specs); err != nil {
			return err
		}
	}
	sum := sha256.Sum256(original)
	specs := job.All()
	for i := range specs {
		first := i == len(job.Specs)
		if i >= len(job.Specs) { // in any order
			i = len(specs) - 1 - (i - len(job.Specs))
		}
		spec := specs[i]
		if first {
			if s.busy {
				return nil
			}
			if s.optional != nil {
				if err := s.optional(); err != nil {
					return err
				}
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		img := resize.Image{Body: fmt.Appendf(nil, "%s of %x", spec.Name(), sum[:8]), Format: spec.Format}
		switch spec.Shape {
		case resize.ShapeMezzanine:
			var b bytes.Buffer
			w, h := spec.OutputSize(h.Upright())
			m := image.NewGray(image.Rect(0, 0, w, h))
			m.Pix[0] = sum[0]
			if err := jpeg.Encode(&b, m, nil); err != nil {
				return err
			}
			img.Body = b.Bytes()
		case resize.ShapeInfo:
			if img, err = resize.NewInfo(h, len(original)).Image(); err != nil {
				return err
			}
		}
		job.Made(i, img)
	}
	return nil
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

// settled waits until f's jobs have ended, which may be after their requests.
func settled() { synctest.Wait() }

// makeMezzanine makes f store the mezzanine of a.png, with the second of two requests.
func makeMezzanine(t *testing.T, f *fill.Filler) {
	t.Helper()
	must(t, f, "/28x/v.1/posts/a.png.webp")
	settled()
	must(t, f, "/29x/v.1/posts/a.png.webp")
	settled()
}

func TestFiller_Fill_TogetherIsOneDecode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeSource{open: slowly(has(picture(t), origin.Freshness{Silent: true}))}
		s := &recordingResizer{}
		atOnce(t, withMezzanines(b, s, &tiertest.Map{}), post...)
		var got []string
		for _, job := range s.did() {
			of, specs, _ := strings.Cut(job, ": ")
			each := strings.Fields(specs)
			slices.Sort(each)
			got = append(got, strings.Replace(of+": "+strings.Join(each, " "), ": +", ":", 1))
		}
		slices.Sort(got)
		// The AVIF has a job of its own. The second of the two jobs makes the mezzanine.
		names := func(job string) string {
			return strings.NewReplacer(" +", "", " mezzanine20.jpg", "", " info.json", "").Replace(job)
		}
		if len(got) != 2 || b.opens.Load() != 1 ||
			names(got[0]) != "original: 10x10-cover.webp 15x.webp 20x.webp 8x.webp 9x.jpg" ||
			names(got[1]) != "original: 8x.avif" {
			t.Errorf("%d fetches and these jobs:\n%s", b.opens.Load(), strings.Join(got, "\n"))
		}
	})
}

// Each request is answered when its variant is encoded, and before the mezzanine is made.
func TestFiller_Fill_AnswersEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeSource{open: has(picture(t), origin.Freshness{Silent: true})}
		s, kept := &recordingResizer{}, &tiertest.Map{}
		f := withMezzanines(b, s, kept)
		must(t, f, "/10x/v.1/posts/a.png.webp")
		settled()
		goOn := make(chan struct{})
		s.optional = func() error { <-goOn; return nil }
		ctx, leave := context.WithCancel(t.Context())
		if _, err := f.Fill(ctx, ref(t, "/9x/v.1/posts/a.png.webp"), nil); err != nil {
			t.Fatal(err)
		}
		leave() // which must not stop the job
		settled()
		close(goOn)
		settled()
		must(t, f, "/8x/v.1/posts/a.png.webp")
		want := []string{
			"original: 10x.webp", "original: 9x.webp + mezzanine20.jpg info.json", "mezzanine: 8x.webp",
		}
		if did := s.did(); !slices.Equal(did, want) {
			t.Errorf("jobs %q", did)
		}
	})
}

// Variants requested while the mezzanine is being made are made from it, and admission does not
// refuse them.
func TestFiller_Fill_WaitsForMezzanineBeingMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeSource{open: has(picture(t), origin.Freshness{Silent: true})}
		s := &recordingResizer{}
		f := withMezzanines(b, s, &tiertest.Map{})
		must(t, f, "/10x/v.1/posts/a.png.webp")
		settled()
		goOn := make(chan struct{})
		s.optional = func() error { <-goOn; return nil }
		must(t, f, "/9x/v.1/posts/a.png.webp")
		go func() {
			got, err := f.Fill(t.Context(), ref(t, "/8x/v.1/posts/a.png.webp"), nil)
			if err != nil || got.Detail != imagecache.FromOriginal {
				t.Errorf("%s, %v", got.Detail, err)
			}
		}()
		settled()
		close(goOn)
		settled()
		want := []string{
			"original: 10x.webp", "original: 9x.webp + mezzanine20.jpg info.json", "mezzanine: 8x.webp",
		}
		if did := s.did(); !slices.Equal(did, want) || !slices.Equal(s.begun, []bool{false, false, true}) {
			t.Errorf("jobs %q, begun %v", did, s.begun)
		}
	})
}

// A request that arrives while the mezzanine is made shares the original only if that is fresh.
func TestFiller_Fill_StaleOriginalIsFetchedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeSource{open: has(picture(t), origin.Freshness{})}
		goOn := make(chan struct{})
		s := &recordingResizer{optional: func() error { <-goOn; return nil }}
		f := withMezzanines(b, s, &tiertest.Map{})
		for i, path := range []string{
			"/10x/live/posts/a.png.webp", "/9x/live/posts/a.png.webp", "/8x/live/posts/a.png.webp",
		} {
			if must(t, f, path); b.opens.Load() != int32(i+1) {
				t.Errorf("%s: %d fetches, want %d", path, b.opens.Load(), i+1)
			}
			settled()
		}
		close(goOn)
	})
}

// If the mezzanine cannot be made, the original is stored, and requests are answered as usual.
func TestFiller_Fill_NoMezzanineKeepsOriginal(t *testing.T) {
	failed := func() error { return fmt.Errorf("%w: for a test", resize.ErrFailed) }
	for name, c := range map[string]struct {
		resizer *recordingResizer
		event   string
	}{
		"busy":   {&recordingResizer{busy: true}, fill.MezzanineBusy},
		"failed": {&recordingResizer{optional: failed}, fill.MezzanineFailed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &fakeSource{open: has(picture(t), origin.Freshness{Silent: true})}
				kept, events := &tiertest.Map{}, map[string]int{}
				f := fill.New(fill.Config{
					Sources: map[string]origin.Source{"posts": b}, Resizer: c.resizer, Originals: kept,
					Mezzanine: mezzanineSide, Mezzanines: func(event string, n int) { events[event] += n },
				})
				for _, path := range []string{
					"/10x/v.1/posts/a.png.webp", "/9x/v.1/posts/a.png.webp", "/8x/v.1/posts/a.png.webp",
				} {
					must(t, f, path)
					settled()
				}
				if got := keysOf(kept); !slices.Equal(got, []string{"/orig/v.1/posts/a.png"}) || b.opens.Load() != 1 {
					t.Errorf("stored %q after %d fetches", got, b.opens.Load())
				}
				if events[fill.MezzanineUnlikely] != 1 || events[c.event] != 2 || events[fill.MezzanineMade] != 0 {
					t.Errorf("events %v", events)
				}
			})
		})
	}
}

func keysOf(tier *tiertest.Map) (keys []string) {
	for key := range tier.Images() {
		keys = append(keys, key.String())
	}
	slices.Sort(keys)
	return keys
}

// A profile whose originals are requested again makes mezzanines with the first request.
func TestFiller_Fill_LearnsWhichProfilesNeedMezzanines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeSource{open: has(picture(t), origin.Freshness{Silent: true})}
		s := &recordingResizer{}
		f := withMezzanines(b, s, &tiertest.Map{})
		first := func(name, shape string) string {
			before := len(s.did())
			must(t, f, "/"+shape+"/v.1/posts/"+name+".png.webp")
			settled()
			return s.did()[before]
		}
		const without, with = "original: 10x.webp", "original: 10x.webp + mezzanine20.jpg info.json"
		for i := range 6 {
			want := without
			if i >= 4 {
				want = with
			}
			if got := first(fmt.Sprint("post", i), "10x"); got != want {
				t.Errorf("post %d: %s, want %s", i, got, want)
			}
			first(fmt.Sprint("post", i), "9x")
			if got := first(fmt.Sprint("avatar", i), "8x"); got != "original: 8x.webp" {
				t.Errorf("avatar %d: %s", i, got)
			}
		}
		// Once no more sizes are requested, it stops.
		for i := range 7 {
			first(fmt.Sprint("only", i), "10x")
		}
		if got := first("last", "10x"); got != without {
			t.Errorf("at last: %s, want %s", got, without)
		}
	})
}

// A size is within 0.4 dB whether it is made from the original or the mezzanine (TestMezzanine_Resize in
// package vips), but its bytes differ; the entity tag is that of the bytes.
func TestFiller_Fill_TagNamesBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeSource{open: has(picture(t), origin.Freshness{Silent: true})}
		f := withMezzanines(b, &recordingResizer{}, &tiertest.Map{})
		direct := must(t, f, "/10x/v.1/posts/a.png.webp").Image
		settled()
		makeMezzanine(t, f)
		later := must(t, f, "/10x/v.1/posts/a.png.webp").Image
		if bytes.Equal(direct.Body, later.Body) || direct.ETag == later.ETag {
			t.Errorf("%s %s and %s %s", direct.ETag, direct.Body, later.ETag, later.Body)
		}
	})
}

func TestFiller_Fill_FromStoredMezzanine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeSource{open: has(picture(t), origin.Freshness{Silent: true})}
		kept := &tiertest.Map{}
		makeMezzanine(t, withMezzanines(b, &recordingResizer{}, kept))
		fetches := b.opens.Load()
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
		if want := []string{"mezzanine: 8x.webp", "mezzanine: 8x.avif"}; b.opens.Load() != fetches ||
			!slices.Equal(s.did(), want) {
			t.Errorf("%d fetches, jobs %q", b.opens.Load()-fetches, s.did())
		}
		// A Spec that needs more pixels than the mezzanine has is made from the original, without another
		// mezzanine.
		must(t, again, "/20x/v.1/posts/a.png.webp")
		if s.did()[2] != "original: 20x.webp" {
			t.Errorf("jobs %q", s.did())
		}
	})
}

func TestFiller_Purge_Mezzanine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeSource{open: has(picture(t), origin.Freshness{Silent: true})}
		kept := &tiertest.Map{}
		f := withMezzanines(b, &recordingResizer{}, kept)
		makeMezzanine(t, f)
		removed, err := f.Purge(t.Context(), imagecache.Original{Source: "posts", Name: "a.png"})
		if err != nil || removed.Images != 2 || len(keysOf(kept)) != 0 { // and the original of the first request
			t.Fatalf("%+v, %v", removed, err)
		}
		if got := must(t, f, "/10x/v.1/posts/a.png.webp"); got.Detail != imagecache.FromOrigin || b.opens.Load() != 2 {
			t.Errorf("%s after %d fetches", got.Detail, b.opens.Load())
		}
	})
}

func TestFiller_Fill_DamagedMezzanine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeSource{open: has(picture(t), origin.Freshness{Silent: true})}
		kept := &tiertest.Map{}
		makeMezzanine(t, withMezzanines(b, &recordingResizer{}, kept))
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
			s := &recordingResizer{}
			must(t, withMezzanines(b, s, kept), "/10x/v.1/posts/a.png.webp")
			settled()
			if !strings.HasPrefix(s.did()[0], "original: 10x.webp") {
				t.Fatalf("%s: jobs %q", name, s.did())
			}
		}
		makeMezzanine(t, withMezzanines(b, &recordingResizer{}, kept))
		if replaced, err := kept.Get(t.Context(), key); err != nil || !bytes.Equal(replaced.Body, whole.Body) {
			t.Fatalf("not replaced: %v", err)
		}
	})
}

func TestFiller_Fill_StoresOriginalWithoutMezzanine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeSource{open: has(picture(t), origin.Freshness{Silent: true})}
		const orig, mezzanine = "/orig/v.1/posts/a.png", "/mezzanine-20/v.1/posts/a.png"
		for side, want := range map[int][]string{0: {orig}, 21: {orig}, 20: {mezzanine, orig}} {
			kept := &tiertest.Map{}
			makeMezzanine(t, fill.New(fill.Config{
				Sources:   map[string]origin.Source{"posts": b},
				Resizer:   &recordingResizer{},
				Originals: kept,
				Mezzanine: side,
			}))
			if got := keysOf(kept); !slices.Equal(got, want) {
				t.Errorf("with --mezzanine %d: stored %q, want %q", side, got, want)
			}
		}
	})
}

func TestFiller_Fill_LiveMezzanine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeSource{open: has(picture(t), origin.Freshness{Lifetime: time.Minute})}
		s := &recordingResizer{}
		kept := &tiertest.Map{}
		f := withMezzanines(b, s, kept)
		must(t, f, "/10x/live/posts/a.png.webp")
		settled()
		b.open = has(picture(t), origin.Freshness{Lifetime: time.Minute})
		must(t, f, "/9x/live/posts/a.png.webp")
		settled()
		first := must(t, f, "/10x/live/posts/a.png.webp")
		settled()
		asked := b.opens.Load()
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
		if must(t, f, "/9x/live/posts/a.png.webp"); b.opens.Load() != asked+1 {
			t.Errorf("%d fetches: the revalidated mezzanine was not stored", b.opens.Load()-asked)
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
		// The stored mezzanine was made from another original.
		if did := s.did()[before:]; len(did) != 1 || !strings.HasPrefix(did[0], "original: 10x.webp") {
			t.Errorf("jobs %q", did)
		}
	})
}

// The stored mezzanine is fresh, and its original has been replaced since: a larger size fetches the new one. What is
// made from the mezzanine of that has its validator. With the old one, an origin that goes back to the old original
// would confirm it.
func TestFiller_Fill_MezzanineOfAReplacedOriginal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeSource{open: has(picture(t), origin.Freshness{Lifetime: time.Hour})}
		s, stored := &recordingResizer{}, &tiertest.Map{}
		f := withMezzanines(b, s, stored)
		for _, path := range []string{"/28x/live/posts/a.png.webp", "/29x/live/posts/a.png.webp"} {
			must(t, f, path)
			settled()
		}
		evicted := imagecache.Target{Key: imagecache.KeyOf(ref(t, "/orig/live/posts/a.png"))}
		if _, err := stored.Purge(t.Context(), evicted); err != nil {
			t.Fatal(err)
		}
		b.open = func(context.Context, origin.Cond) (*origin.Object, error) {
			obj := origin.NewWhole(picture(t))
			obj.ETag, obj.Fresh = `"def"`, origin.Freshness{Lifetime: time.Minute}
			return obj, nil
		}
		release := make(chan struct{})
		var others sync.WaitGroup
		s.enter = func(specs []resize.Spec) error {
			switch specs[0].Width {
			case 28: // its job makes the new mezzanine, too
				others.Go(func() { must(t, f, "/27x/live/posts/a.png.webp") })
				time.Sleep(time.Millisecond) // until that request waits for the next job
			case 27:
				<-release
			}
			return nil
		}
		must(t, f, "/28x/live/posts/a.png.webp")
		time.Sleep(time.Millisecond)
		for _, path := range []string{"/9x/live/posts/a.png.webp", "/info/live/posts/a.png.json"} {
			got := must(t, f, path)
			if got.Image.Origin.ETag != `"def"` || !got.Image.Fresh.Until.Before(time.Now().Add(time.Minute)) {
				t.Errorf("%s: %+v until %v", path, got.Image.Origin, got.Image.Fresh.Until)
			}
		}
		if n := s.mezzanines(); n != 2 {
			t.Errorf("%d mezzanines were made, want that of the new original", n)
		}
		close(release)
		others.Wait()
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
		f := withMezzanines(b, s, &tiertest.Map{})
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
		s := &recordingResizer{}
		f := withMezzanines(&fakeSource{open: has(original.Bytes(), origin.Freshness{})}, s, &tiertest.Map{})
		for s.mezzanines() == 0 {
			must(t, f, fmt.Sprintf("/%dx/v.1/posts/a.webp", width-len(s.did())))
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
				before := len(s.did())
				must(t, f, "/"+shape+"/v.1/posts/a.webp")
				did := s.did()[before:]
				if len(did) != 1 || strings.Contains(did[0], " +") || !madeFromMezzanine(spec, width) {
					continue
				}
				_, last, _ := strings.Cut(did[0], ": ")
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

func madeFromMezzanine(s resize.Spec, width int) bool {
	return s.FromMezzanine(width, 21, mezzanineSide)
}

// mezzanines counts the jobs with a mezzanine among their Optional Specs.
func (s *recordingResizer) mezzanines() (n int) {
	for _, job := range s.did() {
		n += strings.Count(job, "mezzanine20.jpg")
	}
	return n
}

func jpegOf(b *bytes.Buffer, width, height int) error {
	return jpeg.Encode(b, image.NewGray(image.Rect(0, 0, width, height)), nil)
}

func TestFiller_Fill_ForegroundBeforeBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blocked := make(chan struct{})
		b := &fakeSource{open: has(picture(t), origin.Freshness{Silent: true})}
		s := &recordingResizer{enter: func([]resize.Spec) error { <-blocked; return nil }}
		f := withMezzanines(b, s, &tiertest.Map{})
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

// The job of several requests has the priority of the most urgent one, even if that has become urgent later.
func TestFiller_Fill_RaisesJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeSource{open: slowly(has(picture(t), origin.Freshness{Silent: true}))}
		var raised atomic.Int32 // the priority of the job
		block := make(chan struct{})
		s := resizerFunc(func(ctx context.Context, job resize.Job) error {
			defer resize.OnRaise(ctx, func(p resize.Priority) { raised.Store(int32(p)) })()
			<-block
			for i := range job.Specs {
				job.Made(i, resize.Image{Body: []byte("x"), Format: resize.WebP, Width: 1, Height: 1})
			}
			return nil
		})
		f := withMezzanines(b, s, &tiertest.Map{})
		var raise [2]func(resize.Priority)
		var done sync.WaitGroup
		for i, path := range []string{"/10x/v.1/posts/a.png.webp", "/8x/v.1/posts/a.png.webp"} {
			ctx, raiseIt := resize.WithRaise(resize.WithPriority(t.Context(), resize.PriorityWarm))
			raise[i] = raiseIt
			done.Go(func() {
				if _, err := f.Fill(ctx, ref(t, path), nil); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		time.Sleep(time.Minute) // the original is there
		if p := resize.Priority(raised.Load()); p != resize.PriorityWarm {
			t.Errorf("the job begins with priority %d", p)
		}
		for i, want := range []resize.Priority{resize.PriorityPage, resize.PriorityLive} {
			raise[1-i](want)
			if p := resize.Priority(raised.Load()); p != want {
				t.Errorf("request %d was raised: the job has priority %d, want %d", 1-i, p, want)
			}
		}
		close(block)
		done.Wait()
	})
}

// The job of a live request is admitted as such, also if a request that was raised to live comes before it.
func TestFiller_Fill_AdmittedByTheHighest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeSource{open: slowly(has(picture(t), origin.Freshness{Silent: true}))}
		var first []resize.Priority
		s := resizerFunc(func(ctx context.Context, job resize.Job) error {
			first = append(first, resize.FirstPriorityOf(ctx))
			for i := range job.Specs {
				job.Made(i, resize.Image{Body: []byte("x"), Format: resize.WebP, Width: 1, Height: 1})
			}
			return nil
		})
		f := withMezzanines(b, s, &tiertest.Map{})
		raised, raise := resize.WithRaise(resize.WithPriority(t.Context(), resize.PriorityWarm))
		raise(resize.PriorityLive)
		var done sync.WaitGroup
		for i, ctx := range []context.Context{raised, t.Context()} {
			done.Go(func() {
				if _, err := f.Fill(ctx, ref(t, fmt.Sprintf("/%dx/v.1/posts/a.png.webp", 8+i)), nil); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		done.Wait()
		if !slices.Equal(first, []resize.Priority{resize.PriorityLive}) {
			t.Errorf("jobs of the first priorities %v, want one live job", first)
		}
	})
}

// A request whose priority is raised does not wait for a job of the lower one.
func TestFiller_Fill_RaisedRequestLeavesQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blocked := make(chan struct{})
		b := &fakeSource{open: has(picture(t), origin.Freshness{Silent: true})}
		s := &recordingResizer{enter: func([]resize.Spec) error { <-blocked; return nil }}
		f := withMezzanines(b, s, &tiertest.Map{})
		warm := resize.WithPriority(t.Context(), resize.PriorityWarm)
		go f.Fill(warm, ref(t, "/10x/v.1/posts/a.png.webp"), nil)
		synctest.Wait()
		s.mu.Lock()
		s.enter = nil
		s.mu.Unlock()
		ctx, raise := resize.WithRaise(warm)
		done := make(chan error, 1)
		go func() {
			_, err := f.Fill(ctx, ref(t, "/8x/v.1/posts/a.png.webp"), nil)
			done <- err
		}()
		synctest.Wait()
		if len(done) > 0 {
			t.Error("the second warm request does not wait for the first, so the test shows nothing")
		}
		raise(resize.PriorityPage)
		synctest.Wait()
		if len(done) == 0 || <-done != nil {
			t.Error("the raised request still waits, or has failed")
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
	f := withMezzanines(b, s, &tiertest.Map{})
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
		for _, path := range []string{"/10x/live/posts/a.png.webp", "/7x/live/posts/a.png.webp"} {
			must(t, f, path)
			settled()
		}
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
	tiertest.Map
	purging, goOn chan struct{}
}

func (s *slowTier) Purge(ctx context.Context, target imagecache.Target) (imagecache.Removed, error) {
	close(s.purging)
	<-s.goOn
	return s.Map.Purge(ctx, target)
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
