package e2e

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// hookSecret signs the events of these tests.
const hookSecret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="

// hook is a signed event.
type hook struct {
	id, timestamp, signature string
	body                     []byte
}

// signEvent returns an event as a feed service sends it.
func signEvent(t testing.TB, id string, at time.Time, body string) hook {
	t.Helper()
	h := hook{id: id, timestamp: strconv.FormatInt(at.Unix(), 10), body: []byte(body)}
	secret, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(hookSecret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "%s.%s.%s", h.id, h.timestamp, h.body)
	h.signature = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	return h
}

// postEvent posts an event and returns the answer.
func (x *tier) postEvent(h hook) answer {
	x.t.Helper()
	req, err := http.NewRequestWithContext(
		x.t.Context(),
		http.MethodPost,
		x.private+"/v1/events",
		bytes.NewReader(h.body),
	)
	if err != nil {
		x.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for name, value := range map[string]string{
		"webhook-id": h.id, "webhook-timestamp": h.timestamp, "webhook-signature": h.signature,
	} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		x.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		x.t.Fatal(err)
	}
	return answer{resp, body}
}

// mustPostEvent posts a new event, and fails the test unless the tier accepts it.
func (x *tier) mustPostEvent(id, body string) {
	x.t.Helper()
	got := x.postEvent(signEvent(x.t, id, time.Now(), body))
	if got.StatusCode != http.StatusAccepted {
		x.t.Fatalf("event %s: %s\n%s", id, got.Status, got.body)
	}
}

// published is a post.published of one post with an image of source posts.
func published(post, name, version string) string {
	return fmt.Sprintf(
		`{"type":"post.published","timestamp":"%s","data":{"profile":"feed","posts":[{"id":%q,"audience":1200,"image":{"source":"posts","name":%q,"version":%q}}]}}`,
		time.Now().UTC().Format(time.RFC3339),
		post,
		name,
		version,
	)
}

func deleted(post string) string {
	return fmt.Sprintf(`{"type":"post.deleted","timestamp":"%s","data":{"posts":[{"id":%q}]}}`,
		time.Now().UTC().Format(time.RFC3339), post)
}

// countingOrigin serves one photo under every name, and counts requests.
type countingOrigin struct {
	gets  atomic.Int64
	heads atomic.Int64
	etag  string // ETag header; not sent if ""
	photo atomic.Pointer[[]byte]

	mu    sync.Mutex
	names map[string]int
}

func newCountingOrigin(t testing.TB, photo string) (o *countingOrigin, url string) {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(photos(t), photo))
	if err != nil {
		t.Fatal(err)
	}
	o = &countingOrigin{names: make(map[string]int)}
	o.photo.Store(&body)
	return o, listen(t, o) + "/"
}

func (o *countingOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/" || strings.HasPrefix(r.URL.Path, "/imagetier-doctor-") { // the self-check of the tier
		http.NotFound(w, r)
		return
	}
	if r.Method == http.MethodHead {
		o.heads.Add(1)
	} else {
		o.gets.Add(1)
	}
	o.mu.Lock()
	o.names[r.URL.Path]++
	o.mu.Unlock()
	if strings.HasPrefix(r.URL.Path, "/missing") {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "image/jpeg")
	if o.etag != "" {
		w.Header().Set("ETag", o.etag)
	}
	w.Write(*o.photo.Load())
}

// asked returns how often each name was requested.
func (o *countingOrigin) asked() map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	names := make(map[string]int, len(o.names))
	for name, n := range o.names {
		names[name] = n
	}
	return names
}

