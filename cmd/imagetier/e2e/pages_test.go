package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The paths of a page are made at once, and nothing else; an invalid one is refused and named.
func TestTier_Events_PagePaths(t *testing.T) {
	t.Parallel()
	o, origin := newCountingOrigin(t, "phone-android.jpg")
	x := start(t, warmFlags(origin, "--cache-dir", t.TempDir())...)
	page := func(id string, paths ...string) answer {
		return x.postEvent(signEvent(t, id, time.Now(), fmt.Sprintf(`{"type":"feed.page","timestamp":"%s","data":{"paths":["%s"]}}`,
			time.Now().UTC().Format(time.RFC3339), strings.Join(paths, `","`))))
	}
	a, b := signedPath(t, "/440x/v.1/posts/a.jpg.webp"), signedPath(t, "/96x96-cover/v.1/posts/b.jpg.jpg")
	forged := strings.Replace(a, "/440x/", "/441x/", 1)
	got := page("msg_bad", b, forged)
	if got.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(string(got.body), "data.paths[1]") {
		t.Errorf("a forged path: %s\n%s", got.Status, got.body)
	}
	if got := page("msg_page", a, b); got.StatusCode != http.StatusAccepted {
		t.Fatalf("%s\n%s", got.Status, got.body)
	}
	eventually(t, 20*time.Second, "both paths are made", func() bool {
		return metric(t, x, `imagetier_prefetch_paths_total{outcome="made"}`) == "2"
	})
	gets, entries := o.gets.Load(), metric(t, x, `imagetier_cache_entries{tier="memory"}`)
	if gets != 2 || entries != "2" {
		t.Errorf("%d originals were fetched and %s variants made, want 2 and 2", gets, entries)
	}
	x.get(a).want(t, 200, "memory")
	x.get(b).want(t, 200, "memory")
	eventually(t, 20*time.Second, "both variants count as used", func() bool { // after their answers
		return metric(t, x, "imagetier_prefetch_used_total") == "2"
	})
	if got := page("msg_again", a, b); got.StatusCode != http.StatusAccepted {
		t.Errorf("%s\n%s", got.Status, got.body)
	}
	eventually(t, 20*time.Second, "both paths are held", func() bool {
		return metric(t, x, `imagetier_prefetch_paths_total{outcome="hit"}`) == "2"
	})
}
