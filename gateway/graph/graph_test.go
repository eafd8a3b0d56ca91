package graph_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/gateway/feed"
	"github.com/novasocial/imagetier/gateway/graph"
	"github.com/novasocial/imagetier/gateway/imagelink"
	"github.com/novasocial/imagetier/prefetch/profile"
)

// wholeQuery requests every field.
const wholeQuery = `{ feed { posts { id userId caption imageUrl thumbnailUrl likeCount commentCount viewCount createdAt isLiked placeholder width height color author { id username avatarUrl } } cursor hasMore } }`

// Posts are in the order of the feed.
func TestHandler_EveryField(t *testing.T) {
	h := newHandler(
		t,
		graph.Config{Feed: always(twenty()), Facts: func(_ context.Context, images []profile.Image) []graph.Facts {
			all := make([]graph.Facts, len(images))
			for i, image := range images {
				all[i] = graph.Facts{
					Placeholder: "hash of " + image.Name,
					Width:       4000 + i,
					Height:      3000,
					Color:       "#102030",
				}
			}
			return all
		}},
	)
	a := ask(t, h, query(wholeQuery, nil))
	if a.status != 200 || len(a.Errors) > 0 || len(a.Data.Feed.Posts) != 20 || *a.Data.Feed.Cursor != "b3BhcXVl" ||
		!a.Data.Feed.HasMore {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for i, p := range a.Data.Feed.Posts {
		want := twenty().Items[i]
		if *p.ID != want.Post.ID || *p.UserID != want.Post.UserID || *p.Caption != want.Post.Caption ||
			p.LikeCount.String() != fmt.Sprint(i*1013) ||
			p.CommentCount.String() != fmt.Sprint(i) ||
			p.ViewCount.String() != "0" ||
			p.IsLiked != nil ||
			p.CreatedAt.String() != "1795176000" ||
			*p.Author.ID != want.Author.ID ||
			*p.Author.Username != want.Author.Username {
			t.Errorf("post %d: %+v", i, p)
		}
		hash := "hash of " + strings.TrimPrefix(want.Post.ImageURL, "https://cdn.app.example/")
		if *p.Placeholder != hash || p.Width.String() != fmt.Sprint(4000+i) || p.Height.String() != "3000" ||
			*p.Color != "#102030" {
			t.Errorf("facts of post %d: %+v", i, p)
		}
	}
	const order = `{"data":{"feed":{"posts":[{"id":"post-0","userId":"user-0","caption":"A day`
	if !strings.HasPrefix(a.body, order) {
		t.Errorf("members are not in the order of the query: %.100s", a.body)
	}
}

// The query of the load test.
func TestHandler_LoadTestQuery(t *testing.T) {
	h := newHandler(
		t,
		graph.Config{Feed: always(twenty()), User: func(*httpRequest) (string, error) { return "user1", nil }},
	)
	a := ask(t, h, query(k6Query, map[string]any{"limit": 20, "cursor": nil}), "Authorization: Bearer test-token")
	if a.status != 200 || len(a.Errors) > 0 || len(a.Data.Feed.Posts) != 20 {
		t.Errorf("%d %.300s", a.status, a.body)
	}
	for name, want := range map[string]string{
		"Content-Type":           "application/json; charset=utf-8",
		"Cache-Control":          "private, no-store",
		"X-Content-Type-Options": "nosniff",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := a.header.Get("Vary"); !strings.Contains(got, "User-Agent, X-Image-Client") {
		t.Errorf("Vary: %q", got)
	}
}

// The limit of a query is clamped to 1-100; the default is 20.
func TestHandler_LimitClamped(t *testing.T) {
	var asked feed.Query
	h := newHandler(t, graph.Config{Feed: pages{page: func(_ context.Context, q feed.Query) (feed.Page, error) {
		asked = q
		return feed.Page{}, nil
	}}, User: func(r *httpRequest) (string, error) { return r.Header.Get("X-User"), nil }})
	for _, c := range []struct {
		query     string
		variables string
		want      int
	}{
		{"{feed{cursor}}", "null", 20},
		{"{feed(limit:null){cursor}}", "null", 20},
		{"{feed(limit:7){cursor}}", "null", 7},
		{"{feed(limit:-1){cursor}}", "null", 1},
		{"{feed(limit:0){cursor}}", "null", 1},
		{"{feed(limit:101){cursor}}", "null", 100},
		{"query($l:Int){feed(limit:$l){cursor}}", `{"l":-5}`, 1},
		{"query($l:Int){feed(limit:$l){cursor}}", `{"l":4294967296}`, 100},
		{"query($l:Int){feed(limit:$l){cursor}}", `{"l":-9223372036854775808}`, 1},
		{"query($l:Int){feed(limit:$l){cursor}}", `{"l":1e30}`, 100},
		{"query($l:Int=9){feed(limit:$l){cursor}}", `{}`, 9},
		{"query($l:Int){feed(limit:$l){cursor}}", `{}`, 20},
	} {
		asked = feed.Query{}
		a := ask(t, h, fmt.Sprintf(`{"query":%q,"variables":%s}`, c.query, c.variables))
		if len(a.Errors) > 0 || asked.Limit != c.want {
			t.Errorf("%s %s: asked for %d, not %d: %s", c.query, c.variables, asked.Limit, c.want, a.body)
		}
	}
	for _, variables := range []string{`{"l":"20"}`, `{"l":1.5}`, `{"l":true}`, `{"l":[1]}`, `{"l":{}}`} {
		asked = feed.Query{}
		a := ask(t, h, fmt.Sprintf(`{"query":%q,"variables":%s}`, "query($l:Int){feed(limit:$l){cursor}}", variables))
		if a.codes() != "BAD_USER_INPUT" || asked.Limit != 0 {
			t.Errorf("%s: %s", variables, a.body)
		}
	}
}

func TestHandler_Anonymous(t *testing.T) {
	var asked []string
	h := newHandler(t, graph.Config{Feed: pages{page: func(_ context.Context, q feed.Query) (feed.Page, error) {
		asked = append(asked, q.User+" "+q.Cursor)
		return feed.Page{}, nil
	}}, User: func(r *httpRequest) (string, error) { return r.Header.Get("X-User"), nil }})
	ask(t, h, query(`{feed(cursor:""){cursor}}`, nil))
	ask(t, h, query(`query($c:String){feed(cursor:$c){cursor}}`, map[string]any{"c": "abc"}), "X-User: u7")
	if got := fmt.Sprintf("%q", asked); got != `["anonymous " "u7 abc"]` {
		t.Errorf("users and algorithms asked for: %s", got)
	}
}

// Empty strings become null, and counts are clamped to the range of an Int.
func TestHandler_EmptyStringsNull_CountsClamped(t *testing.T) {
	page := feed.Page{Items: []feed.Item{
		{Post: &feed.Post{ID: "a", Likes: math.MaxInt64, Comments: math.MinInt64}},
		{Post: &feed.Post{ID: "b"}, Author: &feed.Profile{ID: "u"}},
	}}
	a := ask(t, newHandler(t, graph.Config{Feed: always(page)}), query(wholeQuery, nil))
	want := `{"data":{"feed":{"posts":[` +
		`{"id":"a","userId":null,"caption":null,"imageUrl":null,"thumbnailUrl":null,"likeCount":2147483647,"commentCount":-2147483648,"viewCount":0,"createdAt":null,"isLiked":null,"placeholder":null,"width":null,"height":null,"color":null,"author":null},` +
		`{"id":"b","userId":null,"caption":null,"imageUrl":null,"thumbnailUrl":null,"likeCount":0,"commentCount":0,"viewCount":0,"createdAt":null,"isLiked":null,"placeholder":null,"width":null,"height":null,"color":null,"author":{"id":"u","username":null,"avatarUrl":null}}],` +
		`"cursor":null,"hasMore":false}}}`
	if a.body != want {
		t.Errorf("%s", a.body)
	}
}

// An empty feed is answered with an empty page.
func TestHandler_EmptyFeed(t *testing.T) {
	a := ask(t, newHandler(t, graph.Config{Feed: always(feed.Page{})}), query(k6Query, nil))
	if a.body != `{"data":{"feed":{"posts":[],"cursor":null,"hasMore":false}}}` {
		t.Errorf("%s", a.body)
	}
}

func post(image, thumbnail, avatar string, created time.Time) feed.Page {
	return feed.Page{
		Items: []feed.Item{
			{
				Post:   &feed.Post{ID: "p", ImageURL: image, ThumbnailURL: thumbnail, CreatedAt: created},
				Author: &feed.Profile{ID: "u", AvatarURL: avatar},
			},
		},
	}
}

const urlsQuery = `{feed{posts{imageUrl thumbnailUrl author{avatarUrl}}}}`

func urls(a answered) string {
	p := a.Data.Feed.Posts[0]
	text := func(s *string) string {
		if s == nil {
			return "null"
		}
		return *s
	}
	return text(p.ImageURL) + " " + text(p.ThumbnailURL) + " " + text(p.Author.AvatarURL)
}

// With a lifetime, only the URLs of public posts do not expire.
func TestHandler_SignedURLs_Visibility(t *testing.T) {
	const cdn = "https://cdn.app.example/"
	for public, want := range map[bool]bool{true: false, false: true} {
		page := post(cdn+"a.jpg", cdn+"b.jpg", cdn+"u.png", time.Time{})
		page.Items[0].Post.Public = public
		h := newHandler(t, graph.Config{
			Feed:   always(page),
			Linker: newLinkerOf(t, imagelink.Config{Lifetime: time.Hour}),
		})
		for _, u := range strings.Fields(urls(ask(t, h, query(urlsQuery, nil)))) {
			signature, _, _ := strings.Cut(strings.TrimPrefix(u, "https://img.example.com/i/"), "/")
			if expires := strings.Count(signature, ".") == 2; expires != want {
				t.Errorf("public %t: %s", public, u)
			}
		}
	}
}

// The crop of a post applies to its image, and neither to another thumbnail nor to the avatar.
func TestHandler_SignedURLs_Crop(t *testing.T) {
	const cdn = "https://cdn.app.example/"
	const whole, cropped = "/1320x/v.0/posts/a.jpg.webp", "/1320x-crop100x50x800x900/v.0/posts/a.jpg.webp"
	for _, c := range []struct{ crop, thumbnail, image, small string }{
		{"100x50x800x900", "", cropped, cropped},
		{"100x50x800x900", "b.jpg", cropped, "/1320x/v.0/posts/b.jpg.webp"},
		{"0x0x1000x1000", "", whole, whole},
		{"900x0x800x900", "", whole, whole},
	} {
		thumbnail := c.thumbnail
		if thumbnail != "" {
			thumbnail = cdn + thumbnail
		}
		page := post(cdn+"a.jpg", thumbnail, cdn+"u.png", time.Time{})
		page.Items[0].Post.Crop = c.crop
		h := newHandler(t, graph.Config{Feed: always(page)})
		got := strings.Fields(urls(ask(t, h, query(urlsQuery, nil))))
		if !strings.HasSuffix(got[0], c.image) || !strings.HasSuffix(got[1], c.small) ||
			strings.Contains(got[2], "crop") {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// thumbnailUrl is never "", and the size of images depends on the class of the client.
func TestHandler_SignedURLs(t *testing.T) {
	const cdn = "https://cdn.app.example/"
	h := newHandler(t, graph.Config{Feed: always(post(cdn+"a.jpg", "", cdn+"u.png", time.Time{}))})
	for _, c := range []struct{ query, header, image, avatar string }{
		{urlsQuery, "", "/1320x/v.0/posts/a.jpg.webp", "/96x96-cover/v.0/posts/u.png.webp"},
		{urlsQuery, "User-Agent: curl/8", "/880x/v.0/posts/a.jpg.jpg", "/64x64-cover/v.0/posts/u.png.jpg"},
		{urlsQuery, "X-Image-Client: jpg@2x", "/880x/v.0/posts/a.jpg.jpg", "/64x64-cover/v.0/posts/u.png.jpg"},
		{
			strings.Replace(urlsQuery, "feed", `feed(client:"webp@1x")`, 1), "X-Image-Client: jpg@2x",
			"/440x/v.0/posts/a.jpg.webp", "/32x32-cover/v.0/posts/u.png.webp",
		},
		{
			strings.Replace(urlsQuery, "feed", `feed(client:"")`, 1), "",
			"/1320x/v.0/posts/a.jpg.webp", "/96x96-cover/v.0/posts/u.png.webp",
		},
	} {
		headers := []string{}
		if c.header != "" {
			headers = append(headers, c.header)
		}
		got := strings.Fields(urls(ask(t, h, query(c.query, nil), headers...)))
		if !strings.HasPrefix(got[0], "https://img.example.com/i/k1.") || !strings.HasSuffix(got[0], c.image) ||
			got[1] != got[0] || !strings.HasSuffix(got[2], c.avatar) {
			t.Errorf("%s %s: %s", c.query, c.header, got)
		}
	}
	bmp := query(strings.Replace(urlsQuery, "feed", `feed(client:"bmp")`, 1), nil)
	if a := ask(t, h, bmp); a.codes() != "BAD_USER_INPUT" || a.Data.Feed != nil {
		t.Errorf("%s", a.body)
	}
	for _, c := range []struct{ page, want string }{
		{"https://else.example/a.jpg", "https://else.example/a.jpg https://else.example/a.jpg null"},
		{"", "null null null"},
	} {
		h := newHandler(t, graph.Config{Feed: always(post(c.page, "", "", time.Time{}))})
		if got := urls(ask(t, h, query(urlsQuery, nil))); got != c.want {
			t.Errorf("%q: %s", c.page, got)
		}
	}
	// A separate thumbnail, a thumbnail without an image, and a field without a profile.
	h = newHandler(t, graph.Config{
		Feed:   always(post(cdn+"a.jpg", cdn+"t.jpg", cdn+"u.png", time.Time{})),
		Fields: graph.Fields{ThumbnailURL: "grid"},
	})
	got := urls(ask(t, h, query(urlsQuery, nil)))
	if f := strings.Fields(got); f[0] != cdn+"a.jpg" ||
		!strings.HasSuffix(f[1], "/438x438-cover/v.0/posts/t.jpg.webp") ||
		f[2] != cdn+"u.png" {
		t.Errorf("%s", got)
	}
	h = newHandler(t, graph.Config{Feed: always(post("", cdn+"t.jpg", "", time.Time{}))})
	if got := strings.Fields(urls(ask(t, h, query(urlsQuery, nil)))); got[0] != "null" ||
		!strings.HasSuffix(got[1], "/posts/t.jpg.webp") {
		t.Errorf("%s", got)
	}
}

// A post created before a key's date is signed by the older key.
func TestHandler_KeyRotation_KeepsOldURLs(t *testing.T) {
	at := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	l := newLinker(t, imagelink.Key{Key: signingKey("k2", "2"), From: at}, imagelink.Key{Key: signingKey("k1", "1")})
	for created, want := range map[time.Time]string{at.Add(-time.Second): "k1", at: "k2", {}: "k2"} {
		got := urls(
			ask(
				t,
				newHandler(
					t,
					graph.Config{
						Linker: l,
						Feed: always(
							post("https://cdn.app.example/a.jpg", "", "https://cdn.app.example/u.jpg", created),
						),
					},
				),
				query(urlsQuery, nil),
			),
		)
		if strings.Count(got, "/i/"+want+".") != 3 {
			t.Errorf("created %s: %s", created, got)
		}
	}
}

// The tier is notified of exactly the URLs in the answer, in their order.
func TestHandler_HandedOut(t *testing.T) {
	var handedOut [][]string
	linker := newLinkerOf(t, imagelink.Config{HandedOut: func(paths []string) { handedOut = append(handedOut, paths) }})
	h := newHandler(t, graph.Config{Feed: always(twenty()), Linker: linker})
	a := ask(t, h, query(k6Query, nil))
	if len(handedOut) != 1 || len(handedOut[0]) != 40 {
		t.Fatalf("handed out %d pages: %v", len(handedOut), handedOut)
	}
	at := 0
	for i, path := range handedOut[0] {
		next := strings.Index(a.body[at:], `"https://img.example.com`+path+`"`)
		if next < 0 {
			t.Fatalf("path %d is not in the answer, or not in this order: %s", i, path)
		}
		at += next
	}
	handedOut = nil
	ask(t, h, query(`{feed{posts{id placeholder}}}`, nil))
	if handedOut != nil {
		t.Errorf("notified of %s after a response without URLs", handedOut)
	}
}

// Placeholders cost one call per page, and none if the query does not request them.
func TestHandler_Facts_OncePerPage(t *testing.T) {
	var calls []int
	h := newHandler(
		t,
		graph.Config{Feed: always(twenty()), Facts: func(_ context.Context, images []profile.Image) []graph.Facts {
			calls = append(calls, len(images))
			return make([]graph.Facts, len(images))
		}},
	)
	ask(t, h, query(k6Query, nil))
	if calls != nil {
		t.Errorf("%v calls for facts by a query without facts", calls)
	}
	a := ask(t, h, query(`{feed{posts{...f}}} fragment f on Post {color imageUrl}`, nil))
	if fmt.Sprint(calls) != "[20]" || a.Data.Feed.Posts[0].Color != nil {
		t.Errorf("calls for facts of %v images: %.200s", calls, a.body)
	}
}

// Only a failed feed call is fatal, and no text of a service is shown.
func TestHandler_ServiceErrors_HaveCodes(t *testing.T) {
	for _, c := range []struct {
		err        error
		code, text string
	}{
		{
			&feed.Fault{Service: feed.FeedService, Err: fmt.Errorf("%w: secret-text", feed.ErrTimeout)},
			"UPSTREAM_TIMEOUT", "The feed service did not answer in time.",
		},
		{
			&feed.Fault{Service: feed.FeedService, Err: fmt.Errorf("%w: secret-text", feed.ErrUnavailable)},
			"UPSTREAM_ERROR", "The feed service failed or is unreachable.",
		},
		{
			&feed.Fault{Service: feed.FeedService, Err: fmt.Errorf("%w: secret-text", feed.ErrInvalid)},
			"BAD_USER_INPUT", "The feed service rejected",
		},
		{errors.New("secret-text"), "UPSTREAM_ERROR", ""},
		{context.DeadlineExceeded, "UPSTREAM_TIMEOUT", ""},
	} {
		h := newHandler(
			t,
			graph.Config{
				Feed: pages{page: func(context.Context, feed.Query) (feed.Page, error) { return feed.Page{}, c.err }},
			},
		)
		a := ask(t, h, query(`{mine: feed{cursor}}`, nil))
		if a.status != 200 || a.codes() != c.code || !strings.Contains(a.body, `"data":{"mine":null}`) ||
			strings.Contains(a.body, "secret-text") ||
			!strings.HasPrefix(a.Errors[0].Message, c.text) ||
			fmt.Sprint(a.Errors[0].Path) != "[mine]" ||
			a.Errors[0].Extensions.Service != "feed" {
			t.Errorf("%v: %d %s", c.err, a.status, a.body)
		}
	}
	page := twenty()
	page.Items[3].Author = nil
	page.Faults = []*feed.Fault{
		{Service: feed.ContentService, Err: fmt.Errorf("%w: secret-text", feed.ErrTimeout)},
		{Service: feed.UserService, Err: feed.ErrUnavailable},
	}
	var seen graph.Observation
	h := newHandler(t, graph.Config{Feed: always(page), Observe: func(o graph.Observation) { seen = o }})
	a := ask(t, h, query(`{f: feed{all: posts{id author{id}}}}`, nil))
	if a.status != 200 || a.codes() != "UPSTREAM_TIMEOUT UPSTREAM_ERROR" || fmt.Sprint(a.Errors[1].Path) != "[f all]" ||
		strings.Contains(a.body, "secret-text") ||
		strings.Count(a.body, `"id":"post-`) != 20 ||
		strings.Count(a.body, `"author":null`) != 1 {
		t.Errorf("%d %.500s", a.status, a.body)
	}
	if fmt.Sprint(seen.Codes) != "[UPSTREAM_TIMEOUT UPSTREAM_ERROR]" || seen.Operation != graph.Queried ||
		seen.Status != 200 {
		t.Errorf("observed %+v", seen)
	}
}

func TestHandler_Panic(t *testing.T) {
	h := newHandler(t, graph.Config{Feed: pages{page: func(_ context.Context, q feed.Query) (feed.Page, error) {
		if q.Limit == 1 {
			panic("secret-text")
		}
		return feed.Page{}, nil
	}}})
	if a := ask(t, h, query(`{feed(limit:1){cursor}}`, nil)); a.status != 500 || a.codes() != "INTERNAL_SERVER_ERROR" ||
		strings.Contains(a.body, "secret-text") ||
		strings.Contains(a.body, "data") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := ask(t, h, query(`{a: feed(limit:1){cursor} b: feed{cursor}}`, nil)); a.status != 200 ||
		a.codes() != "INTERNAL_SERVER_ERROR" ||
		!strings.Contains(a.body, `"data":{"a":null,"b":{"cursor":null}}`) {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// A request ends with its timeout.
func TestHandler_Timeout(t *testing.T) {
	h := newHandler(
		t,
		graph.Config{
			Timeout: 20 * time.Millisecond,
			Feed: pages{page: func(ctx context.Context, _ feed.Query) (feed.Page, error) {
				<-ctx.Done()
				return feed.Page{}, ctx.Err()
			}},
		},
	)
	if a := ask(t, h, query(`{feed{cursor}}`, nil)); a.codes() != "UPSTREAM_TIMEOUT" ||
		!strings.Contains(a.body, `"data":{"feed":null}`) {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// Likes are sent to the service in batches.
func TestHandler_Likes(t *testing.T) {
	var batches []feed.Likes
	var fails error
	h := newHandler(t, graph.Config{
		Feed: pages{like: func(_ context.Context, l feed.Likes) error { batches = append(batches, l); return fails }},
		User: func(r *httpRequest) (string, error) { return r.Header.Get("X-User"), nil },
	})
	const like = `mutation($ids:[String!]!){batchLike(postIds:$ids){success}}`
	ids := func(n int) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprint("p", i))
		}
		return all
	}
	a := ask(t, h, query(like, map[string]any{"ids": []string{"b", "a", "b"}}), "X-User: u1")
	if a.body != `{"data":{"batchLike":{"success":true}}}` || len(batches) != 1 || batches[0].User != "u1" ||
		!batches[0].Like ||
		fmt.Sprint(batches[0].Posts) != "[b a]" ||
		batches[0].Key == "" {
		t.Errorf("%s %+v", a.body, batches)
	}
	a = ask(
		t,
		h,
		query(`mutation{batchUnlike(postIds:["a"]){success} again: batchLike(postIds:"c"){success}}`, nil),
		"X-User: u1",
	)
	if a.body != `{"data":{"batchUnlike":{"success":true},"again":{"success":true}}}` || len(batches) != 3 ||
		batches[1].Like ||
		fmt.Sprint(batches[2].Posts) != "[c]" ||
		batches[1].Key == batches[0].Key {
		t.Errorf("%s %+v", a.body, batches)
	}
	batches = nil
	for _, c := range []struct {
		ids  any
		user string
		code string
	}{
		{[]string{"a"}, "", "UNAUTHENTICATED"},
		{[]string{}, "u1", "BAD_USER_INPUT"},
		{ids(101), "u1", "BAD_USER_INPUT"},
		{[]string{""}, "u1", "BAD_USER_INPUT"},
		{[]string{strings.Repeat("a", 257)}, "u1", "BAD_USER_INPUT"},
		{nil, "u1", "BAD_USER_INPUT"},
		{[]any{"a", nil}, "u1", "BAD_USER_INPUT"},
		{[]any{7}, "u1", "BAD_USER_INPUT"},
		{map[string]any{}, "u1", "BAD_USER_INPUT"},
	} {
		a := ask(t, h, query(like, map[string]any{"ids": c.ids}), "X-User: "+c.user)
		if a.codes() != c.code || len(batches) > 0 || a.Data.BatchLike != nil {
			t.Errorf("%v: %s", c.ids, a.body)
		}
	}
	if a := ask(t, h, query(like, map[string]any{"ids": append(ids(100), "p0")}), "X-User: u1"); len(a.Errors) > 0 ||
		len(batches) != 1 ||
		len(batches[0].Posts) != 100 {
		t.Errorf("100 ids: %s", a.body)
	}
	// A client marks a repeated batch by an idempotency key. Equal keys of two users are different.
	batches = nil
	for _, user := range []string{"u1", "u1", "u2"} {
		ask(t, h, query(like, map[string]any{"ids": ids(1)}), "X-User: "+user, "Idempotency-Key: 1234")
	}
	if batches[0].Key != batches[1].Key || batches[0].Key == batches[2].Key {
		t.Errorf("%+v", batches)
	}
	fails = &feed.Fault{Service: feed.ContentService, Err: feed.ErrTimeout}
	if a := ask(t, h, query(like, map[string]any{"ids": ids(1)}), "X-User: u1"); a.codes() != "UPSTREAM_TIMEOUT" ||
		a.Errors[0].Extensions.Service != "content" ||
		!strings.Contains(a.body, `"data":{"batchLike":null}`) {
		t.Errorf("%s", a.body)
	}
}
