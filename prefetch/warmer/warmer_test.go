package warmer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/prefetch/events"
	"github.com/novasocial/imagetier/prefetch/profile"
	"github.com/novasocial/imagetier/resize"
)

func image(t testing.TB, name string) profile.Image {
	t.Helper()
	v, err := imageurl.ParseVersion("v.1")
	if err != nil {
		t.Fatal(err)
	}
	img, err := profile.NewImage("posts", name, v)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func ref(t testing.TB, path string) imageurl.Ref {
	t.Helper()
	r, err := imageurl.ParseRef(path)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func spec(width int) resize.Spec { return resize.Spec{Width: width, Format: resize.WebP} }

func watch(t *testing.T, cfg WatchConfig) *Watch {
	t.Helper()
	if cfg.Profiles == nil {
		set, err := profile.New(map[string][]string{"two": {"100x.webp", "200x.webp"}})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Profiles = set
	}
	return NewWatch(cfg)
}

func names(specs []resize.Spec) string {
	var all []string
	for _, s := range specs {
		all = append(all, s.String())
	}
	return strings.Join(all, " ")
}

func TestWatch_Specs_FollowDemand(t *testing.T) {
	now := time.Unix(1e9, 0)
	var leads []time.Duration
	w := watch(
		t,
		WatchConfig{Now: func() time.Time { return now }, Lead: func(d time.Duration) { leads = append(leads, d) }},
	)
	n := 0
	day := func(images int, asked ...string) (made string) { // of the first of them
		for i := range images {
			n++
			specs, ok := w.Specs(image(t, "x"), "two", Unsaid, false)
			if !ok {
				t.Fatal("profile two is missing")
			}
			if i == 0 {
				made = names(specs)
			}
			img := image(t, fmt.Sprint(n))
			w.Made(img, "two", Unsaid, nil)
			w.Made(img, "two", Unsaid, specs)
			now = now.Add(time.Minute)
			for _, spec := range asked {
				for range 2 { // the second request does not count
					w.Asked(ref(t, "/"+spec+"/v.1/posts/"+fmt.Sprint(n)+".webp"))
				}
				w.Asked(ref(t, "/"+spec+"/v.2/posts/"+fmt.Sprint(n)+".webp"))      // another version
				w.Asked(ref(t, "/"+spec+"/v.1/posts/other"+fmt.Sprint(n)+".webp")) // another image
			}
		}
		now = now.Add(7 * time.Hour)
		w.Counts()
		return made
	}
	if made := day(enoughSeen, "100x"); made != "100x 200x" {
		t.Errorf("before any request, made %q", made)
	}
	used, before := w.Counts()
	if used.Variants < enoughSeen-3 || before.Variants < 1 || before.Variants > enoughSeen {
		t.Errorf("%d used, %d wasted, want %d and a few", used.Variants, before, enoughSeen)
	}
	if len(leads) != int(used.Variants) || leads[0] != time.Minute {
		t.Errorf("leads are %v", leads)
	}
	if made := day(10, "100x"); made != "100x" {
		t.Errorf("a variant without requests is still made: %q", made)
	}
	if _, wasted := w.Counts(); wasted != before {
		t.Errorf("%d wasted, want no more than %d", wasted, before)
	}
	day(100, "100x", "200x")
	if made := day(1); made != "100x 200x" {
		t.Errorf("made %q, want both Specs, which all clients request", made)
	}
	for mode, want := range map[Mode]string{All: "100x 200x", None: ""} {
		w := watch(t, WatchConfig{Mode: mode})
		if specs, ok := w.Specs(image(t, "x"), "two", Unsaid, false); !ok || names(specs) != want {
			t.Errorf("mode %d: %q", mode, names(specs))
		}
		if specs, _ := w.Specs(image(t, "x"), "two", Unsaid, true); names(specs) != "100x 200x" {
			t.Errorf("mode %d, all: %q", mode, names(specs))
		}
	}
	if _, ok := w.Specs(image(t, "x"), "none", Unsaid, false); ok {
		t.Error("a profile that does not exist was found")
	}
}

// More variants are requested of a post with thousands of viewers than of one with a few, and many
// more than of an image that was only seen on a page.
func TestWatch_Specs_DependOnReach(t *testing.T) {
	now := time.Unix(1e9, 0)
	w := watch(t, WatchConfig{Now: func() time.Time { return now }})
	for i, part := range []struct {
		reach Reach
		rare  int // one in this many images is requested as 200x
	}{{ReachOf(20), 5}, {ReachOf(5000), 1}, {OnPage, 5}} {
		for n := range enoughSeen * 2 {
			name := fmt.Sprintf("%d-%d", i, n)
			w.Made(image(t, name), "two", part.reach, nil)
			w.Asked(ref(t, "/100x/v.1/posts/"+name+".webp"))
			if n%part.rare == 0 {
				w.Asked(ref(t, "/200x/v.1/posts/"+name+".webp"))
			}
		}
	}
	now = now.Add(7 * time.Hour)
	w.Counts()
	for reach, want := range map[Reach]string{ReachOf(99): "100x", ReachOf(1000): "100x 200x", OnPage: "100x"} {
		if specs, _ := w.Specs(image(t, "x"), "two", reach, false); names(specs) != want {
			t.Errorf("reach %d: %q, want %q", reach, names(specs), want)
		}
	}
	// An image that is already watched keeps its reach when a page shows it.
	w.Made(image(t, "large"), "two", ReachOf(5000), nil)
	w.Made(image(t, "large"), "two", OnPage, nil)
	if reach := w.watched[w.key(image(t, "large").String())].reach; reach != ReachOf(5000) {
		t.Errorf("reach %d, want 5000", reach)
	}
}

// A Spec that is requested for 40 of 100 images is worth making for some images, as far as the
// budget allows, and for the same ones each time.
func TestWatch_Specs_OverBudgetChoosesSomeImages(t *testing.T) {
	now := time.Unix(1e9, 0)
	w := watch(t, WatchConfig{Now: func() time.Time { return now }})
	for n := range learnOver {
		name := strconv.Itoa(n)
		w.Made(image(t, name), "two", Unsaid, nil)
		w.Asked(ref(t, "/100x/v.1/posts/"+name+".webp"))
		if n%5 < 2 {
			w.Asked(ref(t, "/200x/v.1/posts/"+name+".webp"))
		}
	}
	now = now.Add(7 * time.Hour)
	w.Counts()
	const images = 2000
	both := 0
	for n := range images {
		img := image(t, "new"+strconv.Itoa(n))
		specs, _ := w.Specs(img, "two", Unsaid, false)
		again, _ := w.Specs(img, "two", Unsaid, false)
		if names(specs) != names(again) || names(specs) != "100x" && names(specs) != "100x 200x" {
			t.Fatalf("%q and then %q", names(specs), names(again))
		}
		both += len(specs) - 1
	}
	// Of n images, b get 200x, so that wasteMost of the CPU time is wasted: bC(1-0.4) =
	// 0.13(nc+bC).
	costs := float64(estimate(spec(100), nil)) / float64(estimate(spec(200), nil))
	want := wasteMost * costs / (1 - 0.4 - wasteMost) * images
	if math.Abs(float64(both)-want) > 0.03*images {
		t.Errorf("200x is made of %d of %d images, want some %.0f", both, images, want)
	}
}

// Without post events, the first page is the first sign of an image that many will view; with post
// events, a page is one more view.
func TestWatch_Specs_FirstPageCountsAsPostWithoutPostEvents(t *testing.T) {
	w := watch(t, WatchConfig{})
	for i := range enoughSeen {
		if specs, _ := w.Specs(image(t, "x"), "two", OnPage, false); names(specs) != "" {
			t.Errorf("after %d pages, too early to know that there are no post events: %q", i, names(specs))
		}
		w.Made(image(t, strconv.Itoa(i)), "two", OnPage, nil)
	}
	if specs, _ := w.Specs(image(t, "x"), "two", OnPage, false); names(specs) != "100x 200x" {
		t.Errorf("with page events only: %q", names(specs))
	}
	w.Made(image(t, "b"), "two", ReachOf(50), nil)
	if specs, _ := w.Specs(image(t, "x"), "two", OnPage, false); names(specs) != "" {
		t.Errorf("with post events: %q", names(specs))
	}
}

// Watches take hours to end; requests show earlier which Specs are unused.
func TestWatch_Specs_UseRequestsBeforeFirstWatchEnds(t *testing.T) {
	w := watch(t, WatchConfig{})
	large, small := ReachOf(100_000), ReachOf(30)
	if specs, _ := w.Specs(image(t, "x"), "two", small, false); names(specs) != "200x" {
		t.Errorf("before the first request: %q", names(specs))
	}
	for i := range 3000 {
		w.Asked(ref(t, fmt.Sprintf("/100x/v.1/posts/%d.webp", i)))
	}
	w.Asked(ref(t, "/200x/v.1/posts/1.webp"))
	if specs, _ := w.Specs(image(t, "x"), "two", small, false); names(specs) != "100x" {
		t.Errorf("for a post with a small audience: %q", names(specs))
	}
	if specs, _ := w.Specs(image(t, "x"), "two", large, false); names(specs) != "100x 200x" {
		t.Errorf("for a post with an audience of 100,000: %q", names(specs))
	}
}

func TestReachOf_GroupsByDigits(t *testing.T) {
	for audience, want := range map[int]Reach{
		-1: Unsaid, 0: Unsaid, 1: fewest, 9: fewest, 10: fewest + 1, 999: fewest + 2, 1000: fewest + 3,
		5_000_000: fewest + 6, 1 << 40: fewest + 6,
	} {
		if got := ReachOf(audience); got != want {
			t.Errorf("%d: %d, want %d", audience, got, want)
		}
	}
}

// Behind a balancer the node that makes a variant is not the one that took the job.
func TestWatch_MadeFor_CountsUse(t *testing.T) {
	w := watch(t, WatchConfig{})
	w.MadeFor(ref(t, "/100x/v.1/posts/a.webp"), Unsaid)
	w.MadeFor(ref(t, "/200x/v.1/posts/a.webp"), Unsaid)
	w.MadeFor(ref(t, "/201x/v.1/posts/a.webp"), Unsaid) // of no profile
	w.Asked(ref(t, "/200x/v.1/posts/a.webp"))
	if used, _ := w.Counts(); used.Variants != 1 || len(w.watched) != 1 {
		t.Errorf("%d used of %d images", used.Variants, len(w.watched))
	}
}

// A variant of a page is watched once it was made, and counts as used if a client requested it
// while it was being made.
func TestWatch_Making_CountsUseAndWaste(t *testing.T) {
	now := time.Unix(1e9, 0)
	w := watch(t, WatchConfig{Now: func() time.Time { return now }})
	joined, later := w.Making(ref(t, "/100x/v.1/posts/a.webp")), w.Making(ref(t, "/100x/v.1/posts/b.webp"))
	never, held := w.Making(ref(t, "/100x/v.1/posts/c.webp")), w.Making(ref(t, "/100x/v.1/posts/d.webp"))
	again := w.Making(ref(t, "/100x/v.1/posts/a.webp"))
	w.Asked(ref(t, "/100x/v.1/posts/a.webp"))
	again(true, Outcome{})
	joined(true, Outcome{})
	later(true, Outcome{})
	never(true, Outcome{})
	held(false, Outcome{})
	w.Asked(ref(t, "/100x/v.1/posts/a.webp"))
	w.Asked(ref(t, "/100x/v.1/posts/b.webp"))
	w.Asked(ref(t, "/100x/v.1/posts/d.webp"))
	now = now.Add(7 * time.Hour)
	if used, wasted := w.Counts(); used.Variants != 2 || wasted.Variants != 1 || len(w.making) != 0 {
		t.Errorf("%d used and %d wasted, want 2 and 1", used.Variants, wasted.Variants)
	}
}

// A variant that was requested while it was being made counts as used once, also if its image was watched before.
func TestWatch_Made_RequestedMeanwhile(t *testing.T) {
	w := watch(t, WatchConfig{})
	w.Made(image(t, "a"), "two", Unsaid, nil)
	done := w.Making(ref(t, "/100x/v.1/posts/a.webp"))
	w.Asked(ref(t, "/100x/v.1/posts/a.webp"))
	w.Asked(ref(t, "/200x/v.1/posts/a.webp"))
	done(true, Outcome{})
	if used, _ := w.Counts(); used.Variants != 1 {
		t.Errorf("%d used after the variant of a page was made, want 1", used.Variants)
	}
	w.Made(image(t, "a"), "two", Unsaid, []resize.Spec{spec(100), spec(200)})
	if used, _ := w.Counts(); used.Variants != 2 {
		t.Errorf("%d used after both were made, want 2", used.Variants)
	}
}

func TestWatch_Lately_ForgetsAfterTenMinutes(t *testing.T) {
	now := time.Unix(1e9, 0)
	w := watch(t, WatchConfig{Now: func() time.Time { return now }})
	w.Made(image(t, "a"), "two", Unsaid, nil)
	if !w.Lately(image(t, "a"), "two") || w.Lately(image(t, "a"), "feed") || w.Lately(image(t, "b"), "two") {
		t.Error("Lately: want true for image a in profile two only")
	}
	now = now.Add(10*time.Minute + time.Second)
	if w.Lately(image(t, "a"), "two") {
		t.Error("Lately is still true after ten minutes")
	}
}

// An image that is warmed for two profiles in turn does not keep the watches of others from ending.
func TestWatch_Made_ProfilesInTurn(t *testing.T) {
	now := time.Unix(1e9, 0)
	w := watch(t, WatchConfig{Now: func() time.Time { return now }, Most: 50})
	w.Made(image(t, "a"), "two", Unsaid, nil)
	w.Made(image(t, "b"), "two", Unsaid, []resize.Spec{spec(100)})
	for i := range 42 { // every ten minutes for seven hours
		now = now.Add(10 * time.Minute)
		w.Made(image(t, "a"), []string{"feed", "two"}[i%2], Unsaid, nil)
	}
	if _, wasted := w.Counts(); wasted.Variants != 1 {
		t.Errorf("%d wasted, want that of b", wasted.Variants)
	}
	for i := range 1000 {
		w.Made(image(t, "a"), []string{"feed", "two"}[i%2], Unsaid, nil)
	}
	if len(w.order) > 50 || len(w.young) > 50 {
		t.Errorf("%d in order, %d young, want at most 50", len(w.order), len(w.young))
	}
}

func TestWatch_Asked_IsBoundedAndDoesNotAllocate(t *testing.T) {
	w := watch(t, WatchConfig{Most: 10})
	for i := range 100 {
		w.Made(image(t, fmt.Sprint(i)), "two", Unsaid, []resize.Spec{spec(100)})
	}
	if len(w.watched) > 10 || len(w.order) > 10 {
		t.Errorf("%d are watched, %d in order", len(w.watched), len(w.order))
	}
	asked := ref(t, "/100x/v.1/posts/99.webp")
	if allocs := testing.AllocsPerRun(100, func() { w.Asked(asked) }); allocs != 0 {
		t.Errorf("a request that is watched costs %v allocations", allocs)
	}
	if used, _ := w.Counts(); used.Variants != 1 {
		t.Errorf("%d used", used.Variants)
	}
}

func BenchmarkAsked(b *testing.B) {
	w := NewWatch(WatchConfig{Profiles: profile.BuiltIn()})
	for i := range 50_000 {
		w.Made(image(b, fmt.Sprintf("2026/11/%d.jpg", i)), "feed", Unsaid, nil)
	}
	asked := ref(b, "/880x/v.1/posts/2026/11/777.jpg.webp")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			w.Asked(asked)
		}
	})
}

