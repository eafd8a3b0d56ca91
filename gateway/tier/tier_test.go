package tier_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
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

// pass lets time go by, and all that it brings.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// fake is a tier as a function.
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

// log is what happened, in order.
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

// run calls test beside a Client in a bubble of its own time.
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

type event struct {
	Type      string
	Timestamp time.Time
	Data      struct {
		Profile string
		Posts   []struct {
			Image struct{ Source, Name, Version string }
		}
	}
}

// E: it tells the tier what it just handed out: feed.page, batched, signed.
func TestClient_HandedOut_SignedEvent(t *testing.T) {
	var events log[event]
	verifier, err := webhook.NewVerifier(nil, secret)
	if err != nil {
		t.Fatal(err)
	}
	run(t, func(r *http.Request) (*http.Response, error) {
		body, _ := io.ReadAll(r.Body)
		claim, err := verifier.Claim(r.Header)
		if err := errors.Join(err, verifier.Verify(claim, body)); err != nil || !strings.HasPrefix(claim.ID, "msg_") {
			t.Errorf("%v: %v", r.Header, err)
		}
		if r.URL.String() != "http://tier:8081/v1/events" || r.Method != "POST" || r.Header.Get("Authorization") != "" {
			t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
		}
		var e event
		if err := json.Unmarshal(body, &e); err != nil {
			t.Error(err)
		}
		events.add(e)
		return answer(202, ""), nil
	}, func(c *tier.Client, seen *counts) {
		c.HandedOut("feed", []profile.Image{pinned("a.jpg"), pinned("b.jpg")})
		pass(50 * time.Millisecond)
		c.HandedOut("feed", []profile.Image{pinned("b.jpg"), pinned("c.jpg")})
		pass(40 * time.Millisecond)
		if len(events.all()) != 0 {
			t.Errorf("sent before more could come: %v", events.all())
		}
		pass(20 * time.Millisecond)
		if len(events.all()) != 1 || events.all()[0].Type != "feed.page" ||
			events.all()[0].Data.Profile != "feed" || len(events.all()[0].Data.Posts) != 3 ||
			events.all()[0].Data.Posts[2].Image.Name != "c.jpg" ||
			events.all()[0].Data.Posts[2].Image.Version != "v.0" || events.all()[0].Timestamp.IsZero() {
			t.Errorf("sent %+v", events.all())
		}
		// Images that were sent a moment ago are not sent again until later.
		c.HandedOut("feed", []profile.Image{pinned("a.jpg")})
		pass(time.Second)
		if len(events.all()) != 1 || seen.of(tier.Known) != 2 || seen.of(tier.Sent) != 3 {
			t.Errorf("sent %d events, %v", len(events.all()), seen)
		}
		for range 3 {
			pass(6 * time.Minute)
			c.HandedOut("feed", []profile.Image{pinned("z.jpg")}) // time goes on for the set
		}
		pass(time.Second)
		sent := len(events.all())
		c.HandedOut("feed", []profile.Image{pinned("a.jpg")})
		pass(time.Second)
		if len(events.all()) != sent+1 {
			t.Errorf("%d events, not %d", len(events.all()), sent+1)
		}
	})
}

func TestClient_HandedOut_MaxPosts(t *testing.T) {
	var posts, lengths log[int]
	run(t, func(r *http.Request) (*http.Response, error) {
		body, _ := io.ReadAll(r.Body)
		var e event
		_ = json.Unmarshal(body, &e)
		posts.add(len(e.Data.Posts))
		lengths.add(len(body))
		return answer(202, ""), nil
	}, func(c *tier.Client, seen *counts) {
		c.HandedOut("feed", names(1200))
		synctest.Wait() // it is enough: nothing more is waited for
		if fmt.Sprint(posts.all()) != "[500 500 200]" {
			t.Errorf("posts %v", posts.all())
		}
		var images []profile.Image
		for i := range 500 {
			images = append(images, pinned(strings.Repeat("\x01", 1000)+fmt.Sprint(i)))
		}
		c.HandedOut("feed", images)
		pass(time.Second)
		longest := slices.Max(lengths.all())
		if longest > 1<<20 || seen.of(tier.Sent) != 1700 {
			t.Errorf("an event of %d bytes, %v", longest, seen)
		}
	})
}

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
			c.HandedOut("feed", []profile.Image{pinned(fmt.Sprintf("%d.jpg", i))})
			if i == 0 {
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
		// Images that the tier did not take are sent again.
		hang.Store(false)
		pass(time.Minute)
		c.HandedOut("feed", []profile.Image{pinned("0.jpg")})
		pass(time.Second)
		if seen.of(tier.Sent) != 1 {
			t.Errorf("%v", seen)
		}
	})
}

func TestClient_HandedOut_Backoff(t *testing.T) {
	var calls atomic.Int32
	run(t, func(*http.Request) (*http.Response, error) {
		if calls.Add(1) == 1 {
			return answer(429, "", "Retry-After: 7"), nil
		}
		return answer(202, ""), nil
	}, func(c *tier.Client, seen *counts) {
		for i := range 10 {
			c.HandedOut("feed", []profile.Image{pinned(fmt.Sprint(i))})
			pass(time.Second)
		}
		if calls.Load() != 4 || seen.of(tier.Refused) != 1 || seen.of(tier.Dropped) != 6 || seen.of(tier.Sent) != 3 {
			t.Errorf("%d calls, %v", calls.Load(), seen)
		}
	})
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
		c.HandedOut("feed", names(3))
		_ = c.Run(ctx)
	})
}

// infos answers /v1/info: each name is its own tag.
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
			t.Errorf("what has no tag has %q", tag)
		}
		sum := 0
		for _, n := range asked.all() {
			sum += n
		}
		if sum != 2 {
			t.Errorf("two images were asked for in %v", asked.all())
		}
		n := len(asked.all())
		current.Store("two")
		pass(31 * time.Second)
		if tag, _ := c.Tag(a); tag != "one" {
			t.Errorf("while it is asked for again it is %q", tag)
		}
		synctest.Wait()
		if tag, _ := c.Tag(a); tag != "two" || len(asked.all()) != n+1 {
			t.Errorf("after that it is %q, asked %v", tag, asked.all())
		}
		for i := range 300 {
			c.Tag(profile.Image{Source: "posts", Name: fmt.Sprint(i)})
		}
		pass(time.Second)
		for _, n := range asked.all() {
			if n > 100 {
				t.Errorf("asked for %v at once", asked.all())
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
			t.Error("it is not known when the tier is back")
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