func TestWarm_ETagCostsNoDownload(t *testing.T) {
	t.Parallel()
	o, origin := newCountingOrigin(t, "phone-android.jpg")
	o.etag = `"abc"`
	x := start(
		t,
		warmFlags(
			origin,
			"--warm", "all", "--cache-dir", t.TempDir(),
			"--image-prefix", "https://cdn.app.example/=posts?version=etag",
		)...)
	event := fmt.Sprintf(
		`{"type":"post.published","timestamp":"%s","data":{"profile":"feed","posts":[{"id":"p1","image":{"url":"https://cdn.app.example/a.jpg"}}]}}`,
		time.Now().UTC().Format(time.RFC3339),
	)
	x.mustPostEvent("msg_1", event)
	x.waitWarm(1)
	if heads, gets := o.heads.Load(), o.gets.Load(); heads != 1 || gets != 1 {
		t.Errorf("the origin had %d HEAD and %d GET requests, want one of each", heads, gets)
	}
	x.get(signedPath(t, "/440x/e.abc/posts/a.jpg.webp")).want(t, 200, "memory")
}

// warmFlags returns the flags of a tier that accepts events.
func warmFlags(origin string, more ...string) []string {
	return append(
		[]string{"--keys", key, "--source", "posts=" + origin, "--allow-private-origins", "--admin-token", token,
			"--webhook-secrets", hookSecret},
		more...)
}

// The first request of a phone is a hit.
func TestTier_Events_PublishedPostIsWarmed(t *testing.T) {
	t.Parallel()
	o, origin := newCountingOrigin(t, "phone-android.jpg")
	x := start(t, warmFlags(origin, "--warm", "all", "--cache-dir", t.TempDir())...)
	event := signEvent(t, "msg_1", time.Now(), published("p1", "a.jpg", "v.1"))
	if got := x.postEvent(event); got.StatusCode != http.StatusAccepted {
		t.Fatalf("%s\n%s", got.Status, got.body)
	}
	x.waitWarm(1)
	if n := o.gets.Load(); n != 1 {
		t.Errorf("the origin was asked %d times for the six variants of an original, want once", n)
	}
	for _, spec := range []string{"440x", "880x", "1320x"} {
		for _, format := range []string{"webp", "jpg"} {
			x.get(signedPath(t, "/"+spec+"/v.1/posts/a.jpg."+format)).want(t, 200, "memory")
		}
	}
	if n := o.gets.Load(); n != 1 {
		t.Errorf("the origin was asked %d times when they were read", n)
	}

	const resizes = `imagetier_resize_jobs_total{format="webp",outcome="ok"}`
	eventually(t, 20*time.Second, "three resizes are counted", func() bool { return metric(t, x, resizes) == "3" })

	// A replayed event gets the same answer and has no effect.
	if got := x.postEvent(event); got.StatusCode != http.StatusAccepted {
		t.Errorf("a replay: %s\n%s", got.Status, got.body)
	}
	if n := metric(t, x, `imagetier_prefetch_events_total{outcome="repeated",type="post.published"}`); n != "1" {
		t.Errorf("%q replays are counted, want 1", n)
	}
	if n := metric(t, x, resizes); n != "3" || metric(t, x, "imagetier_prefetch_queue_jobs") != "0" {
		t.Errorf("the replayed event made images: %s resizes, want 3", n)
	}

	// A deleted post is purged by the tag that the first event assigned.
	x.mustPostEvent("msg_2", deleted("p1"))
	eventually(t, 20*time.Second, "the deleted post's image is purged", func() bool {
		return metric(t, x, `imagetier_cache_entries{tier="memory"}`) == "0"
	})
	x.get(signedPath(t, "/440x/v.1/posts/a.jpg.webp")).want(t, 200, "origin")
	// A replay of an earlier event neither brings it back nor assigns its tag again.
	x.postEvent(event)
	if status, r := x.ask("POST", "/v1/purge", `{"tag":"post:p1"}`); status != http.StatusOK || r.Variants != 0 {
		t.Errorf("after the replay the deleted post still has an image: %d %+v", status, r)
	}
	x.stop()
}

// waitWarm waits until n jobs of the queue are done and none is left.
func (x *tier) waitWarm(n int) {
	x.t.Helper()
	eventually(x.t, 60*time.Second, fmt.Sprintf("%d jobs are done", n), func() bool {
		done, _ := strconv.Atoi(metric(x.t, x, `imagetier_prefetch_jobs_total{outcome="ok"}`))
		return done >= n && metric(x.t, x, "imagetier_prefetch_queue_jobs") == "0"
	})
}

