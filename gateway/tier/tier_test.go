package tier_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/gateway/tier"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/webhook"
	"github.com/novasocial/imagetier/prefetch/profile"
)

// pass advances the fake time and runs everything that is due.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// fake is a tier whose answers a function makes.
type fake func(*http.Request) (*http.Response, error)

func (f fake) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, body string, headers ...string) *http.Response {
	h := http.Header{}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		h.Set(name, value)
	}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Header: h, Body: io.NopCloser(strings.NewReader(body)),
	}
}

const secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"

// counts are images by outcome.
type counts struct{ log log[counted] }

type counted struct {
	outcome tier.Outcome
	n       int
}

func (c *counts) of(outcome tier.Outcome) (sum int) {
	for _, each := range c.log.all() {
		if each.outcome == outcome {
			sum += each.n
		}
	}
	return sum
}

func (c *counts) String() string { return fmt.Sprint(c.log.all()) }

// log has the events in order.
type log[T any] struct {
	mu    sync.Mutex
	items []T
}

func (l *log[T]) add(item T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.items = append(l.items, item)
}

func (l *log[T]) all() []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.items)
}

// run calls test with a running Client in a synctest bubble.
func run(t *testing.T, transport fake, test func(c *tier.Client, seen *counts)) {
	synctest.Test(t, func(t *testing.T) {
		seen := &counts{}
		u, _ := url.Parse("http://tier:8081")
		signer, err := webhook.NewSigner(secret)
		if err != nil {
			t.Fatal(err)
		}
		c := tier.New(tier.Config{
			URL: u, AdminToken: "admin", Signer: signer, Transport: transport,
			Observe: func(outcome tier.Outcome, n int) { seen.log.add(counted{outcome, n}) },
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		test(c, seen)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func pinned(name string) profile.Image {
	v, _ := imageurl.NewVersion(imageurl.Trusted, "0")
	return profile.Image{Source: "posts", Name: name, Version: v}
}

func names(n int) (images []profile.Image) {
	for i := range n {
		images = append(images, pinned(fmt.Sprintf("%d.jpg", i)))
	}
	return images
}

// paths returns n paths of a page.
func paths(page string, n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("/i/k1.x/440x/v.1/posts/%s%d.jpg.webp", page, i))
	}
	return all
}

type event struct {
	Type      string
	Timestamp time.Time
	Data      struct{ Paths []string }
}

// readEvent verifies and reads an event.
func readEvent(t *testing.T, r *http.Request) (e event) {
	t.Helper()
	verifier, err := webhook.NewVerifier(nil, secret)
	if err != nil {
		t.Error(err)
		return e
	}
	body, _ := io.ReadAll(r.Body)
	claim, err := verifier.Claim(r.Header)
	if err := errors.Join(err, verifier.Verify(claim, body), json.Unmarshal(body, &e)); err != nil ||
		!strings.HasPrefix(claim.ID, "msg_") || e.Type != "feed.page" || e.Timestamp.IsZero() {
		t.Errorf("%v %s: %v", r.Header, body, err)
	}
	if r.URL.String() != "http://tier:8081/v1/events" || r.Method != "POST" || r.Header.Get("Authorization") != "" {
		t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
	}
	return e
}

// Each page is one event with its paths in order, sent within 20 ms.
func TestClient_HandedOut_EventPerPage(t *testing.T) {
	var events log[string]
	run(t, func(r *http.Request) (*http.Response, error) {
		time.Sleep(10 * time.Millisecond) // the tier's answer
		e := readEvent(t, r)
		events.add(strings.Join(e.Data.Paths, " "))
		return answer(202, ""), nil
	}, func(c *tier.Client, seen *counts) {
		began := time.Now()
		a, b := paths("a", 20), paths("b", 3)
		c.HandedOut(slices.Clone(a))
		synctest.Wait() // pages of the same moment may be sent in any order
		c.HandedOut(append(slices.Clone(a[:2]), b...))
		if !time.Now().Equal(began) {
			t.Error("HandedOut waits")
		}
		pass(20 * time.Millisecond)
		got := events.all()
		slices.Sort(got)
		if !slices.Equal(got, []string{strings.Join(a, " "), strings.Join(b, " ")}) {
			t.Errorf("sent %q", got)
		}
		if seen.of(tier.Sent) != 23 || seen.of(tier.Known) != 2 {
			t.Errorf("%v", seen)
		}
		pass(3 * knownFor)
		c.HandedOut(a[:1])
		pass(time.Second)
		if len(events.all()) != 3 {
			t.Errorf("%d events, want the path again", len(events.all()))
		}
	})
}

const knownFor = 30 * time.Second

func TestClient_HandedOut_MaxPaths(t *testing.T) {
	var lengths log[int]
	run(t, func(r *http.Request) (*http.Response, error) {
		lengths.add(len(readEvent(t, r).Data.Paths))
		return answer(202, ""), nil
	}, func(c *tier.Client, _ *counts) {
		c.HandedOut(paths("a", 450))
		pass(time.Second)
		if fmt.Sprint(lengths.all()) != "[200 200 50]" {
			t.Errorf("events of %v paths", lengths.all())
		}
	})
}

// A hanging tier delays nothing: pages are dropped until it is back.
func TestClient_HandedOut_SlowTier(t *testing.T) {
	var hang atomic.Bool
	hang.Store(true)
	run(t, func(r *http.Request) (*http.Response, error) {
		if hang.Load() {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		return answer(202, ""), nil
	}, func(c *tier.Client, seen *counts) {
		started := time.Now()
		for i := range 10_000 {
			c.HandedOut(paths(fmt.Sprint(i, "-"), 1))
			if i == 10 {
				pass(150 * time.Millisecond)
			}
		}
		if waited := time.Since(started); waited != 150*time.Millisecond {
			t.Errorf("waited for %s", waited)
		}
		pass(10 * time.Second)
		if seen.of(tier.Dropped) < 9_000 || seen.of(tier.Refused) == 0 {
			t.Errorf("%v", seen)
		}
		hang.Store(false)
		pass(time.Minute)
		c.HandedOut(paths("0-", 1))
		pass(time.Second)
		if seen.of(tier.Sent) != 1 {
			t.Errorf("%v", seen)
		}
	})
}

// After a 429 nothing is sent for the Retry-After; an invalid page does not delay others.
func TestClient_HandedOut_Backoff(t *testing.T) {
	for status, want := range map[int][3]int{429: {1, 6, 3}, 422: {1, 0, 9}} {
		var calls atomic.Int32
		run(t, func(*http.Request) (*http.Response, error) {
			if calls.Add(1) == 1 {
				return answer(status, "", "Retry-After: 7"), nil
			}
			return answer(202, ""), nil
		}, func(c *tier.Client, seen *counts) {
			for i := range 10 {
				c.HandedOut(paths(fmt.Sprint(i, "-"), 1))
				pass(time.Second)
			}
			if got := [3]int{seen.of(tier.Refused), seen.of(tier.Dropped), seen.of(tier.Sent)}; got != want {
				t.Errorf("%d: refused, dropped and sent %v, want %v", status, got, want)
			}
		})
	}
}

func TestClient_HandedOut_NoSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, _ := url.Parse("http://tier:8081")
		c := tier.New(tier.Config{URL: u, Transport: fake(func(*http.Request) (*http.Response, error) {
			t.Error("sent")
			return nil, io.EOF
		})})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c.HandedOut(paths("a", 3))
		_ = c.Run(ctx)
	})
}

// infos answers /v1/info: the tag of each original is its name.
func infos(t *testing.T, asked *log[int], version func(name string) string) fake {
	return func(r *http.Request) (*http.Response, error) {
		var q struct {
			Images []struct{ Source, Name, Version string }
		}
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil || r.URL.Path != "/v1/info" ||
			r.Header.Get("Authorization") != "Bearer admin" {
			t.Errorf("%v %s %v", err, r.URL, r.Header)
		}
		asked.add(len(q.Images))
		var all []string
		for _, image := range q.Images {
			all = append(all, fmt.Sprintf(`{"width":4,"height":3,"version":%q}`, version(image.Name)))
		}
		return answer(200, `{"infos":[`+strings.Join(all, ",")+`]}`), nil
	}
}

func TestClient_SetAdminToken_UsedByLaterQuestions(t *testing.T) {
	var tokens log[string]
	run(t, func(r *http.Request) (*http.Response, error) {
		tokens.add(r.Header.Get("Authorization"))
		return answer(200, `{"infos":[{"width":4}]}`), nil
	}, func(c *tier.Client, _ *counts) {
		for _, token := range []string{"", "another", ""} {
			if token != "" {
				c.SetAdminToken(token)
			}
			if _, err := c.Info(t.Context(), []profile.Image{pinned("a.jpg")}); err != nil {
				t.Error(err)
			}
		}
	})
	if got := fmt.Sprint(tokens.all()); got != "[Bearer admin Bearer another Bearer another]" {
		t.Errorf("tokens %s", got)
	}
}

func TestClient_Tag(t *testing.T) {
	var asked log[int]
	var current atomic.Value
	current.Store("one")
	run(t, infos(t, &asked, func(name string) string {
		if name == "none.jpg" {
			return ""
		}
		return "e." + current.Load().(string)
	}), func(c *tier.Client, _ *counts) {
		a, none := profile.Image{Source: "posts", Name: "a.jpg"}, profile.Image{Source: "posts", Name: "none.jpg"}
		for range 3 { // asked once
			if tag, ok := c.Tag(a); ok {
				t.Errorf("known before it was said: %s", tag)
			}
			c.Tag(none)
		}
		synctest.Wait()
		if tag, ok := c.Tag(a); !ok || tag != "one" {
			t.Errorf("the tag is %q, %v", tag, ok)
		}
		if tag, ok := c.Tag(none); ok {
			t.Errorf("an original without a tag has %q", tag)
		}
		sum := 0
		for _, n := range asked.all() {
			sum += n
		}
		if sum != 2 {
			t.Errorf("the calls for two images: %v", asked.all())
		}
		n := len(asked.all())
		current.Store("two")
		pass(31 * time.Second)
		if tag, _ := c.Tag(a); tag != "one" {
			t.Errorf("while the tag is requested again, Tag returns %q", tag)
		}
		synctest.Wait()
		if tag, _ := c.Tag(a); tag != "two" || len(asked.all()) != n+1 {
			t.Errorf("afterwards Tag returns %q; calls %v", tag, asked.all())
		}
		for i := range 300 {
			c.Tag(profile.Image{Source: "posts", Name: fmt.Sprint(i)})
		}
		pass(time.Second)
		for _, n := range asked.all() {
			if n > 100 {
				t.Errorf("originals asked for per call: %v, want at most 100", asked.all())
			}
		}
	})
}

func TestClient_Tag_Expires(t *testing.T) {
	var asked log[int]
	works := infos(t, &asked, func(string) string { return "e.one" })
	var down atomic.Bool
	run(t, func(r *http.Request) (*http.Response, error) {
		if down.Load() {
			return answer(503, ""), nil
		}
		return works(r)
	}, func(c *tier.Client, _ *counts) {
		a := profile.Image{Source: "posts", Name: "a.jpg"}
		c.Tag(a)
		synctest.Wait()
		down.Store(true)
		pass(time.Minute)
		if tag, ok := c.Tag(a); tag != "one" || !ok {
			t.Errorf("a minute after the tier went away it is %q", tag)
		}
		pass(5 * time.Minute)
		if tag, ok := c.Tag(a); ok {
			t.Errorf("after six minutes it is %q", tag)
		}
		down.Store(false)
		pass(2 * time.Second)
		c.Tag(a)
		synctest.Wait()
		if _, ok := c.Tag(a); !ok {
			t.Error("the tag is still unknown after the tier is back")
		}
	})
}

func TestClient_Tag_InvalidAnswer(t *testing.T) {
	for _, resp := range []*http.Response{
		answer(401, ""), answer(200, "<html>"), answer(200, `{"infos":[]}`), answer(302, "", "Location: /"),
	} {
		run(t, func(*http.Request) (*http.Response, error) { return resp, nil }, func(c *tier.Client, _ *counts) {
			if facts, err := c.Info(t.Context(), names(1)); err == nil {
				t.Errorf("%d: %v", resp.StatusCode, facts)
			}
		})
	}
	run(t, nil, func(c *tier.Client, _ *counts) {
		if _, err := c.Info(t.Context(), names(101)); err == nil {
			t.Error("101 images")
		}
	})
}

// 1 MiB of empty facts would take 40 MiB.
func TestClient_Info_BoundsMemory(t *testing.T) {
	body := `{"infos":[` + strings.Repeat("{},", 1<<20/3-10) + `{}]}`
	empty := func(*http.Request) (*http.Response, error) { return answer(200, body), nil }
	run(t, empty, func(c *tier.Client, _ *counts) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := c.Info(t.Context(), names(1))
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), "infos: it has more than 1 items") {
			t.Error(err)
		}
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 16<<20 {
			t.Errorf("%d MiB were allocated", allocated>>20)
		}
	})
}
