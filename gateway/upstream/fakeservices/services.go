package fakeservices

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/novasocial/imagetier/gateway/proto/contentpb"
	"github.com/novasocial/imagetier/gateway/proto/feedpb"
	"github.com/novasocial/imagetier/gateway/proto/userpb"
)

// mostIDs is the maximum number of ids in a call: a few pages of 100.
const mostIDs = 1000

type feedService struct {
	feedpb.UnimplementedRecommendationServiceServer
	world *world
}

// GetFeed rejects limits that the gateway should have clamped. A cursor is "after:" and the number of
// posts before the page.
func (s feedService) GetFeed(_ context.Context, r *feedpb.GetFeedRequest) (*feedpb.GetFeedResponse, error) {
	if r.GetLimit() < 1 || r.GetLimit() > 100 {
		return nil, status.Errorf(codes.InvalidArgument, "limit is %d, want 1 to 100", r.GetLimit())
	}
	posts, from := s.world.feed(r.GetUserId()), 0
	if cursor := r.GetCursor(); cursor != "" {
		after, ours := strings.CutPrefix(cursor, "after:")
		n, err := strconv.Atoi(after)
		if !ours || err != nil || n < 0 || n > len(posts) {
			return nil, status.Error(codes.InvalidArgument, "no cursor of this feed")
		}
		from = n
	}
	to := min(from+int(r.GetLimit()), len(posts))
	page := &feedpb.GetFeedResponse{HasMore: to < len(posts)}
	for _, n := range posts[from:to] {
		page.Posts = append(page.Posts, &feedpb.FeedPost{Id: postID(n)})
	}
	if page.HasMore {
		page.NextCursor = fmt.Sprintf("after:%d", to)
	}
	return page, nil
}

type like struct{ user, post string }

type contentService struct {
	contentpb.UnimplementedContentServiceServer
	world *world

	mu    sync.Mutex
	liked map[like]bool    // guarded by mu
	added map[string]int64 // likes of a post since the start; guarded by mu
	seen  map[string]bool  // idempotency keys; guarded by mu
}

func newContentService(w *world) *contentService {
	return &contentService{world: w, liked: map[like]bool{}, added: map[string]int64{}, seen: map[string]bool{}}
}

// mostLikes bounds the memory of a long load test.
const mostLikes = 1_000_000

func (s *contentService) GetPostsByIds(
	_ context.Context,
	r *contentpb.GetPostsByIdsRequest,
) (*contentpb.GetPostsByIdsResponse, error) {
	if err := checkIDs(r.GetPostIds(), mostIDs); err != nil {
		return nil, err
	}
	answer := &contentpb.GetPostsByIdsResponse{}
	for _, id := range r.GetPostIds() {
		if p := s.world.post(id); p != nil {
			answer.Posts = append(answer.Posts, p)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range answer.Posts {
		p.LikeCount += s.added[p.Id]
	}
	return answer, nil
}

func (s *contentService) BatchLike(
	_ context.Context,
	r *contentpb.BatchLikeRequest,
) (*contentpb.BatchLikeResponse, error) {
	if err := checkIDs(r.GetPostIds(), 100); err != nil {
		return nil, err
	}
	if r.GetUserId() == "" || r.GetIdempotencyKey() == "" {
		return nil, status.Error(codes.InvalidArgument, "no user_id or no idempotency_key")
	}
	for _, id := range r.GetPostIds() {
		if s.world.post(id) == nil {
			return nil, status.Errorf(codes.NotFound, "no post %q", id)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[r.GetIdempotencyKey()] {
		return &contentpb.BatchLikeResponse{Success: true}, nil
	}
	if len(s.seen) >= mostLikes || len(s.liked) >= mostLikes {
		return nil, status.Error(codes.ResourceExhausted, "too many likes for a test double")
	}
	s.seen[r.GetIdempotencyKey()] = true
	for _, id := range r.GetPostIds() {
		switch it := (like{r.GetUserId(), id}); {
		case r.GetLike() && !s.liked[it]:
			s.liked[it] = true
			s.added[id]++
		case !r.GetLike() && s.liked[it]:
			delete(s.liked, it)
			s.added[id]--
		}
	}
	return &contentpb.BatchLikeResponse{Success: true}, nil
}

type userService struct {
	userpb.UnimplementedUserServiceServer
	world *world
}

func (s userService) GetUserProfilesByIds(
	_ context.Context,
	r *userpb.GetUserProfilesByIdsRequest,
) (*userpb.GetUserProfilesByIdsResponse, error) {
	if err := checkIDs(r.GetUserIds(), mostIDs); err != nil {
		return nil, err
	}
	answer := &userpb.GetUserProfilesByIdsResponse{}
	for _, id := range r.GetUserIds() {
		if p := s.world.profile(id); p != nil {
			answer.Profiles = append(answer.Profiles, p)
		}
	}
	return answer, nil
}

// checkIDs rejects calls that the gateway should not make: no ids, too many, or duplicates.
func checkIDs(ids []string, most int) error {
	if len(ids) < 1 || len(ids) > most {
		return status.Errorf(codes.InvalidArgument, "%d ids, want 1 to %d", len(ids), most)
	}
	seen := make(map[string]bool, len(ids))
	for _, id := range ids {
		if seen[id] {
			return status.Errorf(codes.InvalidArgument, "%q is requested twice", id)
		}
		seen[id] = true
	}
	return nil
}
