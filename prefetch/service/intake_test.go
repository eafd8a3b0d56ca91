package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/jetstream"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/prefetch/events"
	"github.com/novasocial/imagetier/prefetch/profile"
	"github.com/novasocial/imagetier/prefetch/warmer"
	"github.com/novasocial/imagetier/resize"
)

func TestQueueError(t *testing.T) {
	for from, to := range map[error]error{
		jetstream.ErrFull:        ErrQueueFull,
		jetstream.ErrTooLarge:    ErrTooLarge,
		jetstream.ErrUnavailable: ErrUnavailable,
		errors.New("EIO"):        ErrUnavailable,
	} {
		if err := queueError(fmt.Errorf("put: %w", from)); !errors.Is(err, to) || !errors.Is(err, from) {
			t.Errorf("%v becomes %v, want %v", from, err, to)
		}
	}
	if queueError(nil) != nil {
		t.Error("nil becomes an error")
	}
}

// fakeMetrics drops everything.
type fakeMetrics struct{}

func (fakeMetrics) Event(string, string) {}
func (fakeMetrics) Job(string)           {}
func (fakeMetrics) Lead(time.Duration)   {}
func (fakeMetrics) Path(string)          {}

// Without secrets events are refused, except on a developer's machine.
func TestService_Event_WithoutSecrets(t *testing.T) {
	profiles, err := profile.New(map[string][]string{"feed": {"440x.webp"}})
	if err != nil {
		t.Fatal(err)
	}
	open := func(dev bool) *Service {
		t.Helper()
		dir := t.TempDir()
		bus, err := jetstream.New(jetstream.Config{Dir: filepath.Join(dir, "queue")})
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(Config{Bus: bus, Metrics: fakeMetrics{}, Dir: dir, Profiles: profiles, Dev: dev})
		if err != nil {
			t.Fatal(err)
		}
		s.started = time.Time{} // do not wait for the queue, which does not run
		return s
	}
	body := func() ([]byte, error) { return []byte(`{"type":"post.deleted","data":{"posts":[{"id":"p1"}]}}`), nil }
	if _, err := open(false).Event(t.Context(), http.Header{}, body); !errors.Is(err, ErrForged) ||
		!strings.Contains(err.Error(), "--webhook-secrets") {
		t.Errorf("%v", err)
	}
	if taken, err := open(true).Event(t.Context(), http.Header{}, body); taken.Kind != "post.deleted" ||
		!errors.Is(err, ErrUnavailable) {
		t.Errorf("%s, %v", taken.Kind, err)
	}
}

// fakeTags records the tags that are stored.
type fakeTags struct {
	Tags
	learned []warmer.Tagged
	err     error
}

func (f *fakeTags) Knows(tag warmer.Tagged) bool { return slices.Contains(f.learned, tag) }

func (f *fakeTags) Take(_ context.Context, learn []warmer.Tagged, _ []string) error {
	f.learned = append(f.learned, learn...)
	return f.err
}

// fakeCache records the variants that are requested.
type fakeCache struct {
	Cache
	mu   sync.Mutex
	refs []imageurl.Ref // guarded by mu
}

func (f *fakeCache) Get(_ context.Context, ref imageurl.Ref) (imagecache.Image, imagecache.Outcome, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refs = append(f.refs, ref)
	return imagecache.Image{}, imagecache.Outcome{}, nil
}

