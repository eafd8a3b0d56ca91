package fakeservices

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/novasocial/imagetier/gateway/proto/contentpb"
	"github.com/novasocial/imagetier/gateway/proto/feedpb"
	"github.com/novasocial/imagetier/gateway/proto/userpb"
)

// Before returns a naive gateway, as a baseline for benchmarks: it opens a connection for each call,
// makes one call after another, caches nothing and does not sign URLs.
//
// It answers every POST /graphql with the answer to the query of the load tests. limit and cursor
// are read from the variables, and the user is the bearer token ("anonymous" without one). addrs
// are the addresses of the services.
func Before(addrs map[Service]string) http.Handler {
	b := before{addrs: addrs}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /graphql", b.answer)
	return mux
}

type before struct{ addrs map[Service]string }

type beforePost struct {
	ID           string        `json:"id"`
	Caption      *string       `json:"caption"`
	ImageURL     *string       `json:"imageUrl"`
	ThumbnailURL *string       `json:"thumbnailUrl"`
	LikeCount    int64         `json:"likeCount"`
	CommentCount int64         `json:"commentCount"`
	Author       *beforeAuthor `json:"author"`
}

type beforeAuthor struct {
	ID        string  `json:"id"`
	Username  string  `json:"username"`
	AvatarURL *string `json:"avatarUrl"`
}

type beforePage struct {
	Posts   []beforePost `json:"posts"`
	Cursor  *string      `json:"cursor"`
	HasMore bool         `json:"hasMore"`
}

func (b before) answer(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Variables struct {
			Limit  uint32  `json:"limit"`
			Cursor *string `json:"cursor"`
		} `json:"variables"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&asked); err != nil {
		http.Error(w, "the body is no GraphQL request: "+err.Error(), http.StatusBadRequest)
		return
	}
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	req := &feedpb.GetFeedRequest{
		UserId: cmp.Or(token, "anonymous"), Limit: cmp.Or(asked.Variables.Limit, 20), Algorithm: "ch",
	}
	if asked.Variables.Cursor != nil {
		req.Cursor = *asked.Variables.Cursor
	}
	var answer struct {
		Data   map[string]*beforePage `json:"data"`
		Errors []map[string]string    `json:"errors,omitempty"`
	}
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	page, err := b.page(ctx, req)
	if err != nil {
		answer.Errors = []map[string]string{{"message": err.Error()}}
	} else {
		answer.Data = map[string]*beforePage{"feed": page}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // the client is gone
}

func (b before) page(ctx context.Context, req *feedpb.GetFeedRequest) (*beforePage, error) {
	feed, err := dialed(ctx, b.addrs[Feed], func(c grpc.ClientConnInterface) (*feedpb.GetFeedResponse, error) {
		return feedpb.NewRecommendationServiceClient(c).GetFeed(ctx, req)
	})
	if err != nil {
		return nil, fmt.Errorf("feed: %w", err)
	}
	page := &beforePage{Posts: []beforePost{}, Cursor: orNull(feed.GetNextCursor()), HasMore: feed.GetHasMore()}
	if len(feed.GetPosts()) == 0 {
		return page, nil
	}
	ids := &contentpb.GetPostsByIdsRequest{}
	for _, p := range feed.GetPosts() {
		ids.PostIds = append(ids.PostIds, p.GetId())
	}
	content, err := dialed(ctx, b.addrs[Content],
		func(c grpc.ClientConnInterface) (*contentpb.GetPostsByIdsResponse, error) {
			return contentpb.NewContentServiceClient(c).GetPostsByIds(ctx, ids)
		})
	if err != nil {
		return nil, fmt.Errorf("content: %w", err)
	}
	authors := map[string]*beforeAuthor{}
	users := &userpb.GetUserProfilesByIdsRequest{}
	for _, p := range content.GetPosts() {
		if _, known := authors[p.GetUserId()]; !known {
			authors[p.GetUserId()] = nil
			users.UserIds = append(users.UserIds, p.GetUserId())
		}
	}
	if len(users.UserIds) == 0 {
		return page, nil
	}
	profiles, err := dialed(ctx, b.addrs[User],
		func(c grpc.ClientConnInterface) (*userpb.GetUserProfilesByIdsResponse, error) {
			return userpb.NewUserServiceClient(c).GetUserProfilesByIds(ctx, users)
		})
	if err != nil {
		return nil, fmt.Errorf("user: %w", err)
	}
	for _, u := range profiles.GetProfiles() {
		authors[u.GetId()] = &beforeAuthor{u.GetId(), u.GetUsername(), orNull(u.GetAvatarUrl())}
	}
	for _, p := range content.GetPosts() { // the service answers in the order of the ids
		page.Posts = append(page.Posts, beforePost{
			ID: p.GetId(), Caption: orNull(p.GetContent()),
			ImageURL: orNull(p.GetImageUrl()), ThumbnailURL: orNull(p.GetThumbnailUrl()),
			LikeCount: p.GetLikeCount(), CommentCount: p.GetCommentCount(), Author: authors[p.GetUserId()],
		})
	}
	return page, nil
}

// dialed opens a connection, makes one call and closes it.
func dialed[T any](
	ctx context.Context,
	addr string,
	call func(grpc.ClientConnInterface) (T, error),
) (answer T, err error) {
	if err := ctx.Err(); err != nil {
		return answer, err
	}
	c, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return answer, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return call(c)
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
