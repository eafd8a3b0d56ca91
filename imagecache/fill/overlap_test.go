package fill_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/fill"
	"github.com/novasocial/imagetier/imagecache/tiertest"
	"github.com/novasocial/imagetier/internal/circuit"
	"github.com/novasocial/imagetier/internal/inflight"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/origin/breaker"
	"github.com/novasocial/imagetier/resize"
)

// download is how long the originals of these tests take to arrive, from the first bytes to the last.
const download = 100 * time.Millisecond

// pieces is a body that arrives in a hundred pieces.
type pieces struct {
	ctx   context.Context
	body  []byte
	size  int // of a piece
	pause time.Duration
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.body) == 0 {
		return 0, io.EOF
	}
	select {
	case <-time.After(p.pause):
	case <-p.ctx.Done():
		return 0, p.ctx.Err()
	}
	n := copy(b, p.body[:min(p.size, len(p.body))])
	p.body = p.body[n:]
	return n, nil
}

// slow returns an object whose body takes download to arrive, and ends after n bytes.
func slow(ctx context.Context, body []byte, n int) *origin.Object {
	return &origin.Object{
		Metadata: origin.Metadata{Size: int64(len(body)), ETag: `"abc"`, Fresh: origin.Freshness{Silent: true}},
		Body:     io.NopCloser(&pieces{ctx: ctx, body: body[:n], size: len(body)/100 + 1, pause: download / 100}),
	}
}

func slowly100(body []byte) func(context.Context, origin.Cond) (*origin.Object, error) {
	return func(ctx context.Context, _ origin.Cond) (*origin.Object, error) {
		return slow(ctx, body, len(body)), nil
	}
}