// A changed byte of an event is detected, and refused events cause no fetch.
func TestTier_Events_RefusesForgedStaleAndLarge(t *testing.T) {
	t.Parallel()
	o, origin := newCountingOrigin(t, "phone-android.jpg")
	x := start(t, warmFlags(origin, "--cache-dir", t.TempDir())...)
	good := signEvent(t, "msg_1", time.Now(), published("p1", "a.jpg", "v.1"))
	refused := func(name string, h hook, status int) {
		t.Helper()
		got := x.postEvent(h)
		if got.StatusCode != status || !strings.HasPrefix(got.Header.Get("Content-Type"), "application/problem+json") ||
			got.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s: %s %s, want %d\n%s", name, got.Status, got.Header.Get("Content-Type"), status, got.body)
		}
	}
	for i := range good.body {
		bad := good
		bad.body = bytes.Clone(good.body)
		bad.body[i] ^= 1
		refused(fmt.Sprintf("byte %d of the body", i), bad, http.StatusUnauthorized)
	}
	for i := range good.signature {
		bad := good
		changed := []byte(good.signature)
		changed[i] ^= 2
		bad.signature = string(changed)
		refused(fmt.Sprintf("byte %d of the signature", i), bad, http.StatusUnauthorized)
	}
	for name, bad := range map[string]hook{
		"another id":        {"msg_2", good.timestamp, good.signature, good.body},
		"another time":      {"msg_1", strconv.FormatInt(time.Now().Unix()+7, 10), good.signature, good.body},
		"no id":             {"", good.timestamp, good.signature, good.body},
		"no time":           {"msg_1", "", good.signature, good.body},
		"no signature":      {"msg_1", good.timestamp, "", good.body},
		"a cut body":        {"msg_1", good.timestamp, good.signature, good.body[:len(good.body)-1]},
		"six minutes old":   signEvent(t, "msg_1", time.Now().Add(-6*time.Minute), string(good.body)),
		"six minutes ahead": signEvent(t, "msg_1", time.Now().Add(6*time.Minute), string(good.body)),
	} {
		refused(name, bad, http.StatusUnauthorized)
	}
	refused(
		"10 MB",
		signEvent(t, "msg_1", time.Now(), published("p1", strings.Repeat("a", 10<<20), "v.1")),
		http.StatusRequestEntityTooLarge,
	)
	posts := strings.TrimSuffix(strings.Repeat(`{"id":"p"},`, 100_000), ",")
	refused(
		"100,000 posts in more than a MiB",
		signEvent(
			t,
			"msg_1",
			time.Now(),
			`{"type":"post.published","timestamp":"2026-11-22T10:00:00Z","data":{"profile":"feed","posts":[`+posts+`]}}`,
		),
		http.StatusRequestEntityTooLarge,
	)
	posts = strings.TrimSuffix(strings.Repeat(`{},`, 100_000), ",")
	refused(
		"100,000 empty posts",
		signEvent(
			t,
			"msg_1",
			time.Now(),
			`{"type":"post.published","timestamp":"2026-11-22T10:00:00Z","data":{"profile":"feed","posts":[`+posts+`]}}`,
		),
		http.StatusUnprocessableEntity,
	)

	// For a signed but invalid event the answer names the field.
	for body, field := range map[string]string{
		`{"type":"post.published","data":{"posts":[{"id":"p1","image":{"source":"posts","name":"x","version":"v.1"}},{"id":"p2","image":{"source":"Posts!","name":"a","version":"v.1"}}]}}`: "data.posts[1].image",
		`{"type":"post.published","data":{"posts":[{"id":"p1","image":{"source":"posts","name":"../x","version":"v.1"}}]}}`:                                                                 "data.posts[0].image.name",
		`{"data":{}}`: "type",
	} {
		got := x.postEvent(signEvent(t, "msg_wrong"+field, time.Now(), body))
		if got.StatusCode < 400 || got.StatusCode > 422 || !strings.Contains(string(got.body), field) {
			t.Errorf("%s: %s, want a refusal that names %s\n%s", body, got.Status, field, got.body)
		}
	}
	if n := o.gets.Load(); n != 0 {
		t.Errorf("the origin was asked %d times", n)
	}
	if n := metric(t, x, "imagetier_prefetch_queue_jobs"); n != "0" {
		t.Errorf("%s jobs wait", n)
	}
	if n := metric(t, x, `imagetier_prefetch_events_total{outcome="forged",type="unknown"}`); n == "0" || n == "" {
		t.Errorf("%q forged events are counted", n)
	}
	// The valid event is still accepted: refused ones did not use up its id.
	if got := x.postEvent(good); got.StatusCode != http.StatusAccepted {
		t.Errorf("the good one: %s\n%s", got.Status, got.body)
	}
	x.waitWarm(1)
}

