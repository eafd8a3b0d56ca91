package graph_test

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	graphql "github.com/graph-gophers/graphql-go"

	"github.com/novasocial/imagetier/gateway/feed"
	"github.com/novasocial/imagetier/gateway/graph"
)

// The oracle is graph-gophers/graphql-go, a general executor, with the same schema.

type (
	oracleRoot struct{ page feed.Page }
	oracleFeed struct {
		Posts   []*oraclePost
		Cursor  *string
		HasMore bool
	}
	oraclePost struct {
		ID                                                  graphql.ID
		UserID                                              *graphql.ID
		Caption, ImageURL, ThumbnailURL, Placeholder, Color *string
		LikeCount, CommentCount, ViewCount                  int32
		Width, Height                                       *int32
		CreatedAt                                           *oracleTime
		IsLiked                                             *bool
		Author                                              *oracleUser
	}
	oracleUser struct {
		ID                  graphql.ID
		Username, AvatarURL *string
	}
	oracleTime  int64
	oracleBatch struct{ Success bool }
	oracleArgs  struct {
		Limit          *int32
		Cursor, Client *string
	}
)

func (oracleTime) ImplementsGraphQLType(name string) bool { return name == "Timestamp" }
func (*oracleTime) UnmarshalGraphQL(any) error            { return nil }

func (*oracleRoot) BatchLike(struct{ PostIDs []string }) *oracleBatch   { return &oracleBatch{true} }
func (*oracleRoot) BatchUnlike(struct{ PostIDs []string }) *oracleBatch { return &oracleBatch{true} }

func (r *oracleRoot) Feed(oracleArgs) *oracleFeed {
	orNull := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	f := &oracleFeed{Posts: []*oraclePost{}, Cursor: orNull(r.page.NextCursor), HasMore: r.page.HasMore}
	for _, item := range r.page.Items {
		p := &oraclePost{
			ID:           graphql.ID(item.Post.ID),
			Caption:      orNull(item.Post.Caption),
			ImageURL:     orNull(item.Post.ImageURL),
			ThumbnailURL: orNull(item.Post.ImageURL),
			LikeCount:    int32(item.Post.Likes),
			CommentCount: int32(item.Post.Comments),
		}
		user, at := graphql.ID(item.Post.UserID), oracleTime(item.Post.CreatedAt.Unix())
		p.UserID, p.CreatedAt = &user, &at
		if a := item.Author; a != nil {
			p.Author = &oracleUser{graphql.ID(a.ID), orNull(a.Username), orNull(a.AvatarURL)}
		}
		f.Posts = append(f.Posts, p)
	}
	return f
}

