package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/jpeg"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/novasocial/imagetier/cmd/tierbench/internal/stack"
	"github.com/novasocial/imagetier/cmd/tierbench/socialday"
	"github.com/novasocial/imagetier/internal/webhook"
	hook "github.com/novasocial/imagetier/prefetch/events"
	"github.com/novasocial/imagetier/prefetch/profile"
)

func TestWarmedOf_Shares(t *testing.T) {
	m := stack.Metrics{"imagetier_prefetch_used_total": 12, "imagetier_prefetch_wasted_total": 4}
	got := warmedOf(m).minus(warmed{used: 2, wasted: 2})
	if got != (warmed{used: 10, wasted: 2}) || got.share() != 2.0/12 {
		t.Errorf("%+v, share %v", got, got.share())
	}
	if (warmed{}).share() != 0 {
		t.Error("the wasted share of no variants is not 0")
	}
}

func TestCacheStatus_Source(t *testing.T) {
	for text, want := range map[string]cacheStatus{
		"imagetier; hit; ttl=31536000; detail=memory":                    {true, "memory", false},
		"imagetier; hit; ttl=-20; detail=stale":                          {true, "stale", false},
		"imagetier; fwd=uri-miss; fwd-status=200; stored; detail=origin": {false, "origin", false},
		"imagetier; fwd=uri-miss; collapsed; detail=hit":                 {false, "hit", true},
		"": {},
	} {
		if got := readCacheStatus(text); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}

// smallDay has few posts and people.
func smallDay() *socialday.Day {
	day := socialday.New(socialday.Config{People: 60, Lasts: 300 * time.Millisecond, Seed: 3})
	return &day
}

func testNames(t *testing.T) naming {
	t.Helper()
	names, err := newNaming("t-", feedKeys)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// The tier's own reader and verifier accept the events.
func TestFeedService_SignsEvents(t *testing.T) {
	verifier, err := webhook.NewVerifier(nil, feedSecret)
	if err != nil {
		t.Fatal(err)
	}
	links, err := profile.NewLinks()
	if err != nil {
		t.Fatal(err)
	}
	reader := hook.Reader{Links: links, Profiles: profile.BuiltIn()}
	events := make(chan hook.Event, 10)
	status := http.StatusAccepted
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		claim, faultClaim := verifier.Claim(r.Header)
		e, faultEvent := reader.ParseEvent(body)
		if err := errors.Join(err, faultClaim, verifier.Verify(claim, body), faultEvent); err != nil ||
			r.URL.Path != "/v1/events" {
			t.Errorf("%s: %v", r.URL, err)
		}
		events <- e
		w.WriteHeader(status)
	}))
	defer server.Close()
	signer, err := webhook.NewSigner(feedSecret)
	if err != nil {
		t.Fatal(err)
	}
	f := &feedService{client: server.Client(), url: server.URL, signer: signer, names: testNames(t), now: time.Now}
	day := smallDay()
	body, err := f.published(day, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.send(t.Context(), "one", body); err != nil {
		t.Fatal(err)
	}
	e := <-events
	if len(e.Posts) != 2 || e.Type != hook.PostPublished || e.Posts[1].Audience != day.Posts[1].Audience ||
		e.Posts[1].Image.Name != "t-posts/1.jpg" ||
		e.Posts[1].Author.Avatar.Name != fmt.Sprintf("t-avatars/%d.jpg", day.Posts[1].Author) {
		t.Errorf("%+v", e)
	}
	status = http.StatusTooManyRequests
	if err := f.send(t.Context(), "two", body); err == nil {
		t.Error("no error for an event that was refused")
	}
}

// fakeTier answers every path, as a hit if an event has named its image before. Requests wait for
// the events, since their order on a busy machine is not under test.
type fakeTier struct {
	await int           // posts of events
	there chan struct{} // closed when they have arrived

	mu       sync.Mutex
	notified map[string]bool
	asked    map[string]int
	events   int
}

func newFakeTier(await int) *fakeTier {
	f := &fakeTier{
		await: await, there: make(chan struct{}), notified: make(map[string]bool), asked: make(map[string]int),
	}
	if await == 0 {
		close(f.there)
	}
	return f
}

