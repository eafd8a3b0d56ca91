package proxy_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	graphql "github.com/graph-gophers/graphql-go"
	"github.com/graph-gophers/graphql-go/relay"

	"github.com/novasocial/imagetier/imagecache/imageurl"
)

// A service without a gateway: plain URLs, and thumbnails that are empty or null.
const schema = `
	type Query { feed(limit: Int, cursor: String): Feed! }
	type Feed { posts: [Post!]!, cursor: String, hasMore: Boolean! }
	type Post { id: ID!, caption: String, imageUrl: String, thumbnailUrl: String, gallery: [Post!]!, ` +
	`likeCount: Int!, commentCount: Int!, author: User! }
	type User { id: ID!, username: String!, avatarUrl: String }
`

type query struct{}

func (*query) Feed(args struct {
	Limit  *int32
	Cursor *string
}) feed {
	n := int32(20)
	if args.Limit != nil {
		n = *args.Limit
	}
	f := feed{HasMore: true}
	for i := range n {
		f.Posts = append(f.Posts, post{int(i)})
	}
	return f
}

type feed struct {
	Posts   []post
	Cursor  *string
	HasMore bool
}

type post struct{ n int }

func (p post) ID() graphql.ID   { return graphql.ID(fmt.Sprint("p", p.n)) }
func (p post) Caption() *string { s := "„Sonne“ & <b>\u2028 \\ \"😀\""; return &s }
func (p post) ImageURL() *string {
	s := fmt.Sprintf("https://cdn.app.example/2026/11/%d.jpg", p.n)
	return &s
}
func (p post) Gallery() []post     { return []post{{p.n + 100}} }
func (p post) LikeCount() int32    { return 1 << 30 }
func (p post) CommentCount() int32 { return 0 }
func (p post) Author() user        { return user{p.n % 3} }
func (p post) ThumbnailURL() *string {
	if s := ""; p.n%2 == 0 {
		return &s
	}
	return nil
}

type user struct{ n int }

func (u user) ID() graphql.ID   { return graphql.ID(fmt.Sprint("u", u.n)) }
func (u user) Username() string { return "imageUrl" }
func (u user) AvatarURL() *string {
	s := fmt.Sprintf("https://avatars.example/u%d.jpg?v=7&x=%%20", u.n)
	return &s
}

// The k6 script's query, unchanged, through the proxy to an unmodified service.
func TestProxy_GraphQLService(t *testing.T) {
	service := &relay.Handler{Schema: graphql.MustParseSchema(schema, &query{}, graphql.UseFieldResolvers())}
	mux := http.NewServeMux()
	mux.Handle("POST /graphql", service)
	s := stand(t, mux.ServeHTTP, nil)
	keys, _ := imageurl.ParseKeys(keyText)
	tier, err := imageurl.NewSigner(keys...)
	if err != nil {
		t.Fatal(err)
	}
	const k6 = `query GetFeed($limit: Int, $cursor: String) { feed(limit: $limit, cursor: $cursor) { posts { id caption imageUrl thumbnailUrl likeCount commentCount author { id username avatarUrl } } cursor hasMore } }`
	const aliases = `query GetFeed($limit: Int) { feed(limit: $limit) { posts { ...P gallery { ...P } } cursor hasMore } } fragment P on Post { id caption pic: imageUrl thumb: thumbnailUrl likeCount commentCount author { id username face: avatarUrl } }`
	for name, c := range map[string]struct {
		query, image, thumbnail, avatar string
		galleries                       bool
	}{
		"the k6 script's":           {k6, "imageUrl", "thumbnailUrl", "avatarUrl", false},
		"with aliases in fragments": {aliases, "pic", "thumb", "face", true},
	} {
		t.Run(name, func(t *testing.T) {
			body, _ := json.Marshal(map[string]any{
				"query": c.query, "variables": map[string]any{"limit": 20, "cursor": nil},
			})
			resp := s.do("POST", "/graphql", string(body),
				"Content-Type: application/json", "Authorization: Bearer test-token", "User-Agent: "+iPhone)
			var answer struct {
				Errors []any
				Data   struct {
					Feed struct{ Posts []map[string]any }
				}
			}
			if err := json.Unmarshal([]byte(text(t, resp)), &answer); err != nil || answer.Errors != nil ||
				len(answer.Data.Feed.Posts) != 20 {
				t.Fatalf("%v, %v, %d posts", err, answer.Errors, len(answer.Data.Feed.Posts))
			}
			verify := func(value any, want string) {
				t.Helper()
				url, _ := value.(string)
				ref, err := tier.Parse(strings.TrimPrefix(url, "https://img.example.com"))
				if err != nil || ref.String() != want {
					t.Errorf("%v: %v, not %s", value, err, want)
				}
			}
			for i, p := range answer.Data.Feed.Posts {
				all := []map[string]any{p}
				numbers := []int{i}
				if c.galleries {
					all = append(all, p["gallery"].([]any)[0].(map[string]any))
					numbers = append(numbers, i+100)
				}
				for at, p := range all {
					n := numbers[at]
					verify(p[c.image], fmt.Sprintf("/1320x/v.0/posts/2026/11/%d.jpg.webp", n))
					verify(p[c.thumbnail], fmt.Sprintf("/1320x/v.0/posts/2026/11/%d.jpg.webp", n))
					author := p["author"].(map[string]any)
					verify(author[c.avatar], fmt.Sprintf("/96x96-cover/v.7/avatars/u%d.jpg.webp", n%3))
					if p["caption"] != *(post{}).Caption() || author["username"] != "imageUrl" ||
						p["likeCount"] != float64(1<<30) {
						t.Errorf("post %d is changed elsewhere: %v", n, p)
					}
				}
			}
		})
	}
}