// bench is a queue of one job and what a Worker does with it.
type bench struct {
	did     []string
	makes   [][]string
	err     map[string]error // of Make, by the Spec's name; taken away when it is returned, unless it lasts
	tagged  map[string][]imagecache.Original
	ended   map[string]bool
	purging sync.Mutex // held while a purge is added to did
	purge   error
	unknown error // of tags
	tag     string
	attempt int
	onMake  func(*bench)
	waited  time.Duration // in the queue
	takes   time.Duration // of Make, after which made has its priority
	made    resize.Priority
}

func (b *bench) Of(_ context.Context, tag string) ([]imagecache.Original, error) {
	return b.tagged[tag], b.unknown
}
func (b *bench) LiveOf(ctx context.Context, tag string) ([]imagecache.Original, error) {
	return b.Of(ctx, "live "+tag)
}
func (b *bench) Ended(tag string, _ time.Time) bool { return b.ended[tag] }
func (b *bench) Forget(tag string) error {
	b.did = append(b.did, "forget "+tag)
	return nil
}

func (b *bench) work(t *testing.T, job any) string {
	t.Helper()
	data, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	if text, ok := job.(string); ok {
		data = []byte(text)
	}
	b.did = nil
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	settled := func(result string) { b.did = append(b.did, result); cancel() }
	given := false
	w := NewWorker(WorkerConfig{
		AtOnce: 1,
		Next: func(ctx context.Context) (Delivery, error) {
			if given {
				<-ctx.Done()
				return Delivery{}, ctx.Err()
			}
			given = true
			return Delivery{
				Data: data, Queued: time.Now().Add(-b.waited),
				Done: func(context.Context) error { settled("done"); return nil },
				Again: func(_ context.Context, reason string, after time.Duration) (bool, error) {
					settled(fmt.Sprintf("again after %v: %s", after, reason))
					return b.attempt > 5, nil
				},
				Bury:    func(_ context.Context, reason string) error { settled("bury: " + reason); return nil },
				Release: func() error { settled("release"); return nil },
			}, nil
		},
		Make: func(ctx context.Context, refs []imageurl.Ref) []Outcome {
			time.Sleep(b.takes)
			b.made = resize.PriorityOf(ctx)
			outcomes := make([]Outcome, len(refs))
			var asked []string
			for i, r := range refs {
				asked = append(asked, r.String())
				name := r.Spec().Name()
				outcomes[i].Err = b.err[name]
				if errors.Is(b.err[name], resize.ErrBusy) {
					delete(b.err, name)
				}
			}
			b.makes = append(b.makes, asked)
			if b.onMake != nil {
				b.onMake(b)
			}
			return outcomes
		},
		Purge: func(_ context.Context, of imagecache.Original) error {
			b.purging.Lock()
			defer b.purging.Unlock()
			b.did = append(b.did, "purge "+of.Name)
			return b.purge
		},
		Tags: b, Watch: watch(t, WatchConfig{Mode: All}),
		TagOf:   func(context.Context, imagecache.Original) (string, error) { return b.tag, nil },
		Observe: func(outcome string) { b.did = append(b.did, outcome) },
	})
	if err := w.Run(ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
	return strings.Join(b.did, ", ")
}

func TestWorker_Work_PurgesThenWarms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{
			tagged: map[string][]imagecache.Original{
				"post:p1":      {{Source: "posts", Name: "b"}},
				"live user:u1": {{Source: "posts", Name: "c"}},
			},
		}
		job := Job{Gone: []string{"post:p1"}, Stale: []string{"user:u1"}, Purges: []Purge{{"posts", []byte("a")}},
			Warms: []Warm{
				{Image: image(t, "a"), Profile: "two"},
			}, Refs: []RefText{{ref(t, "/9x/v.1/posts/d.webp")}, {ref(t, "/9x/v.1/posts/d.webp")}}} // twice
		did := strings.Split(b.work(t, job), ", ")
		slices.Sort(did[:min(3, len(did))]) // they run concurrently
		if did := strings.Join(did, ", "); did != "purge a, purge b, purge c, forget post:p1, ok, done" {
			t.Error(did)
		}
		got := fmt.Sprint(b.makes)
		if got != "[[/100x/v.1/posts/a.webp /200x/v.1/posts/a.webp] [/9x/v.1/posts/d.webp]]" {
			t.Error(got)
		}
	})
}