// withQueue returns a Service with a queue, of which no job is taken.
func withQueue(t *testing.T) (*Service, *fakeTags) {
	t.Helper()
	dir := t.TempDir()
	bus, err := jetstream.New(jetstream.Config{Dir: filepath.Join(dir, "queue")})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- bus.Run(t.Context()) }()
	t.Cleanup(func() { <-ended })
	signer, err := imageurl.NewDevSigner()
	if err != nil {
		t.Fatal(err)
	}
	links, err := profile.NewLinks()
	if err != nil {
		t.Fatal(err)
	}
	tags := &fakeTags{}
	s, err := New(Config{
		Cache: &fakeCache{}, Bus: bus, Tags: tags, Metrics: fakeMetrics{}, Log: slog.New(slog.DiscardHandler), Dir: dir,
		Profiles: profile.BuiltIn(), Links: links, Dev: true, Signer: signer, WastedAfter: time.Hour,
		Sources: map[string]origin.Source{"posts": nil}, Buckets: []Bucket{{Name: "bucket", Source: "posts"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, tags
}

func (s *Service) event(t *testing.T, id, body string) (Taken, error) {
	t.Helper()
	header := http.Header{"Webhook-Id": {id}}
	return s.Event(t.Context(), header, func() ([]byte, error) { return []byte(body), nil })
}

// wantJobs checks how many jobs are queued.
func (s *Service) wantJobs(t *testing.T, want int) {
	t.Helper()
	if got, err := s.cfg.Bus.Stats(t.Context()); err != nil || got.Waiting != want {
		t.Errorf("%d jobs are queued, %v; want %d", got.Waiting, err, want)
	}
}

// An image may have been warmed without its post, whose deletion needs the tag.
func TestService_Event_PageOfRecentImages(t *testing.T) {
	s, tags := withQueue(t)
	for name, profileName := range map[string]string{"a.jpg": "feed", "u.jpg": events.Avatar} {
		ref := refsOf(t, "/440x/v.1/posts/"+name+".webp")[0]
		image := profile.Image{Source: "posts", Name: name, Version: ref.Version()}
		s.watch.Made(image, profileName, warmer.OnPage, nil)
	}
	body := `{"type":"feed.page","data":{"profile":"feed","posts":[{"id":"p1",` +
		`"image":{"source":"posts","name":"a.jpg","version":"v.1"},` +
		`"author":{"id":"u1","avatar":{"source":"posts","name":"u.jpg","version":"v.1"}}}]}}`
	want := []warmer.Tagged{
		{Tag: "post:p1", Of: imagecache.Original{Source: "posts", Name: "a.jpg"}},
		{Tag: "user:u1", Of: imagecache.Original{Source: "posts", Name: "u.jpg"}},
	}
	for _, id := range []string{"first", "second"} { // the second page has nothing new
		if _, err := s.event(t, id, body); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(tags.learned, want) {
			t.Errorf("after the %s page, learned %v, want %v", id, tags.learned, want)
		}
	}
	s.wantJobs(t, 0)
}

// The sender repeats a page that was refused, with the same id.
func TestService_Event_RefusedPageIsRepeated(t *testing.T) {
	s, _ := withQueue(t)
	body := `{"type":"feed.page","data":{"paths":["/i/_/440x/v.1/posts/a.jpg.webp"],` +
		`"posts":[{"id":"p1","image":{"source":"posts","name":"a.jpg","version":"v.1"}}]}}`
	s.pages.put(pageRefs(t, "other", maxPathsWaiting))
	if taken, err := s.event(t, "page", body); taken.Repeated || !errors.Is(err, ErrQueueFull) {
		t.Errorf("a page that does not fit: %+v, %v", taken, err)
	}
	for range maxPathsWaiting {
		s.pages.next(t.Context())
	}
	for _, repeated := range []bool{false, true} {
		if taken, err := s.event(t, "page", body); taken.Repeated != repeated || err != nil {
			t.Errorf("repeated: %v, %v; want %v", taken.Repeated, err, repeated)
		}
		if n := s.pages.waiting(); n != 1 {
			t.Errorf("%d paths wait, want 1", n)
		}
	}
}

// The purge of such a name could never be replicated.
func TestService_Notice_IgnoresLongName(t *testing.T) {
	s, _ := withQueue(t)
	record := func(name string) string {
		return `{"eventName":"ObjectRemoved:Delete","s3":{"bucket":{"name":"bucket"},"object":{"key":"` + name + `"}}}`
	}
	body := `{"Records":[` + record(strings.Repeat("n", imageurl.MaxName+1)) + "," +
		record(strings.Repeat("n", imageurl.MaxName)) + `]}`
	if kinds, err := s.Notice(t.Context(), []byte(body)); err != nil || !slices.Equal(kinds, []string{"s3.removed"}) {
		t.Errorf("%v, %v", kinds, err)
	}
	s.wantJobs(t, 1)
}

// Images that are warmed while the sender waits have the crop and the tags of queued ones.
func TestService_Now_KeepsCropAndTags(t *testing.T) {
	s, tags := withQueue(t)
	img := ImageFields{Source: "posts", Name: "a.jpg", Version: "v.1", Crop: "0x0x500x500", Tags: []string{"album:1"}}
	err := s.Now(t.Context(), WarmRequest{Profile: "feed", Images: []ImageFields{img}}, func(r WarmResult) {
		if r.Err != nil {
			t.Errorf("%+v", r)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	asked := s.cfg.Cache.(*fakeCache).refs
	if len(asked) == 0 {
		t.Error("nothing was requested")
	}
	want, err := resize.ParseCrop(img.Crop)
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range asked {
		if got := ref.Spec().Crop; got != want {
			t.Errorf("%v has the crop %v, want %v", ref, got, want)
		}
	}
	if len(tags.learned) != 1 || tags.learned[0].Tag != "album:1" {
		t.Errorf("learned %+v", tags.learned)
	}
}

// A request that is refused as a whole must not have begun an answer with its invalid images.
func TestService_Now_ReportsInvalidImagesOnceItBegins(t *testing.T) {
	wrong := []WarmResult{{Name: "/i/_/0x/v.1/posts/a.jpg", Err: errors.New("no such size")}}
	valid := ImageFields{Source: "posts", Name: "a.jpg", Version: "v.1", Tags: []string{"album:1"}}
	for name, test := range map[string]struct {
		profile string
		tags    error
		want    error
	}{
		"unknown profile":      {"unknown", nil, ErrInvalid},
		"tags not taken":       {"feed", errors.New("disk full"), ErrUnavailable},
		"tags not replicated":  {"feed", jetstream.ErrUnavailable, nil},
		"some that can be had": {"feed", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, tags := withQueue(t)
			tags.err = test.tags
			var reported []string
			err := s.Now(t.Context(), WarmRequest{
				Profile: test.profile, Images: []ImageFields{{Source: "none", Name: "b.jpg"}, valid}, Wrong: wrong,
			}, func(r WarmResult) {
				if r.Ref == (imageurl.Ref{}) {
					reported = append(reported, r.Name)
				}
			})
			if !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if test.want != nil && len(reported) > 0 || test.want == nil && len(reported) != 2 {
				t.Errorf("%v: reported %q", err, reported)
			}
		})
	}
}