func (f *fakeTier) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		select {
		case <-f.there:
		case <-r.Context().Done():
			return
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Method == http.MethodPost {
		var e eventBody
		if json.NewDecoder(r.Body).Decode(&e) == nil && e.Type == "post.published" {
			for _, post := range e.Data.Posts {
				f.notified[post.Image.Name] = true
			}
			if len(f.notified) == f.await {
				close(f.there)
			}
		}
		f.events++
		w.WriteHeader(http.StatusAccepted)
		return
	}
	f.asked[r.URL.Path]++
	status := "imagetier; fwd=uri-miss; detail=origin"
	for name := range f.notified {
		if strings.Contains(r.URL.Path, "/"+name+".") {
			status = "imagetier; hit; ttl=1; detail=memory"
		}
	}
	w.Header().Set("Cache-Status", status)
}

// A whole window is played and counted: with events all first views are hits.
func TestPlayer_Window_CountsAll(t *testing.T) {
	w := window{smallDay(), 0, 300 * time.Millisecond}
	// So short a day has no fan-out: publish the posts at its beginning.
	for i := range w.day.Posts {
		w.day.Posts[i].At = time.Duration(i) * time.Microsecond
	}
	w.day.Posts = append(w.day.Posts, socialday.Post{At: -1, Seen: -1, Old: true})
	old := len(w.day.Posts) - 1
	at := 200 * time.Millisecond
	w.day.Pages = []socialday.Page{
		{At: at, Posts: []int{0, 1, old}, Asks: []socialday.Ask{
			{At: at, Post: 0, Device: 0},
			{At: at + 1, Post: 1, Device: 0},
			{At: at + 2, Post: old},
			{At: at, Post: 0, Avatar: true},
		}},
		{At: at + 50*time.Millisecond, Posts: []int{0}, Asks: []socialday.Ask{
			{At: at + 50*time.Millisecond, Post: 0, Device: 4},
			{At: at + 51*time.Millisecond, Post: 0, Device: 4},
		}},
		{At: time.Second, Posts: []int{0}, Asks: make([]socialday.Ask, 9)}, // after the window
	}
	signer, err := webhook.NewSigner(feedSecret)
	if err != nil {
		t.Fatal(err)
	}
	for _, tells := range []bool{true, false} {
		posts := 0
		if tells {
			posts = old
		}
		tier := newFakeTier(posts)
		server := httptest.NewServer(tier)
		p := newPlayer(server.URL, testNames(t))
		if tells {
			p.service = &feedService{client: p.client, url: server.URL, signer: signer, names: p.names, now: time.Now}
		}
		out, err := p.play(context.Background(), w)
		p.close()
		server.Close()
		if err != nil {
			t.Fatal(err)
		}
		got := tallyOf(w, out.answers)
		want := tally{
			asked:    6,
			hits:     share{0, 6},
			first:    share{0, 2},
			soon:     share{2, 2},
			variants: share{0, 3},
			old:      share{0, 1},
		}
		if tells {
			want.hits.some, want.first.some, want.variants.some, want.soon = 4, 2, 3, share{}
			if tier.events != old+2 || out.events != tier.events || out.refused != 0 {
				t.Errorf("%d events of %d posts and 2 pages", tier.events, old)
			}
		}
		want.p50, want.p99, want.againP50, want.againP99 = got.p50, got.p99, got.againP50, got.againP99
		if got != want || got.p50 == 0 || got.againP50 == 0 || got.againP99 > got.p99 {
			t.Errorf("events %v: %+v, want %+v", tells, got, want)
		}
		if len(tier.asked) != 5 {
			t.Errorf("requested %v", tier.asked)
		}
	}
}

func TestPlayer_Preload_EarlierPostsOnly(t *testing.T) {
	day := &socialday.Day{
		Posts: []socialday.Post{{At: -5}, {At: 3, Author: 1}, {At: -9, Old: true}},
		Pages: []socialday.Page{
			{At: 5, Asks: []socialday.Ask{{At: 5, Post: 0}, {At: 5, Post: 0}, {At: 5, Post: 1}, {At: 5, Post: 2}}},
		},
	}
	names := testNames(t)
	paths, err := names.before(window{day, 0, 10})
	if err != nil {
		t.Fatal(err)
	}
	posts, avatars := 0, 0
	for _, path := range paths {
		if strings.Contains(path, "/t-posts/0.jpg") {
			posts++
		} else if strings.Contains(path, "/t-avatars/") {
			avatars++
		} else {
			t.Errorf("unexpected path %s", path)
		}
	}
	if posts != 1 || avatars != 12 { // of two authors, six each
		t.Errorf("%v", paths)
	}
}