// While a node of a fleet is down, each purge waits 5 s for it. At the end of the process the rest of the job is left
// to another attempt.
func TestWorker_Purge_ManyOriginals(t *testing.T) {
	for _, c := range []struct {
		ends   time.Duration // of the process
		purges int64
		took   time.Duration
		want   error
	}{
		{time.Hour, 500, 40 * time.Second, nil},
		{7 * time.Second, 2 * purgesAtOnce, 10 * time.Second, context.DeadlineExceeded},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := &bench{tagged: map[string][]imagecache.Original{}}
			var job Job
			for i := range 500 {
				tag := fmt.Sprint("post:", i)
				job.Gone, b.tagged[tag] = append(job.Gone, tag), []imagecache.Original{{Source: "posts", Name: tag}}
			}
			var purges atomic.Int64
			w := NewWorker(WorkerConfig{Tags: b, Purge: func(context.Context, imagecache.Original) error {
				time.Sleep(5 * time.Second)
				purges.Add(1)
				return nil
			}})
			ctx, cancel := context.WithTimeout(t.Context(), c.ends)
			defer cancel()
			began := time.Now()
			err := w.purge(ctx, job)
			if took := time.Since(began); !errors.Is(err, c.want) || purges.Load() != c.purges || took != c.took {
				t.Errorf("%d purges in %v, %v; want %d in %v, %v", purges.Load(), took, err, c.purges, c.took, c.want)
			}
			if forgotten := len(b.did); (forgotten == 500) != (c.want == nil) {
				t.Errorf("%d tags are forgotten", forgotten)
			}
		})
	}
}

