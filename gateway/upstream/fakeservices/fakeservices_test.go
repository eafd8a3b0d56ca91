package fakeservices_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/novasocial/imagetier/gateway/proto/contentpb"
	"github.com/novasocial/imagetier/gateway/proto/feedpb"
	"github.com/novasocial/imagetier/gateway/proto/userpb"
	"github.com/novasocial/imagetier/gateway/upstream/fakeservices"
)

type clients struct {
	feedpb.RecommendationServiceClient
	contentpb.ContentServiceClient
	userpb.UserServiceClient
}

func start(t *testing.T, cfg fakeservices.Config) (*fakeservices.Server, clients) {
	t.Helper()
	s, err := fakeservices.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	conn := map[fakeservices.Service]*grpc.ClientConn{}
	for _, name := range fakeservices.Services {
		c, err := grpc.NewClient(s.Addr(name), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		conn[name] = c
	}
	return s, clients{
		feedpb.NewRecommendationServiceClient(conn[fakeservices.Feed]),
		contentpb.NewContentServiceClient(conn[fakeservices.Content]),
		userpb.NewUserServiceClient(conn[fakeservices.User]),
	}
}

// walk reads a user's whole feed.
func walk(t *testing.T, c clients, user string, limit uint32) (ids []string, pages int) {
	t.Helper()
	for cursor := ""; ; {
		page, err := c.GetFeed(t.Context(), &feedpb.GetFeedRequest{UserId: user, Limit: limit, Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		pages++
		for _, p := range page.Posts {
			ids = append(ids, p.Id)
		}
		if cursor = page.NextCursor; page.HasMore != (cursor != "") {
			t.Fatalf("has_more is %v with the cursor %q", page.HasMore, cursor)
		}
		if cursor == "" {
			return ids, pages
		}
	}
}

func TestServer_Feed_Deterministic(t *testing.T) {
	cfg := fakeservices.Config{Data: fakeservices.Data{Posts: 300, FeedLength: 250}}
	_, one := start(t, cfg)
	_, other := start(t, cfg)
	ids, pages := walk(t, one, "u", 20)
	if again, _ := walk(t, other, "u", 7); !slices.Equal(ids, again) {
		t.Error("another process, or another limit, gives another feed")
	}
	if distinct := slices.Compact(slices.Sorted(slices.Values(ids))); len(ids) != 250 ||
		len(distinct) != 250 || pages != 13 {
		t.Errorf("%d posts, %d of them distinct, on %d pages: want 250 on 13", len(ids), len(distinct), pages)
	}
	if other, _ := walk(t, one, "v", 20); slices.Equal(ids, other) {
		t.Error("two users have the same feed")
	}
}

func TestServer_Feed_Zipf(t *testing.T) {
	_, c := start(t, fakeservices.Config{})
	in := map[string]int{}
	for user := range 50 {
		page, err := c.GetFeed(t.Context(), &feedpb.GetFeedRequest{UserId: string(rune('A' + user)), Limit: 20})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range page.Posts {
			in[p.Id]++
		}
	}
	if in["p000000"] < 25 || len(in) < 200 {
		t.Errorf("the first post is on %d of 50 pages, which have %d posts: want most, and hundreds",
			in["p000000"], len(in))
	}
	ids := make([]string, 200)
	for i := range ids {
		ids[i] = "p0000" + string([]byte{'0' + byte(i/10%10), '0' + byte(i%10)})
	}
	posts, err := c.GetPostsByIds(t.Context(), &contentpb.GetPostsByIdsRequest{PostIds: ids[:100]})
	if err != nil {
		t.Fatal(err)
	}
	authors := map[string]bool{}
	for _, p := range posts.Posts {
		authors[p.UserId] = true
	}
	if len(authors) < 40 || len(authors) > 95 {
		t.Errorf("100 posts have %d authors", len(authors))
	}
}

func TestServer_ImageNames(t *testing.T) {
	_, c := start(t, fakeservices.Config{Data: fakeservices.Data{
		Prefix: "https://here/", Images: []string{"a.jpg", "b.jpg"}, Avatars: []string{"me.jpg"},
	}})
	posts, err := c.GetPostsByIds(t.Context(), &contentpb.GetPostsByIdsRequest{PostIds: []string{"p000002", "p000005"}})
	if err != nil || posts.Posts[0].ImageUrl != "https://here/a.jpg" ||
		posts.Posts[1].ImageUrl != "https://here/b.jpg" {
		t.Error(posts, err)
	}
	users, err := c.GetUserProfilesByIds(t.Context(), &userpb.GetUserProfilesByIdsRequest{UserIds: []string{"u00001"}})
	if err != nil || users.Profiles[0].AvatarUrl != "https://here/me.jpg" {
		t.Error(users, err)
	}
}

func TestServer_InvalidRequests(t *testing.T) {
	_, c := start(t, fakeservices.Config{Data: fakeservices.Data{EmptyFeeds: []string{"new"}, UnknownEvery: 2}})
	ctx := t.Context()
	if ids, _ := walk(t, c, "new", 20); len(ids) != 0 {
		t.Error("an empty feed has ", ids)
	}
	posts, err := c.GetPostsByIds(ctx, &contentpb.GetPostsByIdsRequest{
		PostIds: []string{"p000000", "p000001", "p000002", "p2", "p999999"},
	})
	if err != nil || len(posts.Posts) != 2 {
		t.Error("request with two known posts: ", posts, err)
	}
	hundredAndOne := make([]string, 101)
	for i := range hundredAndOne {
		hundredAndOne[i] = "x" + string(rune('A'+i))
	}
	for name, err := range map[string]error{
		"limit 0":       second(c.GetFeed(ctx, &feedpb.GetFeedRequest{UserId: "u"})),
		"limit 101":     second(c.GetFeed(ctx, &feedpb.GetFeedRequest{UserId: "u", Limit: 101})),
		"cursor":        second(c.GetFeed(ctx, &feedpb.GetFeedRequest{UserId: "u", Limit: 1, Cursor: "after:x"})),
		"cursor beyond": second(c.GetFeed(ctx, &feedpb.GetFeedRequest{UserId: "u", Limit: 1, Cursor: "after:201"})),
		"no posts":      second(c.GetPostsByIds(ctx, &contentpb.GetPostsByIdsRequest{})),
		"twice": second(c.GetUserProfilesByIds(ctx, &userpb.GetUserProfilesByIdsRequest{
			UserIds: []string{"u1", "u1"},
		})),
		"likes": second(c.BatchLike(ctx, &contentpb.BatchLikeRequest{
			UserId: "u", IdempotencyKey: "k", PostIds: hundredAndOne,
		})),
		"no key": second(c.BatchLike(ctx, &contentpb.BatchLikeRequest{
			UserId: "u", PostIds: []string{"p000000"},
		})),
	} {
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v, want InvalidArgument", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestServer_Like_Idempotent(t *testing.T) {
	_, c := start(t, fakeservices.Config{})
	likes := func() int64 {
		posts, err := c.GetPostsByIds(t.Context(), &contentpb.GetPostsByIdsRequest{PostIds: []string{"p000001"}})
		if err != nil {
			t.Fatal(err)
		}
		return posts.Posts[0].LikeCount
	}
	began := likes()
	for _, step := range []struct {
		name, user, key string
		like            bool
		want            int64
	}{
		{"a like", "u", "1", true, 1},
		{"the same batch", "u", "1", true, 1},
		{"a like of a liked post", "u", "2", true, 1},
		{"another user's", "v", "3", true, 2},
		{"taken back", "u", "4", false, 1},
		{"the first batch again, late", "u", "1", true, 1},
		{"taken back again", "u", "5", false, 1},
	} {
		answer, err := c.BatchLike(t.Context(), &contentpb.BatchLikeRequest{
			UserId: step.user, PostIds: []string{"p000001"}, Like: step.like, IdempotencyKey: step.key,
		})
		if err != nil || !answer.Success {
			t.Fatal(step.name, answer, err)
		}
		if n := likes() - began; n != step.want {
			t.Errorf("%s: %d likes more, want %d", step.name, n, step.want)
		}
	}
}

func TestServer_Behave(t *testing.T) {
	s, c := start(t, fakeservices.Config{
		ConnectLatency: 80 * time.Millisecond,
		Behaviour: map[fakeservices.Service]fakeservices.Behaviour{
			fakeservices.Feed: {ErrorRate: 0.375, Latency: 20 * time.Millisecond},
		},
	})
	began := time.Now()
	var failed []int
	for i := range 12 {
		_, err := c.GetFeed(t.Context(), &feedpb.GetFeedRequest{UserId: "u", Limit: 1})
		if status.Code(err) == codes.Unavailable {
			failed = append(failed, i)
		} else if err != nil {
			t.Error(err)
		}
	}
	if want := []int{2, 5, 7, 10}; !slices.Equal(failed, want) {
		t.Errorf("calls %v failed, want %v", failed, want)
	}
	if took := time.Since(began); took < 320*time.Millisecond {
		t.Errorf("a connection and 12 calls took %v, want at least 320ms", took)
	}
	s.Behave(fakeservices.Feed, fakeservices.Behaviour{Hang: true})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := c.GetFeed(ctx, &feedpb.GetFeedRequest{UserId: "u", Limit: 1})
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("%v, want no answer", err)
	}
}

func TestServer_ConnectLatency(t *testing.T) {
	s, _ := start(t, fakeservices.Config{ConnectLatency: 80 * time.Millisecond})
	began := time.Now()
	c, err := net.Dial("tcp", s.Addr(fakeservices.User))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Read(make([]byte, 1)); err != nil { // the server speaks first: its settings
		t.Fatal(err)
	}
	if took := time.Since(began); took < 80*time.Millisecond {
		t.Errorf("a byte came after %v", took)
	}
}

func TestServer_Handler_Connections(t *testing.T) {
	s, c := start(t, fakeservices.Config{})
	web := httptest.NewServer(s.Handler())
	defer web.Close()
	for range 3 {
		if _, err := c.GetFeed(t.Context(), &feedpb.GetFeedRequest{UserId: "u", Limit: 1}); err != nil {
			t.Fatal(err)
		}
	}
	counts := func(answer *http.Response, err error) fakeservices.Counts {
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		var all map[fakeservices.Service]fakeservices.Counts
		if err := json.NewDecoder(answer.Body).Decode(&all); err != nil {
			t.Fatal(err)
		}
		return all[fakeservices.Feed]
	}
	want := fakeservices.Counts{Accepted: 1, Open: 1, Calls: 3}
	if n := counts(web.Client().Get(web.URL + "/connections")); n != want {
		t.Errorf("%+v, want %+v", n, want)
	}
	counts(web.Client().Post(web.URL+"/connections/reset", "", nil))
	if n, want := counts(web.Client().Get(web.URL+"/connections")), (fakeservices.Counts{Open: 1}); n != want {
		t.Errorf("after the reset %+v, want %+v", n, want)
	}
}

// The baseline dials for each call, one after another.
func TestBefore_DialsPerCall(t *testing.T) {
	s, c := start(t, fakeservices.Config{Data: fakeservices.Data{UnknownEvery: 10}})
	addrs := map[fakeservices.Service]string{}
	for _, name := range fakeservices.Services {
		addrs[name] = s.Addr(name)
	}
	web := httptest.NewServer(fakeservices.Before(addrs))
	defer web.Close()
	ask := func(body string) (page struct {
		Data struct {
			Feed struct {
				Posts []struct {
					ID, Caption, ImageURL string
					Author                struct{ ID, Username string }
				}
				Cursor  *string
				HasMore bool
			}
		}
	}) {
		r, err := http.NewRequestWithContext(t.Context(), "POST", web.URL+"/graphql", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer someone")
		answer, err := web.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if err := json.NewDecoder(answer.Body).Decode(&page); err != nil || answer.StatusCode != 200 {
			t.Fatal(answer.Status, err)
		}
		return page
	}
	const queries = 4
	for range queries - 1 {
		ask(`{"query":"query GetFeed($limit: Int, $cursor: String) {…}","variables":{"limit":20,"cursor":null}}`)
	}
	page := ask(`{"variables":{"limit":20,"cursor":"after:20"}}`).Data.Feed
	for name, n := range s.Counts() {
		if n.Accepted != queries || n.Calls != queries {
			t.Errorf("%s: %+v, want %d connections for as many calls", name, n, queries)
		}
	}
	for deadline := time.After(30 * time.Second); open(s) > 0; {
		select {
		case <-deadline:
			t.Fatalf("connections stay open: %+v", s.Counts())
		case <-time.After(5 * time.Millisecond):
		}
	}
	if page.Cursor == nil || *page.Cursor != "after:40" || !page.HasMore || len(page.Posts) == 0 {
		t.Errorf("%+v", page)
	}
	ids, err := c.GetFeed(t.Context(), &feedpb.GetFeedRequest{UserId: "someone", Limit: 20, Cursor: "after:20"})
	if err != nil {
		t.Fatal(err)
	}
	var known []string
	for _, p := range ids.Posts {
		if !strings.HasSuffix(p.Id, "9") {
			known = append(known, p.Id)
		}
	}
	for i, p := range page.Posts {
		if i >= len(known) || p.ID != known[i] || p.ImageURL == "" || p.Author.ID == "" || p.Author.Username == "" {
			t.Errorf("post %d is %+v", i, p)
		}
	}
	if len(page.Posts) != len(known) {
		t.Errorf("%d posts, want %d", len(page.Posts), len(known))
	}
}

func open(s *fakeservices.Server) (all int64) {
	for _, n := range s.Counts() {
		all += n.Open
	}
	return all
}

func TestServer_ThreeProcesses(t *testing.T) {
	both, _ := start(t, fakeservices.Config{})
	alone, err := fakeservices.Start(fakeservices.Config{
		Listen: map[fakeservices.Service]string{fakeservices.Content: "127.0.0.1:0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	if alone.Addr(fakeservices.Feed) != "" || len(alone.Counts()) != 1 {
		t.Error("a service runs that Listen does not have")
	}
	var answers []*contentpb.GetPostsByIdsResponse
	for _, s := range []*fakeservices.Server{both, alone} {
		c, err := grpc.NewClient(s.Addr(fakeservices.Content), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ids := &contentpb.GetPostsByIdsRequest{PostIds: []string{"p000007", "p001999"}}
		answer, err := contentpb.NewContentServiceClient(c).GetPostsByIds(t.Context(), ids)
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, answer)
	}
	if !proto.Equal(answers[0], answers[1]) || len(answers[0].Posts) != 2 {
		t.Error(answers)
	}
}
