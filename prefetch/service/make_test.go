package service

import (
	"bytes"
	"context"
	"image"
	"image/jpeg"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/fill"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/prefetch/warmer"
	"github.com/novasocial/imagetier/resize"
)

// fakeSource serves one small JPEG after a while.
type fakeSource struct{ body []byte }

func (s fakeSource) Open(context.Context, string, origin.Cond) (*origin.Object, error) {
	time.Sleep(5 * time.Millisecond)
	return origin.NewWhole(s.body), nil
}

func (s fakeSource) Head(context.Context, string) (origin.Metadata, error) {
	return origin.Metadata{}, nil
}

// fakeResizer counts jobs and their Specs.
type fakeResizer struct {
	mu          sync.Mutex
	jobs, specs int             // guarded by mu
	priority    resize.Priority // of the last job; guarded by mu
}

func (r *fakeResizer) Resize(ctx context.Context, job resize.Job) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.jobs++
	r.specs += len(job.Specs)
	r.priority = resize.PriorityOf(ctx)
	for i, s := range job.Specs {
		job.Made(i, resize.Image{Body: []byte("x"), Format: s.Format, Width: 1, Height: 1})
	}
	return nil
}

// What another caller is making counts as held, because it is counted there.
func TestService_makeHere_Joins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var body bytes.Buffer
		if err := jpeg.Encode(&body, image.NewGray(image.Rect(0, 0, 800, 600)), nil); err != nil {
			t.Fatal(err)
		}
		s := &Service{cfg: Config{Cache: imagecache.New(imagecache.Config{
			FillTimeout: time.Minute,
			Filler: fill.New(fill.Config{
				Sources: map[string]origin.Source{"posts": fakeSource{body.Bytes()}}, Resizer: &fakeResizer{},
			}),
		})}}
		ref, err := imageurl.ParseRef("/440x/v.1/posts/a.jpg.webp")
		if err != nil {
			t.Fatal(err)
		}
		warmed := make(chan warmer.Outcome)
		go func() { warmed <- s.makeHere(t.Context(), []imageurl.Ref{ref})[0] }()
		synctest.Wait()
		page := resize.WithPriority(t.Context(), resize.PriorityPage)
		if out := s.makeHere(page, []imageurl.Ref{ref})[0]; out.Err != nil || !out.Hit || out.CPU != 0 {
			t.Errorf("the page that joins: %+v", out)
		}
		if out := <-warmed; out.Err != nil || out.Hit {
			t.Errorf("the warm job: %+v", out)
		}
	})
}

func TestService_makeHere_OneJobOfOneOriginal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var body bytes.Buffer
		if err := jpeg.Encode(&body, image.NewGray(image.Rect(0, 0, 800, 600)), nil); err != nil {
			t.Fatal(err)
		}
		r := &fakeResizer{}
		s := &Service{cfg: Config{Cache: imagecache.New(imagecache.Config{
			FillTimeout: time.Minute,
			Filler: fill.New(
				fill.Config{Sources: map[string]origin.Source{"posts": fakeSource{body.Bytes()}}, Resizer: r},
			),
		})}}
		var refs []imageurl.Ref
		for _, variant := range []string{"440x webp", "880x webp", "1320x webp", "440x jpg", "880x jpg", "1320x jpg"} {
			shape, format, _ := bytes.Cut([]byte(variant), []byte(" "))
			ref, err := imageurl.ParseRef("/" + string(shape) + "/v.1/posts/a.jpg." + string(format))
			if err != nil {
				t.Fatal(err)
			}
			refs = append(refs, ref)
		}
		for i, out := range s.makeHere(t.Context(), refs) {
			if out.Err != nil || out.Hit {
				t.Errorf("%s: %+v", refs[i], out)
			}
		}
		if r.jobs != 1 || r.specs != len(refs) || r.priority != resize.PriorityWarm {
			t.Errorf("%d jobs of %d Specs with priority %d, want one of %d with PriorityWarm",
				r.jobs, r.specs, r.priority, len(refs))
		}
	})
}