// The job of a new post that is not done soon gets the priority of pages, which show the post then.
func TestWorker_Work_PriorityOfNewPosts(t *testing.T) {
	for _, c := range []struct {
		waited, takes time.Duration // in the queue, and to make
		all           bool
		want          resize.Priority
	}{
		{0, announcedFor - 1, false, resize.PriorityWarm},
		{0, announcedFor + 1, false, resize.PriorityPage},
		{announcedFor / 2, announcedFor/2 + 1, false, resize.PriorityPage},
		{2 * announcedFor, time.Millisecond, false, resize.PriorityPage},
		{lateAfter, 2 * announcedFor, false, resize.PriorityWarm},
		{0, 2 * announcedFor, true, resize.PriorityWarm},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := &bench{waited: c.waited, takes: c.takes}
			job := Job{Warms: []Warm{{Image: image(t, "a"), Profile: "two", All: c.all}}}
			if did := b.work(t, job); did != "ok, done" || b.made != c.want {
				t.Errorf("%+v: priority %d, %s", c, b.made, did)
			}
		})
	}
}

func TestWorker_Work_FailedJob(t *testing.T) {
	for name, c := range map[string]struct {
		job  any
		set  func(*bench)
		want string
	}{
		"a purge fails: nothing is warmed": {
			Job{Purges: []Purge{{"posts", []byte("a")}}, Warms: []Warm{{Profile: "two"}}},
			func(b *bench) { b.purge = errors.New("disk") },
			"purge a, again after 0s: purge: disk, again",
		},
		"tags are not known: no tag is forgotten": {
			Job{Gone: []string{"post:p1"}, Purges: []Purge{{"posts", []byte("a")}}, Warms: []Warm{{Profile: "two"}}},
			func(b *bench) { b.unknown = errors.New("behind") },
			"purge a, again after 0s: purge: behind, again",
		},
		"live tags are not known": {
			Job{Stale: []string{"user:u1"}}, func(b *bench) { b.unknown = errors.New("behind") },
			"again after 0s: purge: behind, again",
		},
		"no original yet": {nil, func(b *bench) {
			b.err = map[string]error{"100x.webp": origin.ErrNotFound}
		}, "again after 0s: …, again"},
		"an origin that wants to be left": {nil, func(b *bench) {
			b.err = map[string]error{"100x.webp": &origin.Busy{RetryAfter: time.Minute}}
		}, "again after 1m0s: …, again"},
		"too often": {nil, func(b *bench) {
			b.attempt, b.err = 6, map[string]error{"100x.webp": origin.ErrUnavailable}
		}, "again after 0s: …, dead"},
		"a broken original": {nil, func(b *bench) {
			b.err = map[string]error{"100x.webp": resize.ErrCorrupt, "200x.webp": resize.ErrCorrupt}
		}, "dead, bury: …"},
		"one that lasts and one that may go": {nil, func(b *bench) {
			b.err = map[string]error{"100x.webp": resize.ErrCorrupt, "200x.webp": origin.ErrUnavailable}
		}, "again after 0s: …, again"},
		"taken down": {nil, func(b *bench) {
			b.err = map[string]error{"100x.webp": imagecache.ErrTakenDown, "200x.webp": imagecache.ErrTakenDown}
		}, "ok, done"},
		"busy, and then not": {nil, func(b *bench) {
			b.err = map[string]error{"100x.webp": resize.ErrBusy}
		}, "ok, done"},
		"deleted since":   {nil, func(b *bench) { b.ended = map[string]bool{"post:p1": true} }, "skipped, done"},
		"unreadable":      {"{", nil, "invalid, bury: not a job: …"},
		"no such profile": {Job{Warms: []Warm{{Image: image(t, "a"), Profile: "none"}}}, nil, "dead, bury: …"},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := &bench{}
			if c.set != nil {
				c.set(b)
			}
			if c.job == nil {
				c.job = Job{Warms: []Warm{{Image: image(t, "a"), Profile: "two", Tags: []string{"post:p1"}}}}
			}
			begin, end, _ := strings.Cut(c.want, "…")
			if did := b.work(t, c.job); !strings.HasPrefix(did, begin) || !strings.HasSuffix(did, end) {
				t.Errorf("%s: %s, want %s", name, did, c.want)
			}
			if name == "busy, and then not" &&
				fmt.Sprint(b.makes) != "[[/100x/v.1/posts/a.webp /200x/v.1/posts/a.webp] [/100x/v.1/posts/a.webp]]" {
				t.Errorf("%s: %v", name, b.makes)
			}
		})
	}
}

