package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// shell runs imagetier against x, and returns its exit code and output.
func (x *tier) shell(args ...string) (code int, stdout, stderr string) {
	x.t.Helper()
	cmd := exec.Command(
		filepath.Join(bin, "imagetier"),
		append(args, "--private-listen", strings.TrimPrefix(x.private, "http://"), "--admin-token", token)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if cmd.ProcessState == nil {
			x.t.Fatal(err)
		}
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func TestTier_WarmCommand_Resumes(t *testing.T) {
	t.Parallel()
	o, origin := newCountingOrigin(t, "phone-android.jpg")
	x := start(t, warmFlags(origin, "--cache-dir", t.TempDir(), "--image-prefix", "https://cdn.app.example/=posts")...)
	x.get(signedPath(t, "/100x/v.1/posts/0.jpg.webp")).want(t, 200, "origin")
	dir := t.TempDir()
	list, state := filepath.Join(dir, "list"), filepath.Join(dir, "state")
	var lines strings.Builder
	for i := range 20 {
		fmt.Fprintf(&lines, "%s\n", signedPath(t, fmt.Sprintf("/%dx/v.1/posts/%d.jpg.webp", 100+i%2*20, i/2)))
	}
	fmt.Fprintf(&lines, "192.0.2.1 - - [23/Nov/2026:10:00:00 +0000] \"GET %s HTTP/1.1\" 200 5120\n",
		signedPath(t, "/64x/v.1/posts/log.jpg.webp"))
	lines.WriteString("https://cdn.app.example/plain.jpg\n")
	lines.WriteString("/i/_/100x/v.1/posts/missing.jpg.webp\n")
	if err := os.WriteFile(list, []byte(lines.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	code, out, errs := x.shell("warm", "--profile", "avatar", "--state", state, list)
	if code != 1 || !strings.HasPrefix(out, "28 images: 1 hit, 26 made, 1 failed; ") ||
		!strings.Contains(errs, "missing.jpg.webp: 404 Not Found") {
		t.Errorf("exit code %d, %q, %q", code, out, errs)
	}
	if n := o.gets.Load(); n != 13 { // ten, log, plain, missing: the variants of one share its fetch
		t.Errorf("the origin was asked %d times, want 13: %v", n, o.asked())
	}
	x.get(signedPath(t, "/120x/v.1/posts/9.jpg.webp")).want(t, 200, "memory")
	x.get(signedPath(t, "/96x96-cover/v.0/posts/plain.jpg.jpg")).want(t, 200, "memory")

	// Everything is cached now, except for the missing original.
	code, out, _ = x.shell("warm", "--json", "--profile", "avatar", list)
	answers := strings.Split(strings.TrimSpace(out), "\n")
	var sums struct{ Images, Hit, Made, Failed int }
	if err := json.Unmarshal([]byte(answers[len(answers)-1]), &sums); err != nil || code != 1 || sums.Hit != 27 ||
		sums.Failed != 1 ||
		len(answers) != 29 {
		t.Errorf("exit code %d, %+v, %v", code, sums, err)
	}

	// After an interruption the same command continues.
	var small bytes.Buffer
	if err := jpeg.Encode(&small, image.NewGray(image.Rect(0, 0, 64, 64)), nil); err != nil {
		t.Fatal(err)
	}
	tiny := small.Bytes()
	o.photo.Store(&tiny)
	lines.Reset()
	for i := range 1200 {
		fmt.Fprintf(&lines, "/i/_/%dx%d/v.1/posts/tiny%d.jpg.jpg\n", 10+i%20, 10+i/20%20, i/400)
	}
	if err := os.WriteFile(list, []byte(lines.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(
		filepath.Join(bin, "imagetier"),
		"warm",
		"--state", state, list, "--private-listen", strings.TrimPrefix(x.private, "http://"),
		"--admin-token", token,
	)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 60*time.Second, "a batch is done", func() bool {
		text, err := os.ReadFile(state)
		return err == nil && len(text) > 0
	})
	_ = cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err == nil || !strings.Contains(stderr.String(), "continues after line") {
		t.Errorf("interrupted: %v, %s", err, &stderr)
	}
	if code, out, errs := x.shell("warm", "--state", state, list); code != 0 ||
		!strings.HasPrefix(out, "1200 images: ") {
		t.Errorf("exit code %d, %q, %q", code, out, errs)
	}
	if _, err := os.Stat(state); !os.IsNotExist(err) {
		t.Errorf("the state is there when all is done: %v", err)
	}
}

func TestTier_WarmAPI_PathsAndImages(t *testing.T) {
	t.Parallel()
	o, origin := newCountingOrigin(t, "phone-android.jpg")
	x := start(t, warmFlags(origin, "--cache-dir", t.TempDir())...)
	post := func(body, bearer string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(
			t.Context(),
			http.MethodPost,
			x.private+"/v1/warm",
			strings.NewReader(body),
		)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+bearer)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var text bytes.Buffer
		if _, err := text.ReadFrom(resp.Body); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, text.String()
	}
	status, response := post(`{"paths":["/i/_/100x/v.1/posts/a.jpg.webp","/i/_/120x/v.1/posts/b.jpg.auto"]}`, token)
	if status != http.StatusAccepted ||
		!strings.Contains(response, `"accepted": 2`) {
		t.Fatalf("%d %s", status, response)
	}
	status, response = post(
		`{"profile":"avatar","images":[{"source":"posts","name":"c.jpg","version":"v.1","tags":["user:u1"]}]}`, token)
	if status != http.StatusAccepted ||
		!strings.Contains(response, `"accepted": 1`) {
		t.Fatalf("%d %s", status, response)
	}
	eventually(t, 60*time.Second, "all is made", func() bool {
		return x.explainHeld("/100x/v.1/posts/a.jpg.webp") && x.explainHeld("/120x/v.1/posts/b.jpg.avif") &&
			x.explainHeld("/120x/v.1/posts/b.jpg.webp") &&
			x.explainHeld("/96x96-cover/v.1/posts/c.jpg.jpg")
	})
	if n := o.gets.Load(); n != 3 {
		t.Errorf("the origin was asked %d times, want 3: %v", n, o.asked())
	}
	if status, r := x.ask("POST", "/v1/purge", `{"tag":"user:u1"}`); status != 200 || r.Variants < 6 {
		t.Errorf("%d %+v", status, r)
	}
	// With wait, images keep their crop and their tags.
	status, response = post(`{"wait":true,"profile":"avatar","images":[{"source":"posts","name":"d.jpg","version":"v.1",`+
		`"crop":"0x0x500x500","tags":["album:1"]}]}`, token)
	if status != http.StatusOK || strings.Contains(response, "failed") ||
		!x.explainHeld("/96x96-cover-crop0x0x500x500/v.1/posts/d.jpg.jpg") ||
		x.explainHeld("/96x96-cover/v.1/posts/d.jpg.jpg") {
		t.Errorf("with wait: %d %s", status, response)
	}
	if status, r := x.ask("POST", "/v1/purge", `{"tag":"album:1"}`); status != 200 || r.Variants == 0 {
		t.Errorf("%d %+v", status, r)
	}
	for body, status := range map[string]int{
		`{"paths":["/i/_/100x/v.1/nowhere/a.jpg.webp"]}`:                                  http.StatusBadRequest,
		`{"paths":["/i/_/0100x/v.1/posts/a.jpg.webp"]}`:                                   http.StatusBadRequest,
		`{"profile":"none","images":[{"source":"posts","name":"c.jpg","version":"v.1"}]}`: http.StatusUnprocessableEntity,
		`{"profile":"feed","images":[{"url":"https://elsewhere.example/a.jpg"}]}`:         http.StatusUnprocessableEntity,
		`{}`: http.StatusBadRequest,
		`{"paths":["` + strings.Repeat("a", 11<<20) + `"]}`: http.StatusRequestEntityTooLarge,
	} {
		if got, response := post(body, token); got != status || !strings.Contains(response, `"status":`) {
			t.Errorf("%.80s: %d %s, want %d", body, got, response, status)
		}
	}
	if status, _ := post(`{"paths":["/i/_/100x/v.1/posts/a.jpg.webp"]}`, "another"); status != http.StatusUnauthorized {
		t.Errorf("with another token: %d", status)
	}
}

// explainHeld reports whether a tier holds a variant.
func (x *tier) explainHeld(resource string) bool {
	x.t.Helper()
	got := fetch(x.t, x.private+"/v1/explain?url="+url.QueryEscape(signedPath(x.t, resource)))
	var explanation struct {
		Variants []struct{ Held []struct{ Where string } }
	}
	if err := json.Unmarshal(got.body, &explanation); err != nil || len(explanation.Variants) != 1 {
		x.t.Fatalf("%v\n%s", err, got.body)
	}
	for _, held := range explanation.Variants[0].Held {
		if held.Where == "memory" || held.Where == "disk" {
			return true
		}
	}
	return false
}

// Dead letters can be listed, and retried once their cause is fixed.
func TestTier_WarmAPI_RetriesDeadLetters(t *testing.T) {
	t.Parallel()
	o, origin := newCountingOrigin(t, "phone-android.jpg")
	x := start(t, warmFlags(origin, "--cache-dir", t.TempDir(), "--warm", "all", "--negative-ttl", "0s")...)
	photo := o.photo.Load()
	half := (*photo)[:len(*photo)/2]
	o.photo.Store(&half) // it can never be decoded
	x.mustPostEvent("msg_1", published("p1", "a.jpg", "v.1"))
	eventually(t, 60*time.Second, "it is a dead letter", func() bool {
		return metric(t, x, "imagetier_prefetch_dead_letters") == "1"
	})
	if n := metric(t, x, "imagetier_prefetch_dead_total"); n != "1" {
		t.Errorf("%s dead letters are counted", n)
	}
	code, out, errs := x.shell("warm", "--dead")
	if code != 0 || !strings.Contains(out, "a.jpg") || strings.Count(out, "\n") != 1 {
		t.Fatalf("exit code %d, %q, %q", code, out, errs)
	}
	o.photo.Store(photo)
	if code, out, errs := x.shell("warm", "--dead", "--retry"); code != 0 || out != "1 dead letters queued again\n" {
		t.Errorf("exit code %d, %q, %q", code, out, errs)
	}
	x.waitWarm(1)
	x.get(signedPath(t, "/440x/v.1/posts/a.jpg.webp")).want(t, 200, "memory")
	if _, out, _ := x.shell("warm", "--dead"); out != "there are no dead letters\n" {
		t.Errorf("%q", out)
	}
}

// Behind a balancer an image is made on the node that keeps it: warming requests go through the
// balancer, with a low priority.
func TestTier_Warming_GoesThroughBalancer(t *testing.T) {
	t.Parallel()
	o, origin := newCountingOrigin(t, "phone-android.jpg")
	keeper := start(t, warmFlags(origin, "--cache-dir", t.TempDir())...)
	at, err := url.Parse(keeper.public)
	if err != nil {
		t.Fatal(err)
	}
	var background, others atomic.Int64
	forward := httputil.NewSingleHostReverseProxy(at)
	balancer := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Header.Get("Priority"), "u=7") { // with ", page" half a second after the event
			background.Add(1)
		} else {
			others.Add(1)
		}
		forward.ServeHTTP(w, r)
	}))
	taker := start(t, warmFlags(origin, "--cache-dir", t.TempDir(), "--warm", "all", "--balancer", balancer)...)
	taker.mustPostEvent("msg_1", published("p1", "a.jpg", "v.1"))
	taker.waitWarm(1)
	if background.Load() != 6 || others.Load() != 0 {
		t.Errorf("the balancer got %d requests that can wait and %d others, want 6 and none",
			background.Load(), others.Load())
	}
	keeper.get(signedPath(t, "/440x/v.1/posts/a.jpg.webp")).want(t, 200, "memory")
	if n := o.gets.Load(); n != 1 {
		t.Errorf("the origin was asked %d times, want once", n)
	}
	if n := metric(t, taker, `imagetier_cache_entries{tier="memory"}`); n != "0" {
		t.Errorf("the node that took the event keeps %s variants itself", n)
	}
	eventually(t, 20*time.Second, "the keeper made 3", func() bool { // counted when the job has ended
		return metric(t, keeper, `imagetier_resize_jobs_total{format="webp",outcome="ok"}`) == "3"
	})
}