// bigJPEG returns a JPEG that takes about 24 ms to decode.
func bigJPEG(t testing.TB, grey uint8) []byte {
	t.Helper()
	m := image.NewGray(image.Rect(0, 0, 3000, 2000))
	for i := range m.Pix {
		m.Pix[i] = grey + uint8(i%7)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// earlyResizer is a Resizer that records its jobs, "early 640x.jpg" or "640x.jpg". Its images name Spec and original.
type earlyResizer struct {
	mu     sync.Mutex
	jobs   []string
	begun  time.Time // when the last job began
	refuse error     // of early jobs
	ended  error     // of the last early job
}

func (s *earlyResizer) Resize(ctx context.Context, job resize.Job) error {
	s.mu.Lock()
	name := job.Specs[0].Name()
	for _, spec := range job.Specs[1:] {
		name += " " + spec.Name()
	}
	if job.Early != nil {
		name = "early " + name
	}
	s.jobs = append(s.jobs, name)
	s.begun = time.Now()
	s.mu.Unlock()
	if job.Early != nil {
		original, err := s.whole(ctx, job.Early)
		s.mu.Lock()
		s.ended = err
		s.mu.Unlock()
		if err != nil {
			return err
		}
		job.Original = original
	}
	for i, spec := range job.Specs {
		job.Made(i, resize.Image{Body: named(spec.Name(), job.Original), Format: spec.Format})
	}
	return nil
}

func (s *earlyResizer) whole(ctx context.Context, a *resize.Arriving) ([]byte, error) {
	for s.refuse == nil {
		p := a.Progress()
		switch {
		case p.Usable:
			return p.Bytes, nil
		case p.Ended:
			return nil, resize.ErrNotEarly
		}
		select {
		case <-p.Change:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return nil, s.refuse
}

func named(spec string, original []byte) []byte {
	sum := sha256.Sum256(original)
	return fmt.Appendf(nil, "%s of %x", spec, sum[:8])
}

// lastEnd returns the error of the last early job, nil while it runs.
func (s *earlyResizer) lastEnd() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

func (s *earlyResizer) did() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.jobs)
}

func overlapping(b origin.Source, s resize.Resizer, originals imagecache.Tier) *fill.Filler {
	return counting(b, s, originals, nil)
}

// counting returns a Filler that adds the events of its early jobs to events.
func counting(b origin.Source, s resize.Resizer, originals imagecache.Tier, events *[]string) *fill.Filler {
	cfg := fill.Config{Sources: map[string]origin.Source{"posts": b}, Resizer: s, Originals: originals}
	if events != nil {
		cfg.EarlyJobs = func(event string) { *events = append(*events, event) }
	}
	return fill.New(cfg)
}

func TestFiller_Fill_OverlapsDownload(t *testing.T) {
	body := bigJPEG(t, 1)
	synctest.Test(t, func(t *testing.T) {
		resizer, originals, budget := &earlyResizer{}, &tiertest.Map{}, inflight.New(1<<30)
		f := fill.New(fill.Config{
			Sources: map[string]origin.Source{"posts": &fakeSource{open: slowly100(body)}},
			Resizer: resizer, Originals: originals, InFlight: budget,
		})
		start := time.Now()
		got := must(t, f, "/640x/v.1/posts/a.jpg.jpg")
		if !bytes.Equal(got.Image.Body, named("640x.jpg", body)) || got.Detail != imagecache.FromOrigin {
			t.Errorf("%s, %+v", got.Image.Body, got)
		}
		if jobs := resizer.did(); !slices.Equal(jobs, []string{"early 640x.jpg"}) {
			t.Errorf("jobs %q, want one early job", jobs)
		}
		// It begins when as much is missing as arrives in 24 ms.
		if at := resizer.begun.Sub(start); at < 70*time.Millisecond || at > 85*time.Millisecond {
			t.Errorf("the job began after %v of %v", at, download)
		}
		settled()
		if keys := keysOf(originals); len(keys) != 1 {
			t.Errorf("%q are kept, want the original", keys)
		}
		if n := budget.Stats().Bytes; n != 0 {
			t.Errorf("%d bytes in flight after the fill, want 0", n)
		}
	})
}

// What a page announced is needed as soon as what a client waits for; other warming never waits for an origin on a
// resize process.
func TestFiller_Fill_HurriesForPage(t *testing.T) {
	body := bigJPEG(t, 1)
	for priority, want := range map[resize.Priority]string{
		resize.PriorityLive: "early 640x.webp",
		resize.PriorityPage: "early 640x.webp",
		resize.PriorityWarm: "640x.webp",
	} {
		synctest.Test(t, func(t *testing.T) {
			resizer := &earlyResizer{}
			f := overlapping(&fakeSource{open: slowly100(body)}, resizer, nil)
			ctx := resize.WithPriority(t.Context(), priority)
			if _, err := f.Fill(ctx, ref(t, "/640x/v.1/posts/a.jpg.webp"), nil); err != nil {
				t.Fatal(err)
			}
			if jobs := resizer.did(); !slices.Equal(jobs, []string{want}) {
				t.Errorf("priority %d: jobs %q, want %q", priority, jobs, want)
			}
		})
	}
}

func TestFiller_Fill_OverlapsThroughWrappersOfSource(t *testing.T) {
	body := bigJPEG(t, 1)
	synctest.Test(t, func(t *testing.T) {
		var source origin.Source = &fakeSource{open: slowly100(body)}
		source = origin.Deadline(origin.Retry(source, origin.RetryConfig{}), 0)
		source = breaker.New(origin.Limit(source, origin.LimitConfig{}), circuit.Config{})
		resizer := &earlyResizer{}
		must(t, overlapping(source, resizer, nil), "/640x/v.1/posts/a.jpg.jpg")
		if jobs := resizer.did(); !slices.Equal(jobs, []string{"early 640x.jpg"}) {
			t.Errorf("jobs %q, want one early job", jobs)
		}
	})
}

func TestFiller_Fill_OverlapIsSharedAndLaterRequestsWait(t *testing.T) {
	body := bigJPEG(t, 1)
	synctest.Test(t, func(t *testing.T) {
		resizer := &earlyResizer{}
		f := overlapping(&fakeSource{open: slowly100(body)}, resizer, nil)
		var late sync.WaitGroup
		late.Go(func() {
			time.Sleep(download * 9 / 10)
			must(t, f, "/320x/v.1/posts/a.jpg.jpg")
		})
		atOnce(t, f, "/640x/v.1/posts/a.jpg.jpg", "/640x/v.1/posts/a.jpg.webp")
		late.Wait()
		jobs := resizer.did()
		if len(jobs) != 2 || len(jobs[0]) != len("early 640x.jpg 640x.webp") || jobs[1] != "320x.jpg" {
			t.Errorf("jobs %q, want an early job with two Specs and a later job", jobs)
		}
	})
}

// Bytes that wait in the socket's buffer come in a burst, which says nothing about the rate of the
// rest.
func TestFiller_Fill_OverlapIgnoresBurst(t *testing.T) {
	body := bigJPEG(t, 1)
	synctest.Test(t, func(t *testing.T) {
		resizer := &earlyResizer{}
		start := time.Now()
		src := &fakeSource{open: func(ctx context.Context, _ origin.Cond) (*origin.Object, error) {
			o := slow(ctx, body, len(body))
			at := len(body) / 3
			rest := &pieces{ctx: ctx, body: body[at:], size: len(body)/100 + 1, pause: download / 100}
			o.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:1]), bytes.NewReader(body[1:at]), rest))
			return o, nil
		}}
		must(t, overlapping(src, resizer, nil), "/640x/v.1/posts/a.jpg.jpg")
		if at := resizer.begun.Sub(start); len(resizer.did()) != 1 || at < 10*time.Millisecond {
			t.Errorf("jobs %q, begun after %v", resizer.did(), at)
		}
	})
}