// Variants that never find room together are requested one by one; if there is never any room, the
// job is returned.
func TestWorker_Work_BusySplitsThenReturnsJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []int
		fits := 1
		w := NewWorker(WorkerConfig{Make: func(_ context.Context, refs []imageurl.Ref) []Outcome {
			asked = append(asked, len(refs))
			outcomes := make([]Outcome, len(refs))
			for i := range outcomes {
				if len(refs) > fits {
					outcomes[i].Err = fmt.Errorf("%w: too large", resize.ErrBusy)
				}
			}
			return outcomes
		}})
		refs := []imageurl.Ref{ref(t, "/1x/v.1/posts/a.webp"), ref(t, "/2x/v.1/posts/a.webp")}
		for _, out := range w.Make(t.Context(), refs) {
			if out.Err != nil {
				t.Error(out.Err)
			}
		}
		if fmt.Sprint(asked) != "[2 2 2 1 1]" {
			t.Errorf("Specs per request: %v", asked)
		}
		fits = 0
		began := time.Now()
		for _, out := range w.Make(t.Context(), refs) {
			if !errors.Is(out.Err, resize.ErrBusy) {
				t.Error(out.Err)
			}
		}
		if took := time.Since(began); took < maxBusy || took > maxBusy+10*time.Second {
			t.Errorf("the job was busy for %v", took)
		}
	})
}

