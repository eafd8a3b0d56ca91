package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Under about 500 requests per second, no request that begins after the receipt of a purge by tag
// gets the old bytes.
func TestTier_PurgeByTag_UnderLoad(t *testing.T) {
	tick := time.NewTicker(time.Millisecond) // slow ticks are dropped
	defer tick.Stop()
	load := purgeLoad{rounds: 10, each: 30, readers: 16, tick: tick.C}
	load.layOut(t, "now0.jpg", "now1.jpg", "now2.jpg")
	x := start(
		t,
		"--keys", key, "--source", "posts=dir://"+load.dir, "--cache-dir", t.TempDir(), "--admin-token", token,
		"--webhook-secrets", hookSecret, "--warm", "none",
	)
	load.request(t, x, "60x", "100x")
	var posts []string
	for _, name := range load.names {
		posts = append(posts, fmt.Sprintf(`{"id":"p1","image":{"source":"posts","name":%q,"version":"live"}}`, name))
	}
	x.mustPostEvent("msg_1", `{"type":"post.published","timestamp":"2026-11-22T10:00:00Z",`+
		`"data":{"profile":"feed","posts":[`+strings.Join(posts, ",")+`]}}`)
	eventually(t, 20*time.Second, "the tags are known", func() bool {
		return metric(t, x, "imagetier_prefetch_queue_jobs") == "0"
	})
	load.purge = func() {
		status, r := x.ask("POST", "/v1/purge", `{"tag":"post:p1"}`)
		if status != http.StatusOK || r.Variants == 0 {
			t.Fatalf("%d %+v", status, r)
		}
	}
	began := time.Now()
	load.run(t)
	t.Logf("%d requests in %v", load.asked.Load(), time.Since(began).Round(time.Millisecond))
	if n := metric(t, x, `imagetier_purges_total{kind="tag"}`); n != fmt.Sprint(load.rounds) {
		t.Errorf("%s purges by tag are counted, want %d", n, load.rounds)
	}
	// With the command, and with an unknown tag.
	x.get(load.paths[0]) // may not be cached since the last purge
	for tag, want := range map[string]*regexp.Regexp{
		"post:p1":      regexp.MustCompile(`^post:p1: purged: [1-9]\d* variants`),
		"post:unknown": regexp.MustCompile(`: 0 variants, 0 originals`),
	} {
		output := run(t, "purge", "--tag", tag, "--private-listen", strings.TrimPrefix(x.private, "http://"),
			"--admin-token", token)
		if !want.MatchString(output) {
			t.Errorf("purge says %q, want %s", output, want)
		}
	}
}

// Tags survive the process that learned them.
func TestTier_Tags_SurviveKill(t *testing.T) {
	t.Parallel()
	dir, cache := t.TempDir(), t.TempDir()
	copyPhoto(t, dir, "phone-android.jpg")
	flags := []string{
		"--keys", key, "--source", "posts=dir://" + dir, "--cache-dir", cache, "--admin-token", token,
		"--webhook-secrets", hookSecret, "--warm", "none",
	}
	x := start(t, flags...)
	path := signedPath(t, "/100x/v.1/posts/phone-android.jpg.jpg")
	x.get(path).want(t, 200, "origin")
	x.mustPostEvent("msg_1", published("p1", "phone-android.jpg", "v.1"))
	eventually(t, 20*time.Second, "the tag is known", func() bool {
		return metric(t, x, "imagetier_prefetch_queue_jobs") == "0"
	})
	x.kill()
	x = start(t, flags...)
	if status, r := x.ask("POST", "/v1/takedown", `{"tag":"post:p1"}`); status != http.StatusOK || r.Variants != 1 {
		t.Fatalf("%d %+v", status, r)
	}
	if got := x.get(path); got.StatusCode != http.StatusUnavailableForLegalReasons {
		t.Errorf("taken down by tag, it is %s", got.Status)
	}
	if status, _ := x.ask("DELETE", "/v1/takedown", `{"tag":"post:p1"}`); status != http.StatusOK {
		t.Errorf("lifting by tag: %d", status)
	}
	x.get(path).want(t, 200, "origin")
}