func TestQuantile(t *testing.T) {
	var all []time.Duration
	for i := range 100 {
		all = append(all, time.Duration(100-i))
	}
	if a, b, c := quantile(all, 0.5), quantile(all, 0.99), quantile(nil, 0.5); a != 51 || b != 100 || c != 0 {
		t.Errorf("%d %d %d", a, b, c)
	}
	if median([]float64{9, 1, 5}) != 5 || median([]int(nil)) != 0 {
		t.Error("wrong median")
	}
}

func TestOrigin_OnePhotoPerName(t *testing.T) {
	photo, err := madeUp(2000, 1500)
	if err != nil {
		t.Fatal(err)
	}
	avatar, err := avatarOf(photo)
	if err != nil {
		t.Fatal(err)
	}
	if cfg, err := jpeg.DecodeConfig(bytes.NewReader(avatar)); err != nil || cfg.Width != 640 || cfg.Height != 640 {
		t.Errorf("an avatar is %+v, %v", cfg, err)
	}
	s, err := openStub("127.0.0.1:0", [][]byte{photo, []byte("another")}, avatar, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	get := func(path, match string) (int, string, []byte) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if match != "" {
			req.Header.Set("If-Match", match)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Header.Get("ETag"), body
	}
	kinds := make(map[string]bool)
	for i := range 20 {
		path := fmt.Sprintf("posts/%d.jpg", i)
		_, tag, body := get(path, "")
		status, again, same := get(path, tag)
		if tag == "" || status != http.StatusOK || again != tag || !bytes.Equal(body, same) {
			t.Errorf("%s: %d, %s and then %s", path, status, tag, again)
		}
		kinds[string(body[:7])] = true
	}
	if len(kinds) != 2 {
		t.Errorf("%d photos are served", len(kinds))
	}
	if _, _, body := get("t-avatars/1.jpg", ""); !bytes.Equal(body, avatar) {
		t.Error("an avatar is a photo")
	}
	if status, _, _ := get("posts/1.jpg", `"other"`); status != http.StatusPreconditionFailed {
		t.Errorf("another entity tag: status %d", status)
	}
	if progressive(photo) || !progressive([]byte("\xff\xd8\xff\xe0\x00\x04xx\xff\xc2\x00\x02")) {
		t.Error("progressive does not distinguish progressive JPEGs from others")
	}
}

// A day is fitted to a rate: its busiest part has that rate.
func TestDay_FitsRate(t *testing.T) {
	c := &feedCmd{Day: time.Minute, Part: 10 * time.Second, Seed: 1}
	for _, rate := range []float64{40, 200} {
		cfg, w := c.dayAt(rate)
		got := float64(len(w.asks())) / w.to.Seconds()
		got *= w.to.Seconds() / (w.to - w.from).Seconds()
		if got < 0.9*rate || got > 1.1*rate || cfg.Lasts < 30*time.Second || cfg.Lasts > 2*time.Minute {
			t.Errorf("%.0f a second instead of %.0f, in a day of %v", got, rate, cfg.Lasts)
		}
	}
}

func TestTables_RowPerTarget(t *testing.T) {
	with := tally{p50: time.Millisecond, p99: 3 * time.Millisecond, first: share{99, 100}, soon: share{1, 1}}
	without := tally{p50: time.Millisecond, p99: 2 * time.Millisecond}
	text := pairTable([]pair{{with, without}, {with, without}, {without, without}}, 50, 100)
	for _, row := range []string{
		"| 3 pairs at 50 requests a second, 50 % of the capacity, medians |",
		"| p99 of all requests | 3.0 ms | 2.0 ms | 1.50 |",
		"| first view of a new post is a hit | 99.0 % | 0.0 % | |",
	} {
		if !strings.Contains(text, row) {
			t.Errorf("no row %q in\n%s", row, text)
		}
	}
	text = dayTable("a day", dayRun{tally: with, warmed: warmed{90, 10, 4, 1}})
	for _, row := range []string{
		"| first view of a new post is a hit | 99.0 % | of 100 |", "| wasted | 10.0 % | of 100 made early |",
		"| wasted CPU time | 20.0 % | of 5.0 s |",
	} {
		if !strings.Contains(text, row) {
			t.Errorf("no row %q in\n%s", row, text)
		}
	}
}