func TestWorker_Work_PurgesImageDeletedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{ended: map[string]bool{}, onMake: func(b *bench) { b.ended["post:p1"] = true }}
		did := b.work(t, Job{Warms: []Warm{{Image: image(t, "a"), Profile: "two", Tags: []string{"post:p1"}}}})
		if did != "purge a, ok, done" {
			t.Error(did)
		}
	})
}

func TestWorker_Work_UsesETagAsVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for tag, want := range map[string]string{"abc": "/100x/e.abc/posts/a.webp", "": "/100x/v.1/posts/a.webp"} {
			b := &bench{tag: tag}
			b.work(t, Job{Warms: []Warm{{Image: image(t, "a"), Profile: "two", AskTag: true}}})
			if b.makes[0][0] != want {
				t.Errorf("tag %q: %q, want %q", tag, b.makes[0][0], want)
			}
		}
	})
}

func TestWorker_Warm_Crop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		img := events.Image{Image: image(t, "a"), Crop: resize.Crop{Width: 500, Height: 900}}
		p, err := PlanImages("two", []events.Image{img, {Image: img.Image}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var job Job
		if err := json.Unmarshal(p.Messages[0].Data, &job); err != nil {
			t.Fatal(err)
		}
		b := &bench{}
		b.work(t, job)
		got := fmt.Sprint(b.makes)
		want := "[[/100x-crop0x0x500x900/v.1/posts/a.webp /200x-crop0x0x500x900/v.1/posts/a.webp] " +
			"[/100x/v.1/posts/a.webp /200x/v.1/posts/a.webp]]"
		if got != want {
			t.Errorf("made %s, want %s", got, want)
		}
	})
}

