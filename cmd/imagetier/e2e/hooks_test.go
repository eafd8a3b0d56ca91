package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/webhook"
)

const cdnSecret = "whsec_YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY="

// cdnAdapter is a fake CDN adapter. It accepts only signed hooks.
type cdnAdapter struct {
	url string

	mu       sync.Mutex
	fails    bool
	failed   int                            // refused hooks
	posts    int                            // accepted hooks
	received map[string]int                 // hooks received, by "type name"
	onHook   func(kind string, name string) // called for each original before it is answered
}

func newCDNAdapter(t *testing.T) *cdnAdapter {
	t.Helper()
	verifier, err := webhook.NewVerifier(nil, cdnSecret)
	if err != nil {
		t.Fatal(err)
	}
	a := &cdnAdapter{received: make(map[string]int)}
	a.url = listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			return // the self-check of a tier that has run for ten seconds
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the tier was killed
		}
		claim, err := verifier.Claim(r.Header)
		if err == nil {
			err = verifier.Verify(claim, body)
		}
		var event struct {
			Type string
			Data struct {
				Originals []struct{ Source, Name, Tag string }
			}
		}
		if err == nil {
			err = json.Unmarshal(body, &event)
		}
		if err != nil {
			t.Errorf("invalid hook: %v\n%s", err, body)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.fails {
			a.failed++
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		a.posts++
		for _, o := range event.Data.Originals {
			if want := (imagecache.Original{Source: "posts", Name: o.Name}).CDNTag(); o.Tag != want ||
				o.Source != "posts" {
				t.Errorf("%+v, want the tag %s", o, want)
			}
			if a.onHook != nil {
				a.onHook(event.Type, o.Name)
			}
			a.received[event.Type+" "+o.Name]++
		}
	}))
	return a
}

func (a *cdnAdapter) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

func (a *cdnAdapter) times(event string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.received[event]
}

func (a *cdnAdapter) failures() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed
}

func (a *cdnAdapter) awaitTold(t *testing.T, event string) {
	t.Helper()
	eventually(t, 60*time.Second, "the adapter receives "+event, func() bool { return a.times(event) > 0 })
}

// The adapter asks the tier when it receives a hook: the tier no longer serves the old image, so
// the purged CDN cannot fetch it again.
func TestTier_PurgeHook_PostsAfterPurge(t *testing.T) {
	t.Parallel()
	a := newCDNAdapter(t)
	o, origin := newShifting(t)
	flags := []string{
		"--keys", key, "--source", "posts=" + origin, "--allow-private-origins", "--cache-dir", t.TempDir(),
		"--admin-token", token, "--webhook-secrets", hookSecret, "--warm", "none",
		"--cdn-tags", "surrogate-key", "--purge-hook", a.url, "--purge-secrets", cdnSecret,
	}
	x := start(t, flags...)
	path := func(name string) string { return signedPath(t, "/40x/v.1/posts/"+name+".jpg") }
	for _, name := range []string{"a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg"} {
		got := x.get(path(name))
		if tag := (imagecache.Original{Source: "posts", Name: name}).CDNTag(); got.Header.Get("Surrogate-Key") != tag {
			t.Errorf("Surrogate-Key %q, want %q", got.Header.Get("Surrogate-Key"), tag)
		}
	}
	o.generation.Store(1)
	statuses := map[string]int{}
	a.set(func() {
		a.onHook = func(kind, name string) {
			got := fetch(t, x.public+path(name))
			statuses[kind] = got.StatusCode
			if g, err := generationOf(got.body); got.StatusCode == http.StatusOK && (err != nil || g != 1) {
				t.Errorf("%s %s: the tier still serves generation %d, %v", kind, name, g, err)
			}
		}
	})
	asked := func(method, where, target string) {
		t.Helper()
		if status, _ := x.ask(method, where, target); status != http.StatusOK {
			t.Errorf("%s %s %s: %d", method, where, target, status)
		}
	}
	asked("POST", "/v1/purge", `{"source":"posts","name":"a.jpg"}`)
	a.awaitTold(t, "image.purged a.jpg")
	asked(
		"POST",
		"/v1/purge",
		`{"path":"`+signedPath(t, "/99x/live/posts/b.jpg.webp")+`"}`,
	) // for a live path: the whole original
	a.awaitTold(t, "image.purged b.jpg")
	asked("POST", "/v1/takedown", `{"source":"posts","name":"c.jpg"}`)
	a.awaitTold(t, "image.taken_down c.jpg")
	asked("DELETE", "/v1/takedown", `{"source":"posts","name":"c.jpg"}`)
	a.awaitTold(t, "image.lifted c.jpg")
	event := `{"type":"post.deleted","timestamp":"2026-11-22T10:00:00Z","data":{"posts":[{"id":"p1","image":{"source":"posts","name":"d.jpg","version":"v.1"}}]}}`
	x.mustPostEvent("msg_1", event)
	a.awaitTold(t, "image.purged d.jpg")
	a.set(func() {
		if statuses["image.taken_down"] != http.StatusUnavailableForLegalReasons ||
			statuses["image.lifted"] != http.StatusOK {
			t.Errorf("when the adapter received the hook: %v", statuses)
		}
		a.fails = true
	})

	// The hook fails, and the tier is killed before it could succeed.
	asked("POST", "/v1/purge", `{"source":"posts","name":"e.jpg"}`)
	eventually(t, 60*time.Second, "failed hooks are retried", func() bool { return a.failures() >= 2 })
	if n := metric(t, x, `imagetier_purge_hooks_total{outcome="failed"}`); n == "0" {
		t.Error("no failure is counted")
	}
	x.kill()
	a.set(func() { a.fails, a.onHook = false, nil })
	x = start(t, flags...)
	a.awaitTold(t, "image.purged e.jpg")
	for _, event := range []string{
		"image.purged a.jpg", "image.purged b.jpg", "image.taken_down c.jpg",
		"image.lifted c.jpg", "image.purged d.jpg", "image.purged e.jpg",
	} {
		if n := a.times(event); n != 1 {
			t.Errorf("%s was posted %d times", event, n)
		}
	}
	eventually(t, 20*time.Second, "it is counted", func() bool {
		return metric(t, x, `imagetier_purge_hooks_total{outcome="sent"}`) == "1"
	})
	x.stop()
}