// A request that may not need the original, or that has no waiting client, does not begin an early
// job.
func TestFiller_Fill_OverlapOnlyForNewLiveRequests(t *testing.T) {
	body := bigJPEG(t, 1)
	stale := &imagecache.Image{Origin: imagecache.Validator{ETag: `"abc"`}}
	for name, c := range map[string]struct {
		priority resize.Priority
		path     string
		stale    *imagecache.Image
	}{
		"warm":     {resize.PriorityWarm, "/640x/v.1/posts/a.jpg.jpg", nil},
		"stale":    {resize.PriorityLive, "/640x/live/posts/a.jpg.jpg", stale},
		"original": {resize.PriorityLive, "/orig/v.1/posts/a.jpg", nil},
		"AVIF":     {resize.PriorityLive, "/640x/v.1/posts/a.jpg.avif", nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				resizer := &earlyResizer{}
				f := overlapping(&fakeSource{open: slowly100(body)}, resizer, nil)
				ctx := resize.WithPriority(t.Context(), c.priority)
				if _, err := f.Fill(ctx, ref(t, c.path), c.stale); err != nil {
					t.Fatal(err)
				}
				if jobs := resizer.did(); len(jobs) > 0 && jobs[0][:5] == "early" {
					t.Errorf("jobs %q, want no early one", jobs)
				}
			})
		})
	}
}

// Whenever an early job fails, the answer is that of a job with the complete, verified original, or the error
// of the fetch.
func TestFiller_Fill_OverlapFails(t *testing.T) {
	body, other := bigJPEG(t, 1), bigJPEG(t, 9)
	twoFrames := bytes.Clone(body)
	copy(twoFrames[len(body)/2:], "\xff\xc0\x00\x02")
	digest := fmt.Errorf("%w: %w", origin.ErrUnavailable, origin.ErrDigest)
	whole := func(ctx context.Context) *origin.Object { return slow(ctx, body, len(body)) }
	for name, c := range map[string]struct {
		refuse error
		tries  []func(ctx context.Context) *origin.Object
		want   []byte // nil: err
		err    error
		jobs   []string
		event  string
	}{
		"no child is idle": {
			refuse: resize.ErrNotEarly, tries: []func(context.Context) *origin.Object{whole},
			want: body, jobs: []string{"early 640x.jpg", "640x.jpg"}, event: fill.EarlyNotMade,
		},
		"the child dies": {
			refuse: fmt.Errorf("%w: %w", resize.ErrNotEarly, resize.ErrFailed),
			tries:  []func(context.Context) *origin.Object{whole},
			want:   body, jobs: []string{"early 640x.jpg", "640x.jpg"}, event: fill.EarlyNotMade,
		},
		"cut short": {
			tries: []func(context.Context) *origin.Object{
				func(ctx context.Context) *origin.Object { return slow(ctx, body, len(body)-1) },
			},
			err: origin.ErrUnavailable, jobs: []string{"early 640x.jpg"}, event: fill.EarlyBroken,
		},
		"wrong digest, then right": {
			tries: []func(context.Context) *origin.Object{
				func(ctx context.Context) *origin.Object {
					o := slow(ctx, body, len(body))
					o.Body = io.NopCloser(io.MultiReader(o.Body, errReader{digest}))
					return o
				},
				func(ctx context.Context) *origin.Object { return slow(ctx, other, len(other)) },
			},
			want: other, jobs: []string{"early 640x.jpg", "640x.jpg"}, event: fill.EarlyBroken,
		},
		"incomplete structure": {
			tries: []func(context.Context) *origin.Object{
				func(ctx context.Context) *origin.Object { return slow(ctx, twoFrames, len(twoFrames)) },
			},
			err: resize.ErrCorrupt, jobs: []string{"early 640x.jpg"}, event: fill.EarlyBroken,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				resizer, tier, tried := &earlyResizer{refuse: c.refuse}, &tiertest.Map{}, 0
				src := &fakeSource{open: func(ctx context.Context, _ origin.Cond) (*origin.Object, error) {
					if tried++; tried > 1 && resizer.lastEnd() == nil {
						t.Error("the early job still runs while the original is fetched again")
					}
					return c.tries[min(tried, len(c.tries))-1](ctx), nil
				}}
				var source origin.Source = src
				if len(c.tries) > 1 {
					source = origin.Retry(src, origin.RetryConfig{})
				}
				var events []string
				f := counting(source, resizer, tier, &events)
				got, err := f.Fill(t.Context(), ref(t, "/640x/v.1/posts/a.jpg.jpg"), nil)
				if !errors.Is(err, c.err) || (err == nil) != (c.want != nil) {
					t.Errorf("error %v, want %v", err, c.err)
				}
				if c.want != nil && !bytes.Equal(got.Image.Body, named("640x.jpg", c.want)) {
					t.Errorf("image %s was made of another original", got.Image.Body)
				}
				settled()
				if jobs := resizer.did(); !slices.Equal(jobs, c.jobs) {
					t.Errorf("jobs %q, want %q", jobs, c.jobs)
				}
				if c.refuse == nil && resizer.ended == nil {
					t.Error("the early job could use the original")
				}
				if !slices.Equal(events, []string{c.event}) {
					t.Errorf("events %q, want %q", events, c.event)
				}
				if keys := keysOf(tier); c.want == nil && len(keys) > 0 {
					t.Errorf("stored %q, want nothing", keys)
				}
			})
		})
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// The second job of an original makes the mezzanine, also while the original arrives.
func TestFiller_Fill_OverlapMakesMezzanine(t *testing.T) {
	body := bigJPEG(t, 1)
	synctest.Test(t, func(t *testing.T) {
		resizer, tier := &recordingResizer{}, &tiertest.Map{}
		f := withMezzanines(&fakeSource{open: slowly100(body)}, resizer, tier)
		must(t, f, "/640x/v.1/posts/a.jpg.jpg")
		settled()
		tier.Clear()
		must(t, f, "/320x/v.1/posts/a.jpg.jpg")
		settled()
		want := []string{"early original: 640x.jpg", "early original: 320x.jpg + mezzanine20.jpg info.json"}
		if jobs := resizer.did(); !slices.Equal(jobs, want) {
			t.Errorf("jobs %q, want %q", jobs, want)
		}
		if keys := keysOf(tier); len(keys) != 1 || !strings.Contains(keys[0], "mezzanine") {
			t.Errorf("%q are kept, want the mezzanine", keys)
		}
	})
}