// Every event that was answered 202 is warmed once, even after kill -9.
func TestTier_Events_SurviveKill(t *testing.T) {
	t.Parallel()
	o, origin := newCountingOrigin(t, "phone-android.jpg")
	cache := t.TempDir()
	flags := warmFlags(origin, "--warm", "all", "--cache-dir", cache, "--workers", "2")
	x := start(t, flags...)
	const events = 24
	for i := range events {
		x.mustPostEvent(fmt.Sprintf("msg_%d", i), published(fmt.Sprintf("p%d", i), fmt.Sprintf("a%d.jpg", i), "v.1"))
	}
	eventually(t, 30*time.Second, "it is in the middle of them", func() bool { return o.gets.Load() >= 3 })
	x.kill()
	if n := o.gets.Load(); n >= events {
		t.Fatalf("the origin was asked %d times before the kill: too late to see anything", n)
	}
	x = start(t, flags...)
	for i := range events { // as a sender without an answer would; all were answered, so this has no effect
		x.mustPostEvent(fmt.Sprintf("msg_%d", i), published(fmt.Sprintf("p%d", i), fmt.Sprintf("a%d.jpg", i), "v.1"))
	}
	eventually(t, 90*time.Second, "the queue is empty", func() bool {
		return metric(t, x, "imagetier_prefetch_queue_jobs") == "0"
	})
	before := o.gets.Load()
	for i := range events {
		got := x.get(signedPath(t, fmt.Sprintf("/440x/v.1/posts/a%d.jpg.webp", i)))
		if got.StatusCode != 200 || !strings.Contains(got.Header.Get("Cache-Status"), "; hit;") {
			t.Errorf("image %d: %s %s", i, got.Status, got.Header.Get("Cache-Status"))
		}
	}
	if n := o.gets.Load(); n != before {
		t.Errorf("reading asked the origin %d times", n-before)
	}
	twice := 0
	for name, n := range o.asked() {
		if n > 2 {
			t.Errorf("%s was fetched %d times", name, n)
		} else if n == 2 {
			twice++
		}
	}
	if twice > 8 { // jobs that were being done when it was killed
		t.Errorf("%d originals were fetched twice", twice)
	}
	n := metric(t, x, `imagetier_prefetch_events_total{outcome="repeated",type="post.published"}`)
	if n != strconv.Itoa(events) {
		t.Errorf("%s of the %d repetitions are counted as such", n, events)
	}
}

func TestTier_Events_WarmNone(t *testing.T) {
	t.Parallel()
	o, origin := newCountingOrigin(t, "phone-android.jpg")
	x := start(t, warmFlags(origin, "--cache-dir", t.TempDir(), "--warm", "none")...)
	x.mustPostEvent("msg_1", published("p1", "a.jpg", "v.1"))
	eventually(t, 30*time.Second, "the queue is empty", func() bool {
		return metric(t, x, "imagetier_prefetch_queue_jobs") == "0"
	})
	if n := o.gets.Load(); n != 0 {
		t.Errorf("the origin was asked %d times", n)
	}
	path := signedPath(t, "/440x/v.1/posts/a.jpg.webp")
	x.get(path).want(t, 200, "origin")
	// The event has still assigned its tag.
	x.mustPostEvent("msg_2", deleted("p1"))
	eventually(t, 20*time.Second, "the post's image is purged", func() bool {
		return metric(t, x, `imagetier_cache_entries{tier="memory"}`) == "0"
	})
}