func oracle(t testing.TB, page feed.Page) *graphql.Schema {
	t.Helper()
	text, err := os.ReadFile("schema.graphql")
	if err != nil {
		t.Fatal(err)
	}
	schema, err := graphql.ParseSchema(
		string(text),
		&oracleRoot{page},
		graphql.UseStringDescriptions(),
		graphql.UseFieldResolvers(),
		graphql.MaxDepth(6),
	)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// queries generates valid queries.
type queries struct{ *rand.Rand }

var oracleFields = map[string][]string{
	"Query": {"feed"},
	"Feed":  {"posts", "cursor", "hasMore"},
	"Post": {
		"id",
		"userId",
		"caption",
		"imageUrl",
		"thumbnailUrl",
		"likeCount",
		"commentCount",
		"viewCount",
		"createdAt",
		"isLiked",
		"placeholder",
		"width",
		"height",
		"color",
		"author",
	},
	"User": {"id", "username", "avatarUrl"},
}

var oracleObjects = map[string]string{"feed": "Feed", "posts": "Post", "author": "User"}

// set writes a selection set. A response name always stands for the same field.
func (q queries) set(of string, fragments int) string {
	var b strings.Builder
	b.WriteString("{")
	for range 1 + q.IntN(4) {
		switch n := q.IntN(10); {
		case n < 7:
			name := oracleFields[of][q.IntN(len(oracleFields[of]))]
			if q.IntN(4) == 0 {
				b.WriteString("a" + name + ":")
			}
			b.WriteString(name + q.directive())
			if object := oracleObjects[name]; object != "" {
				b.WriteString(q.set(object, fragments))
			}
		case n == 7:
			b.WriteString("__typename" + q.directive())
		case fragments == 0:
			b.WriteString("__typename")
		case n == 8:
			b.WriteString("..." + []string{"", " on " + of}[q.IntN(2)] + q.directive() + q.set(of, fragments-1))
		default:
			b.WriteString("...F" + of + q.directive())
		}
		b.WriteString(" ")
	}
	return b.String() + "}"
}

func (q queries) directive() string {
	return []string{"", "", "", "", " @include(if:$yes)", " @include(if:$no)",
		" @skip(if:$yes)", " @skip(if:false)", " @skip(if:$no) @include(if:true)"}[q.IntN(9)]
}

func (q queries) query() string {
	text := "query($yes:Boolean!,$no:Boolean!) " + q.set("Query", 2) +
		" query used($yes:Boolean!,$no:Boolean!){...FQuery @skip(if:$yes) @include(if:$no) feed{...FFeed posts{...FPost author{...FUser}}}}"
	text = strings.Replace(text, "query(", "query asked(", 1)
	for _, of := range []string{"Query", "Feed", "Post", "User"} {
		text += " fragment F" + of + " on " + of + q.set(of, 0)
	}
	return text
}

func TestHandler_MatchesGraphqlGo(t *testing.T) {
	page := twenty()
	page.Items = page.Items[:3]
	page.Items[1].Author = nil
	for i := range page.Items { // the oracle signs nothing
		page.Items[i].Post.ImageURL = "https://else.example/" + page.Items[i].Post.ID
		if a := page.Items[i].Author; a != nil {
			a.AvatarURL = ""
		}
	}
	want, h := oracle(t, page), newHandler(t, graph.Config{Feed: always(page)})
	q := queries{rand.New(rand.NewPCG(1, 2))}
	compared := 0
	for range 800 {
		text := q.query()
		// Each variable must be used; $no may be unused in the operation.
		vars := map[string]any{"yes": q.IntN(2) == 0, "no": q.IntN(2) == 0}
		expected := want.Exec(context.Background(), text, "asked", vars)
		if len(expected.Errors) > 0 {
			continue // usually because of an unused variable
		}
		body := strings.Replace(query(text, vars), `"query"`, `"operationName":"asked","query"`, 1)
		got := ask(t, h, body)
		if got.codes() == "BAD_USER_INPUT" {
			continue // over a bound
		}
		compared++
		if got.body != `{"data":`+string(expected.Data)+`}` {
			t.Fatalf("%s %v:\n got %s\nwant %s", text, vars, got.body, expected.Data)
		}
	}
	if compared < 100 {
		t.Errorf("only %d queries were compared", compared)
	}
}

// discarding is a client that reads nothing, so that only the handler is measured.
type discarding struct{ h http.Header }

func (d discarding) Header() http.Header         { return d.h }
func (d discarding) Write(b []byte) (int, error) { return len(b), nil }
func (d discarding) WriteHeader(int)             {}

// BenchmarkFeed executes the query of the load test for a page of 20 posts, including parsing and
// signing 40 URLs, but without feed and network. For comparison, a general executor runs the same
// query without signing.
func BenchmarkFeed(b *testing.B) {
	vars := map[string]any{"limit": 20, "cursor": nil}
	b.Run("here", func(b *testing.B) {
		h := newHandler(b, graph.Config{Feed: always(twenty())})
		body := query(k6Query, vars)
		reader := strings.NewReader(body)
		r := httptest.NewRequest(http.MethodPost, "/graphql", reader)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("User-Agent", iPhone)
		b.ReportAllocs()
		for b.Loop() {
			reader.Reset(body)
			r.Body = io.NopCloser(reader)
			h.ServeHTTP(discarding{http.Header{}}, r)
		}
	})
	b.Run("graph-gophers", func(b *testing.B) {
		schema := oracle(b, twenty())
		vars := map[string]any{"limit": int32(20), "cursor": nil}
		b.ReportAllocs()
		for b.Loop() {
			if r := schema.Exec(context.Background(), k6Query, "", vars); len(r.Errors) > 0 {
				b.Fatal(r.Errors)
			}
		}
	})
}