// For the history, an early job and its repetition count as one job.
func TestFiller_Fill_OverlapFailsWithoutMezzanine(t *testing.T) {
	body := bigJPEG(t, 1)
	synctest.Test(t, func(t *testing.T) {
		resizer := &recordingResizer{}
		refusing := resizerFunc(func(ctx context.Context, job resize.Job) error {
			if job.Early != nil {
				return resize.ErrNotEarly
			}
			return resizer.Resize(ctx, job)
		})
		f := withMezzanines(&fakeSource{open: slowly100(body)}, refusing, &tiertest.Map{})
		must(t, f, "/640x/v.1/posts/a.jpg.jpg")
		settled()
		if jobs := resizer.did(); !slices.Equal(jobs, []string{"mezzanine: 640x.jpg"}) { // any JPEG is called that
			t.Errorf("jobs %q, want one without a mezzanine", jobs)
		}
	})
}

type resizerFunc func(ctx context.Context, job resize.Job) error

func (f resizerFunc) Resize(ctx context.Context, job resize.Job) error { return f(ctx, job) }

// A source whose original was late begins no early job for a while.
func TestFiller_Fill_OverlapPausesAfterLateOriginal(t *testing.T) {
	body := bigJPEG(t, 1)
	synctest.Test(t, func(t *testing.T) {
		resizer := &earlyResizer{refuse: fmt.Errorf("%w: %w", resize.ErrNotEarly, context.DeadlineExceeded)}
		var events []string
		f := counting(&fakeSource{open: slowly100(body)}, resizer, nil, &events)
		must(t, f, "/640x/v.1/posts/a.jpg.jpg")
		resizer.refuse = nil
		must(t, f, "/640x/v.1/posts/b.jpg.jpg")
		time.Sleep(11 * time.Second)
		must(t, f, "/640x/v.1/posts/c.jpg.jpg")
		want := []string{"early 640x.jpg", "640x.jpg", "640x.jpg", "early 640x.jpg"}
		if jobs := resizer.did(); !slices.Equal(jobs, want) {
			t.Errorf("jobs %q, want %q", jobs, want)
		}
		settled()
		if !slices.Equal(events, []string{fill.EarlyLate, fill.EarlyMade}) {
			t.Errorf("events %q, want late and made", events)
		}
	})
}

func TestFiller_Fill_OverlapEndsWithItsCaller(t *testing.T) {
	body := bigJPEG(t, 1)
	synctest.Test(t, func(t *testing.T) {
		resizer := &earlyResizer{}
		f := overlapping(&fakeSource{open: slowly100(body)}, resizer, nil)
		ctx, leave := context.WithCancel(t.Context())
		time.AfterFunc(download*9/10, leave)
		if _, err := f.Fill(ctx, ref(t, "/640x/v.1/posts/a.jpg.jpg"), nil); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want the caller's own reason", err)
		}
		settled()
		if jobs := resizer.did(); len(jobs) != 1 || !errors.Is(resizer.ended, context.Canceled) {
			t.Errorf("jobs %q, the last ended with %v, want one that was canceled", jobs, resizer.ended)
		}
	})
}