// A request for the crop of a warmed image counts for the Spec of the profile that it was made for.
func TestWatch_Asked_Crop(t *testing.T) {
	w := watch(t, WatchConfig{})
	w.Made(image(t, "a"), "two", Unsaid, []resize.Spec{spec(100)})
	w.Asked(ref(t, "/100x-crop0x0x500x900/v.1/posts/a.webp"))
	if used, _ := w.Counts(); used.Variants != 1 {
		t.Errorf("%d used, want 1", used.Variants)
	}
}

func plan(t *testing.T, e events.Event) (Plan, []Job) {
	t.Helper()
	p, err := PlanEvent(e)
	if err != nil {
		t.Fatal(err)
	}
	var jobs []Job
	for _, m := range p.Messages {
		var job Job
		if err := json.Unmarshal(m.Data, &job); err != nil {
			t.Fatal(err)
		}
		jobs = append(jobs, job)
	}
	return p, jobs
}

// An image of many posts is warmed as urgently as the most urgent one needs it. If jobs purge, one
// that runs later has to warm it again.
func TestPlanEvent_SharedImage(t *testing.T) {
	shared := image(t, "shared")
	shared.Version = imageurl.Version{}
	var posts []events.Post
	for i := range 25 {
		own := image(t, fmt.Sprint(i))
		posts = append(posts, events.Post{
			ID: fmt.Sprint(i), Image: &events.Image{Image: own},
			Author: &events.User{ID: "u", Avatar: &events.Image{Image: shared}},
		})
		if i%12 == 0 {
			posts[i].Image.Image = shared
		}
	}
	posts[24].Audience = LargeAudience
	for kind, again := range map[string]bool{events.PostPublished: false, events.PostUpdated: true} {
		p, jobs := plan(t, events.Event{Type: kind, Profile: "feed", Posts: posts})
		warmed := 0
		for i, job := range jobs {
			warms := slices.ContainsFunc(job.Warms, func(w Warm) bool { return w.Image == shared })
			if warms {
				warmed++
			}
			purged := slices.ContainsFunc(job.Purges, func(p Purge) bool { return p.Original() == originalOf(shared) })
			if purged && !warms {
				t.Errorf("%s: job %d purges the image and does not warm it", kind, i)
			}
			if p.Messages[i].Priority == First && !warms {
				t.Errorf("%s: the first job does not warm the image", kind)
			}
		}
		if again != (warmed > 1) {
			t.Errorf("%s: warmed in %d jobs", kind, warmed)
		}
	}
}

