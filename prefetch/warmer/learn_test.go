package warmer

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/novasocial/imagetier/prefetch/profile"
	"github.com/novasocial/imagetier/resize"
)

// shareOf returns the estimated probability that an image of a Reach is requested in a Spec of
// profile two.
func shareOf(w *Watch, reach Reach, spec int) float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	asked, _ := w.profile("two").expect(reach)
	return asked[spec]
}

// Requests within the first minutes raise the estimate at once, hours before the first watch ends.
func TestWatch_Asked_EarlyRequestsTeach(t *testing.T) {
	now := time.Unix(1e9, 0)
	w := watch(t, WatchConfig{Now: func() time.Time { return now }})
	small := ReachOf(5)
	before := shareOf(w, small, 0)
	for i := range enoughEarly {
		name := fmt.Sprint(i)
		w.Made(image(t, name), "two", small, nil)
		w.Asked(ref(t, "/100x/v.1/posts/"+name+".webp"))
	}
	if w.Counts(); shareOf(w, small, 0) > 0.5 {
		t.Error("the share is known before the first minutes have passed")
	}
	now = now.Add(11 * time.Minute)
	if w.Counts(); before > 0.3 || shareOf(w, small, 0) != 1 {
		t.Errorf("the share was %.2f and is %.2f, want 1", before, shareOf(w, small, 0))
	}
}

// For a small audience variants are made as long as nothing is known, and none once it is known that such
// images are never requested.
func TestWatch_Specs_SmallAudience(t *testing.T) {
	now := time.Unix(1e9, 0)
	w := watch(t, WatchConfig{Now: func() time.Time { return now }})
	for i := range enoughSeen {
		name := fmt.Sprint(i)
		if specs, _ := w.Specs(image(t, name), "two", ReachOf(1), false); names(specs) != "200x" {
			t.Fatalf("post %d: %q", i, names(specs))
		}
		w.Made(image(t, name), "two", ReachOf(1), []resize.Spec{spec(200)})
	}
	now = now.Add(7 * time.Hour)
	w.Counts()
	if specs, _ := w.Specs(image(t, "x"), "two", ReachOf(1), false); len(specs) != 0 {
		t.Errorf("planned for images that are never requested: %q", names(specs))
	}
}

// Of two Specs that are requested equally often, the one that takes less CPU time is made of more images.
func TestLearnt_Plan_WeighsCPU(t *testing.T) {
	set, err := profile.New(map[string][]string{"two": {"100x.webp", "1000x.webp", "1100x.webp"}})
	if err != nil {
		t.Fatal(err)
	}
	l := watch(t, WatchConfig{Profiles: set}).profile("two")
	for n := range learnOver {
		asked := uint64(1)
		if n%10 < 5 {
			asked = 7
		}
		l.by[Unsaid].end(len(l.specs), asked, 0)
	}
	l.costs[0].add(cost{cpu: time.Second})
	l.costs[1].add(cost{cpu: time.Second})
	l.costs[2].add(cost{cpu: 100 * time.Millisecond})
	if specs := l.plan(Unsaid, 0.5, wasteMost); names(specs) != "100x 1100x" {
		t.Errorf("planned %q", names(specs))
	}
}

// Without requests, the default shares of devices are used.
func TestPriorsOf_Scales(t *testing.T) {
	p, _ := profile.BuiltIn().Get("feed")
	priors := priorsOf(p.Specs())
	sum := 0.0
	for _, q := range priors {
		sum += q
	}
	if math.Abs(sum-1) > 1e-9 || priors[2] < 0.6 || priors[2] < 2*priors[1] ||
		priors[4] < priors[3] || priors[4] > 0.1 {
		t.Errorf("%.3f", priors)
	}
	one := priorsOf([]resize.Spec{spec(200)})
	if one[0] != 1 {
		t.Errorf("a single Spec has the share %v", one)
	}
}

// A mezzanine is made of announced images, and counts as used once a size was made from it.
func TestWatch_Mezzanine_CountsUse(t *testing.T) {
	now := time.Unix(1e9, 0)
	w := watch(t, WatchConfig{Now: func() time.Time { return now }})
	if !w.Mezzanine("two", ReachOf(5)) || w.Mezzanine("two", OnPage) || w.Mezzanine("none", Unsaid) {
		t.Error("no mezzanine for an announced image, or one for another image")
	}
	for _, name := range []string{"listed", "other", "never"} {
		w.Made(image(t, name), "two", ReachOf(5), []resize.Spec{facts})
	}
	w.Made(image(t, "made"), "two", ReachOf(5), []resize.Spec{facts, spec(100)})
	w.Asked(ref(t, "/100x/v.1/posts/listed.webp"))
	w.Asked(ref(t, "/101x/v.1/posts/other.webp"))
	now = now.Add(7 * time.Hour)
	used, wasted := w.Counts()
	if used.Variants != 3 || wasted.Variants != 2 { // wasted: "never" and the 100x of "made"
		t.Errorf("used %+v, wasted %+v", used, wasted)
	}
	if want := 3 * mezzanineCPU; used.CPU != want {
		t.Errorf("used CPU %v, want %v", used.CPU, want)
	}
	for i := range 2 * enoughSeen {
		name := fmt.Sprint(i)
		w.Made(image(t, name), "two", ReachOf(5), nil)
		w.Asked(ref(t, "/100x/v.1/posts/"+name+".webp"))
	}
	now = now.Add(7 * time.Hour)
	if w.Counts(); w.Mezzanine("two", ReachOf(5)) {
		t.Error("a mezzanine is made although images are requested in one size only")
	}
}
