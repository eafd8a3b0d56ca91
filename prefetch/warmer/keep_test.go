package warmer

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/prefetch/profile"
)

// taught returns the statistics of a Watch that saw requests of 100x for all images, and of 200x
// for none.
func taught(t *testing.T) []byte {
	t.Helper()
	now := time.Unix(1e9, 0)
	w := watch(t, WatchConfig{Now: func() time.Time { return now }})
	for _, reach := range []Reach{OnPage, ReachOf(50)} {
		for i := range 30 {
			name := fmt.Sprintf("%d-%d", reach, i)
			w.Made(image(t, name), "two", reach, nil)
			w.Asked(ref(t, "/100x/v.1/posts/"+name+".webp"))
		}
	}
	now = now.Add(7 * time.Hour)
	text, err := w.Learnt()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestWatch_Recall_RestoresCounts(t *testing.T) {
	text := taught(t)
	w := watch(t, WatchConfig{})
	if err := w.Recall(text); err != nil {
		t.Fatal(err)
	}
	// No watch of either reach has ended in this process.
	for _, reach := range []Reach{OnPage, ReachOf(50)} {
		if specs, _ := w.Specs(image(t, "x"), "two", reach, false); names(specs) != "100x" {
			t.Errorf("reach %v: %q", reach, names(specs))
		}
	}
	again, err := w.Learnt()
	if err != nil || string(again) != string(text) {
		t.Errorf("the state before was\n%s\nafter Recall\n%s (%v)", text, again, err)
	}
	if used, wasted := w.Counts(); used.Variants+wasted.Variants != 0 {
		t.Errorf("%d used and %d wasted of another process", used.Variants, wasted.Variants)
	}
}

func TestWatch_Recall_DropsChangedProfiles(t *testing.T) {
	text := taught(t)
	for _, c := range []struct {
		profile string
		specs   []string
		want    string
		seen    int
	}{
		{"two", []string{"100x.webp"}, "100x", 30},                      // one has gone
		{"two", []string{"200x.webp", "100x.webp"}, "100x", 30},         // another order
		{"two", []string{"100x.webp", "200x.webp", "300x.webp"}, "", 0}, // one has come
		{"three", []string{"100x.webp", "200x.webp"}, "", 0},            // another name
	} {
		set, err := profile.New(map[string][]string{c.profile: c.specs})
		if err != nil {
			t.Fatal(err)
		}
		recalled := watch(t, WatchConfig{Profiles: set})
		if err := recalled.Recall(text); err != nil {
			t.Fatal(err)
		}
		replaced := watch(t, WatchConfig{})
		if err := errors.Join(replaced.Recall(text), replaced.ReplaceProfiles(set)); err != nil {
			t.Fatal(err)
		}
		for how, w := range map[string]*Watch{"recalled": recalled, "replaced": replaced} {
			if seen := w.profile(c.profile).by[ReachOf(50)].seen; seen != c.seen {
				t.Errorf("%s, %s %v: %d images are known, want %d", how, c.profile, c.specs, seen, c.seen)
			}
			specs, _ := w.Specs(image(t, "x"), c.profile, ReachOf(50), false)
			if c.want != "" && names(specs) != c.want {
				t.Errorf("%s, %s %v: %q, want %q", how, c.profile, c.specs, names(specs), c.want)
			}
		}
	}
}

func TestWatch_Recall_RejectsInvalidText(t *testing.T) {
	good := string(taught(t))
	if !strings.Contains(good, `"100x.webp":1,`) {
		t.Fatal(good)
	}
	for _, text := range []string{
		"", "{}", "null", good[:len(good)/2], good + "}",
		strings.Replace(good, `"format":1`, `"format":2`, 1),
		strings.Replace(good, `"100x.webp":1,`, `"100x.webp":1.5,`, 1),
		strings.Replace(good, `"100x.webp":1,`, `"100x.webp":-1,`, 1),
		strings.Replace(good, `"seen":30`, `"seen":0`, 1),
		strings.Replace(good, `"asked":{"100x.webp":60`, `"asked":{"100x.webp":-60`, 1),
	} {
		if text == good {
			t.Fatal("nothing was replaced")
		}
		w := watch(t, WatchConfig{})
		if err := w.Recall([]byte(text)); err == nil {
			t.Errorf("recalled: %s", text)
		}
		if len(w.profiles) != 0 || (*w.bySpec.Load())[w.profile("two").specs[0]].asked.Load() != 0 {
			t.Errorf("something was taken over of %s", text)
		}
	}
}