// If the queue cannot be written, events are refused and everything else works. A node that does
// not know the purges of its fleet is not ready, and says why.
func TestTier_Serve_WithoutQueue(t *testing.T) {
	t.Parallel()
	broken := t.TempDir()
	if err := os.WriteFile(filepath.Join(broken, "queue"), nil, 0o600); err != nil { // in place of its directory
		t.Fatal(err)
	}
	for name, flags := range map[string][]string{
		"a cluster that is not there":      {"--cache-dir", t.TempDir(), "--nats", "nats://127.0.0.1:1"},
		"a directory that cannot be there": {"--cache-dir", broken},
	} {
		o, origin := newCountingOrigin(t, "phone-android.jpg")
		x := launch(t, nil, warmFlags(origin, flags...)...)
		got := x.postEvent(signEvent(t, "msg_1", time.Now(), published("p1", "a.jpg", "v.1")))
		if got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %s, Retry-After %q\n%s", name, got.Status, got.Header.Get("Retry-After"), got.body)
		}
		if !slices.Contains(flags, "--nats") {
			x.waitReady()
		} else if got := fetch(t, x.private+"/readyz"); got.StatusCode != http.StatusServiceUnavailable || !bytes.Contains(got.body, []byte("purges")) {
			t.Errorf("%s: readyz: %s\n%s", name, got.Status, got.body)
		}
		x.get(signedPath(t, "/440x/v.1/posts/a.jpg.webp")).want(t, 200, "origin")
		if n := o.gets.Load(); n != 1 {
			t.Errorf("%s: the origin was asked %d times", name, n)
		}
		if up := metric(t, x, "imagetier_prefetch_queue_up"); up != "0" {
			t.Errorf("%s: the queue is up: %s", name, up)
		}
		// imagetier warm still works: it needs no queue.
		if code, out, errs := x.shell("warm", list(t, "/i/_/880x/v.1/posts/a.jpg.webp")); code != 0 ||
			!strings.Contains(out, "1 made") {
			t.Errorf("%s: imagetier warm: %d, %q, %q", name, code, out, errs)
		}
		x.stop()
	}
}

// list is a file of lines.
func list(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// After the event, an avatar that changed under its name is replaced by the new one.
func TestTier_Events_NewAvatarReplacesOld(t *testing.T) {
	t.Parallel()
	o, origin := newCountingOrigin(t, "phone-android.jpg")
	x := start(
		t,
		warmFlags(
			origin,
			"--warm", "all", "--cache-dir", t.TempDir(),
			"--image-prefix", "https://cdn.app.example/=posts?version=query:v",
		)...)
	const user = `{"specversion":"1.0","id":"%s","source":"/users","type":"user.updated","data":{"user":{"id":"u1","avatar":{"url":"https://cdn.app.example/u1.jpg"}}}}`
	path := signedPath(t, "/64x64-cover/live/posts/u1.jpg.webp")
	x.mustPostEvent("msg_1", fmt.Sprintf(user, "1"))
	x.waitWarm(1)
	first := x.get(path)
	first.want(t, 200, "memory")
	body, err := os.ReadFile(filepath.Join(photos(t), "phone-srgb.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	o.photo.Store(&body)
	x.get(path).want(t, 200, "memory") // no event yet
	x.mustPostEvent("msg_2", fmt.Sprintf(user, "2"))
	x.waitWarm(2)
	second := x.get(path)
	second.want(t, 200, "memory")
	if bytes.Equal(first.body, second.body) {
		t.Error("got the old avatar")
	}
}
