package graph_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/gateway/feed"
	"github.com/novasocial/imagetier/gateway/graph"
	"github.com/novasocial/imagetier/gateway/imagelink"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/prefetch/profile"
)

const iPhone = "App/1.0 (iPhone; iOS 17.4; Scale/3.00)"

// k6Query is The query of the load test.
const k6Query = `query GetFeed($limit: Int, $cursor: String) { feed(limit: $limit, cursor: $cursor) { posts { id caption imageUrl thumbnailUrl likeCount commentCount author { id username avatarUrl } } cursor hasMore } }`

var all = graph.Fields{ImageURL: "feed", ThumbnailURL: "feed", AvatarURL: "avatar"}

// pages is a Feed of functions.
type pages struct {
	page func(context.Context, feed.Query) (feed.Page, error)
	like func(context.Context, feed.Likes) error
}

func (p pages) Page(ctx context.Context, q feed.Query) (feed.Page, error) { return p.page(ctx, q) }
func (p pages) Like(ctx context.Context, l feed.Likes) error              { return p.like(ctx, l) }

// always returns the same page.
func always(p feed.Page) pages {
	return pages{page: func(context.Context, feed.Query) (feed.Page, error) { return p, nil }}
}

// twenty is a page of 20 posts by 20 authors.
func twenty() (p feed.Page) {
	for i := range 20 {
		p.Items = append(p.Items, feed.Item{
			Post: &feed.Post{
				ID: fmt.Sprintf("post-%d", i), UserID: fmt.Sprintf("user-%d", i),
				Caption: fmt.Sprintf(
					"A day at the sea, %d of many. Es war schön and we stayed until the sun was gone; see you there tomorrow.",
					i,
				),
				ImageURL: fmt.Sprintf(
					"https://cdn.app.example/2026/11/%08x4c7d65abcdef0123.jpg",
					i*7919,
				), Likes: int64(i * 1013), Comments: int64(i),
				CreatedAt: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC),
			},
			Author: &feed.Profile{
				ID:        fmt.Sprintf("user-%d", i),
				Username:  fmt.Sprintf("someone.%d", i),
				AvatarURL: fmt.Sprintf("https://cdn.app.example/u/%d.jpg", i),
			},
		})
	}
	p.NextCursor, p.HasMore = "b3BhcXVl", true
	return p
}

func signingKey(id, digit string) imageurl.Key {
	keys, err := imageurl.ParseKeys(id + "=" + strings.Repeat(digit, 64))
	if err != nil {
		panic(err)
	}
	return keys[0]
}

func newLinker(t testing.TB, keys ...imagelink.Key) *imagelink.Linker {
	t.Helper()
	return newLinkerOf(t, imagelink.Config{Keys: keys})
}

// newLinkerOf sets the fields of cfg that are required.
func newLinkerOf(t testing.TB, cfg imagelink.Config) *imagelink.Linker {
	t.Helper()
	prefix, err := profile.ParsePrefix("https://cdn.app.example/=posts")
	if err != nil {
		t.Fatal(err)
	}
	links, err := profile.NewLinks(prefix)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Keys == nil {
		cfg.Keys = []imagelink.Key{{Key: signingKey("k1", "1")}}
	}
	cfg.Base, cfg.Links = "https://img.example.com", links
	l, err := imagelink.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func newHandler(t testing.TB, cfg graph.Config) *graph.Handler {
	t.Helper()
	if cfg.Linker == nil {
		cfg.Linker = newLinker(t)
	}
	if cfg.Fields == (graph.Fields{}) {
		cfg.Fields = all
	}
	h, err := graph.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// answered is a parsed answer.
type answered struct {
	status int
	header http.Header
	body   string
	Data   struct {
		Feed *struct {
			Posts []struct {
				ID, UserID, Caption, ImageURL, ThumbnailURL, Placeholder, Color *string
				LikeCount, CommentCount, ViewCount, CreatedAt, Width, Height    *json.Number
				IsLiked                                                         *bool

				Author *struct{ ID, Username, AvatarURL *string }
			}
			Cursor  *string
			HasMore bool
		}
		BatchLike, BatchUnlike *struct{ Success bool }
	}
	Errors []struct {
		Message    string
		Path       []any
		Extensions struct{ Code, Service string }
	}
}

func (a answered) codes() string {
	var codes []string
	for _, err := range a.Errors {
		codes = append(codes, err.Extensions.Code)
	}
	return strings.Join(codes, " ")
}

// query is the body of a request.
func query(text string, variables map[string]any) string {
	body, err := json.Marshal(map[string]any{"query": text, "variables": variables})
	if err != nil {
		panic(err)
	}
	return string(body)
}

// ask posts a body and returns the answer.
func ask(t testing.TB, h http.Handler, body string, headers ...string) (a answered) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", iPhone)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
	}
	return do(t, h, r)
}

func do(t testing.TB, h http.Handler, r *http.Request) (a answered) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	resp := w.Result()
	body, _ := io.ReadAll(resp.Body)
	a.status, a.header, a.body = resp.StatusCode, resp.Header, string(body)
	if err := json.Unmarshal(body, &a); err != nil {
		t.Fatalf("the answer is no JSON: %v: %d %s", err, a.status, body)
	}
	if got := resp.Header.Get("Content-Length"); got != fmt.Sprint(len(body)) {
		t.Errorf("Content-Length %s of %d bytes", got, len(body))
	}
	return a
}