func TestPlanEvent_Jobs(t *testing.T) {
	live := image(t, "l")
	live.Version = imageurl.Version{}
	avatar := &events.User{ID: "u1", Avatar: &events.Image{Image: image(t, "u1"), Tags: []string{"user:u1"}}}
	var posts []events.Post
	for i := range 25 {
		posts = append(
			posts,
			events.Post{
				ID:       fmt.Sprint(i),
				Audience: 5,
				Image:    &events.Image{Image: image(t, fmt.Sprint(i)), Tags: []string{fmt.Sprint("post:", i)}},
				Author:   avatar,
			},
		)
	}
	posts[7].Audience = LargeAudience
	p, jobs := plan(t, events.Event{Type: events.PostPublished, Profile: "feed", Posts: posts})
	warms := 0
	for _, job := range jobs {
		warms += len(job.Warms)
		if len(job.Warms) > perJob {
			t.Errorf("a job of %d images", len(job.Warms))
		}
	}
	if warms != 26 || len(p.Learn) != 50 || len(p.End) != 0 { // one avatar for all
		t.Errorf("%d images, %d pairs", warms, len(p.Learn))
	}
	first := 0
	for i, m := range p.Messages {
		if m.Priority == First {
			first++
			if jobs[i].Warms[0].Image.Name != "7" {
				t.Errorf("first is %v", jobs[i].Warms[0].Image)
			}
		}
	}
	if first != 1 {
		t.Errorf("%d jobs go first, want that of the large audience", first)
	}

	p, jobs = plan(
		t,
		events.Event{
			Type:    events.PostUpdated,
			Profile: "feed",
			Posts: []events.Post{
				{ID: "1", Image: &events.Image{Image: live}},
				{ID: "2", Image: &events.Image{Image: image(t, "p")}},
			},
		},
	)
	if len(jobs) != 1 || fmt.Sprint(jobs[0].Stale) != "[post:1 post:2]" || len(jobs[0].Purges) != 1 ||
		string(jobs[0].Purges[0].Name) != "l" ||
		len(jobs[0].Warms) != 2 ||
		p.Messages[0].Priority != Third {
		t.Errorf("post.updated: %+v", jobs)
	}
	p, jobs = plan(
		t,
		events.Event{
			Type:  events.PostDeleted,
			Posts: []events.Post{{ID: "1", Image: &events.Image{Image: image(t, "p")}}, {ID: "2"}},
		},
	)
	if len(jobs) != 1 || fmt.Sprint(jobs[0].Gone, p.End) != "[post:1 post:2] [post:1 post:2]" ||
		len(jobs[0].Purges) != 1 ||
		len(p.Learn) != 0 ||
		p.Messages[0].Priority != First {
		t.Errorf("post.deleted: %+v %+v", p, jobs)
	}
	p, jobs = plan(t, events.Event{Type: events.UserUpdated, User: avatar})
	if len(jobs) != 1 || fmt.Sprint(jobs[0].Stale) != "[user:u1]" || jobs[0].Warms[0].Profile != "avatar" ||
		len(jobs[0].Purges) != 0 ||
		len(p.Learn) != 1 {
		t.Errorf("user.updated: %+v", jobs)
	}
	for i, reach := range []Reach{ReachOf(5), ReachOf(LargeAudience)} {
		_, jobs := plan(t, events.Event{Type: events.PostPublished, Profile: "feed", Posts: posts[6+i : 7+i]})
		if got := jobs[0].Warms; got[0].Reach != reach || got[1].Reach != reach {
			t.Errorf("a post and its author have reaches %d and %d, want %d", got[0].Reach, got[1].Reach, reach)
		}
	}
	p, jobs = plan(t, events.Event{Type: events.FeedPage, Profile: "feed", Posts: posts[:1]})
	if p.Messages[0].Priority != Third || jobs[0].Warms[0].Reach != OnPage {
		t.Errorf("feed.page has priority %d, reach %d", p.Messages[0].Priority, jobs[0].Warms[0].Reach)
	}
}
