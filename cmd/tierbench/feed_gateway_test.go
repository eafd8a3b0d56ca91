package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/novasocial/imagetier/cmd/tierbench/internal/phone"
	"github.com/novasocial/imagetier/internal/webhook"
)

// fakeGateway is a gateway and its tier: it answers with a page of two posts, sends the event of that page, and
// makes the images that the event names.
type fakeGateway struct {
	event  func(paths []string) []string // the paths that it sends instead of those of its answer
	makes  int                           // how many of them it makes
	status int                           // of the tier's answer to the event
	events *pageEvents
	base   string

	mu        sync.Mutex
	published int
	made      []string
	done      int // paths that it has worked on
}

func (f *fakeGateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch r.URL.Path {
	case "/v1/events":
		var e eventBody
		if json.NewDecoder(r.Body).Decode(&e) == nil && e.Type == "post.published" {
			f.published += len(e.Data.Posts)
		}
		w.WriteHeader(http.StatusAccepted)
	case "/metrics":
		fmt.Fprintf(w, "imagetier_prefetch_queue_jobs 0\nimagetier_prefetch_paths_total{outcome=\"made\"} %d\n"+
			"imagetier_prefetch_paths_total{outcome=\"late\"} %d\n", len(f.made), f.done-len(f.made))
	case "/graphql":
		url := func(name string) string { return f.base + "/i/k1.x/" + name }
		fmt.Fprintf(w, `{"data":{"feed":{"posts":[`+
			`{"imageUrl":%q,"thumbnailUrl":%[1]q,"author":{"avatarUrl":%q}},`+
			`{"imageUrl":%q,"author":{"avatarUrl":%[2]q}}]}}}`, url("p1"), url("u1"), url("p2"))
		f.send([]string{"/i/k1.x/p1", "/i/k1.x/u1", "/i/k1.x/p2"})
	default:
		status := "imagetier; fwd=uri-miss; detail=origin"
		if slices.Contains(f.made, r.URL.Path) {
			status = "imagetier; hit; ttl=1; detail=memory"
		}
		w.Header().Set("Cache-Status", status)
	}
}

func (f *fakeGateway) send(paths []string) {
	f.done = len(paths)
	f.made = paths[:f.makes]
	if f.event != nil {
		paths = f.event(paths)
	}
	body, _ := json.Marshal(eventBody{Type: "feed.page", Data: eventData{Paths: paths}})
	f.events.add(f.status, body)
}

func TestGatewayCheck_Run(t *testing.T) {
	signer, err := webhook.NewSigner(feedSecret)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		gateway *fakeGateway
		fails   string // "" if it passes
		hits    share
	}{
		"all made":      {&fakeGateway{makes: 3, status: 202}, "", share{3, 3}},
		"one late":      {&fakeGateway{makes: 2, status: 202}, "", share{2, 3}},
		"another order": {&fakeGateway{makes: 3, status: 202, event: reversed}, "path 0", share{}},
		"one missing": {
			&fakeGateway{makes: 3, status: 202, event: func(p []string) []string { return p[:2] }}, "path 2", share{},
		},
		"one more": {
			&fakeGateway{makes: 3, status: 202, event: func(p []string) []string { return append(p, "/i/more") }},
			"path 3", share{},
		},
		"refused": {&fakeGateway{makes: 3, status: 422}, "422", share{}},
	} {
		t.Run(name, func(t *testing.T) {
			gateway, events := c.gateway, &pageEvents{}
			server := httptest.NewServer(gateway)
			defer server.Close()
			gateway.base, gateway.events = server.URL, events
			p := newPlayer("", naming{})
			defer p.close()
			p.service = &feedService{client: p.client, url: server.URL, signer: signer, now: time.Now}
			seen, err := gatewayCheck{
				player: p, events: events, patience: time.Minute,
				published: []string{"https://cdn/p1", "https://cdn/p2"},
				graphql:   phone.Server{URL: server.URL + "/graphql"},
			}.run(t.Context())
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Errorf("the error is %v, want one with %q", err, c.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if gateway.published != 2 || seen.posts != 2 || seen.images != 3 || seen.hits != c.hits {
				t.Errorf("%d posts were published; %v", gateway.published, seen)
			}
		})
	}
}

func reversed(paths []string) []string {
	paths = slices.Clone(paths)
	slices.Reverse(paths)
	return paths
}

func TestPathsOf_Unsigned(t *testing.T) {
	plain := "https://cdn.app.example/p.jpg"
	if _, _, err := pathsOf([]phone.Post{{ImageURL: &plain}}); err == nil {
		t.Error("no error for a URL that the gateway has not signed")
	}
}