// One node of a fleet calls the hook, after all nodes have applied the purge. If that node is down,
// another one calls it.
func TestFleet_PurgeHook_PostsOnceAfterAllNodes(t *testing.T) {
	a := newCDNAdapter(t)
	f := newFleet(t, "--purge-hook", a.url, "--purge-secrets", cdnSecret)
	path := func(name string) string { return signedPath(t, "/16x/v.1/posts/"+name+".jpg") }
	eventually(t, 20*time.Second, "all know of each other", func() bool {
		got := f.purge(0, "nothing.jpg")
		return got.Status == http.StatusOK && got.Nodes.Known == 3
	})
	const watched = 12
	for i := range watched {
		for _, x := range f.nodes {
			x.get(path(fmt.Sprintf("w/%d.jpg", i)))
		}
	}
	f.origin.generation.Store(1)
	a.set(func() {
		a.onHook = func(kind, name string) {
			for i, x := range f.nodes {
				got := fetch(t, x.public+path(name))
				gone := got.StatusCode == http.StatusUnavailableForLegalReasons
				if takenDown := kind == "image.taken_down"; gone != takenDown {
					t.Errorf("%s %s: node %d answers %s", kind, name, i, got.Status)
				}
				if !strings.HasPrefix(name, "w/") || got.StatusCode != http.StatusOK {
					continue
				}
				if g, err := generationOf(got.body); err != nil || g != 1 {
					t.Errorf("%s %s: node %d still serves generation %d, %v", kind, name, i, g, err)
				}
			}
		}
	})
	const purges = 60
	began := a.count()
	for i := range purges {
		name := fmt.Sprintf("w/%d.jpg", i)
		if got := f.purge(i%3, name); got.Status != http.StatusOK {
			t.Fatalf("%+v", got)
		}
	}
	for i := range purges {
		a.awaitTold(t, fmt.Sprintf("image.purged w/%d.jpg", i))
	}
	const down = `{"source":"posts","name":"w/0.jpg"}`
	if status, _ := f.nodes[1].ask("POST", "/v1/takedown", down); status != http.StatusOK {
		t.Fatal(status)
	}
	a.awaitTold(t, "image.taken_down w/0.jpg")
	if status, _ := f.nodes[2].ask("DELETE", "/v1/takedown", down); status != http.StatusOK {
		t.Fatal(status)
	}
	a.awaitTold(t, "image.lifted w/0.jpg")
	for i := range purges {
		if n := a.times(fmt.Sprintf("image.purged w/%d.jpg", i)); n != 1 {
			t.Errorf("w/%d.jpg was posted %d times", i, n)
		}
	}
	if n := a.count() - began; n > purges+2 {
		t.Errorf("%d posts for %d purges, a takedown and a lift", n, purges)
	}

	// The node that received the purge, and each one that tried to call the hook, may be gone.
	a.set(func() { a.fails, a.onHook = true, nil })
	if got := f.purge(0, "gone.jpg"); got.Status != http.StatusOK {
		t.Fatalf("%+v", got)
	}
	eventually(t, 60*time.Second, "a hook fails", func() bool { return a.failures() > 0 })
	f.nodes[0].kill()
	f.nodes[1].kill()
	a.set(func() { a.fails = false })
	a.awaitTold(t, "image.purged gone.jpg")
}

func (a *cdnAdapter) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.posts
}
