package upstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/novasocial/imagetier/gateway/feed"
	"github.com/novasocial/imagetier/gateway/proto/contentpb"
	"github.com/novasocial/imagetier/gateway/proto/feedpb"
	"github.com/novasocial/imagetier/gateway/proto/userpb"
)

type feeds struct {
	service *service
	client  feedpb.RecommendationServiceClient
}

// Slice implements feed.Feeds. A user that is unknown to the service has an empty feed. Duplicate
// posts, and those beyond the requested number, are left out.
func (f feeds) Slice(ctx context.Context, q feed.Query) (feed.Slice, error) {
	if err := text(q.User, q.Cursor, q.Algorithm); err != nil {
		return feed.Slice{}, fmt.Errorf("feed GetFeed: %w", err)
	}
	page, err := call(ctx, f.service, "GetFeed", func(ctx context.Context) (*feedpb.GetFeedResponse, error) {
		return f.client.GetFeed(ctx, &feedpb.GetFeedRequest{
			UserId: q.User, Limit: uint32(max(q.Limit, 0)), Cursor: q.Cursor, Algorithm: q.Algorithm,
		})
	})
	switch {
	case errors.Is(err, errNotFound) && q.Cursor == "":
		return feed.Slice{}, nil
	case errors.Is(err, errNotFound):
		return feed.Slice{}, fmt.Errorf("%w: %w", feed.ErrInvalid, err)
	case err != nil:
		return feed.Slice{}, err
	}
	ids := make([]string, 0, len(page.GetPosts()))
	seen := make(map[string]struct{}, len(page.GetPosts()))
	for _, p := range page.GetPosts() {
		if _, twice := seen[p.GetId()]; !twice && p.GetId() != "" && len(ids) < q.Limit {
			seen[p.GetId()] = struct{}{}
			ids = append(ids, p.GetId())
		}
	}
	return feed.Slice{IDs: ids, NextCursor: page.GetNextCursor(), HasMore: page.GetHasMore()}, nil
}

type contents struct {
	service *service
	client  contentpb.ContentServiceClient
}

// Posts implements feed.Contents.
func (c contents) Posts(ctx context.Context, ids []string) ([]feed.Post, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	if err := text(ids...); err != nil {
		return nil, fmt.Errorf("content GetPostsByIds: %w", err)
	}
	answer, err := call(ctx, c.service, "GetPostsByIds",
		func(ctx context.Context) (*contentpb.GetPostsByIdsResponse, error) {
			return c.client.GetPostsByIds(ctx, &contentpb.GetPostsByIdsRequest{PostIds: ids})
		})
	if errors.Is(err, errNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	posts := make([]feed.Post, len(answer.GetPosts()))
	for i, p := range answer.GetPosts() {
		posts[i] = feed.Post{
			ID:           p.GetId(),
			UserID:       p.GetUserId(),
			Caption:      p.GetContent(),
			ImageURL:     p.GetImageUrl(),
			ThumbnailURL: p.GetThumbnailUrl(),
			Likes:        p.GetLikeCount(),
			Comments:     p.GetCommentCount(),
			CreatedAt:    createdAt(p.GetCreatedAt()),
			Public:       p.GetVisibility() == "public",
			Crop:         p.GetImageCrop(),
		}
	}
	return posts, nil
}

// Like implements feed.Contents. The error for a missing post is feed.ErrInvalid.
func (c contents) Like(ctx context.Context, batch feed.Likes) error {
	if err := text(append([]string{batch.User, batch.Key}, batch.Posts...)...); err != nil {
		return fmt.Errorf("content BatchLike: %w", err)
	}
	answer, err := call(ctx, c.service, "BatchLike", func(ctx context.Context) (*contentpb.BatchLikeResponse, error) {
		return c.client.BatchLike(ctx, &contentpb.BatchLikeRequest{
			UserId: batch.User, PostIds: batch.Posts, Like: batch.Like, IdempotencyKey: batch.Key,
		})
	})
	switch {
	case errors.Is(err, errNotFound):
		return fmt.Errorf("%w: %w", feed.ErrInvalid, err)
	case err != nil:
		return err
	case !answer.GetSuccess():
		return fmt.Errorf("content BatchLike: %w: success is false", feed.ErrUnavailable)
	}
	return nil
}

type users struct {
	service *service
	client  userpb.UserServiceClient
}

// Profiles implements feed.Users.
func (u users) Profiles(ctx context.Context, ids []string) ([]feed.Profile, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	if err := text(ids...); err != nil {
		return nil, fmt.Errorf("user GetUserProfilesByIds: %w", err)
	}
	answer, err := call(ctx, u.service, "GetUserProfilesByIds",
		func(ctx context.Context) (*userpb.GetUserProfilesByIdsResponse, error) {
			return u.client.GetUserProfilesByIds(ctx, &userpb.GetUserProfilesByIdsRequest{UserIds: ids})
		})
	if errors.Is(err, errNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	profiles := make([]feed.Profile, len(answer.GetProfiles()))
	for i, p := range answer.GetProfiles() {
		profiles[i] = feed.Profile{ID: p.GetId(), Username: p.GetUsername(), AvatarURL: p.GetAvatarUrl()}
	}
	return profiles, nil
}

// text returns an error for texts that protobuf cannot send. They would look like a fault of the
// service, and a client could open the breaker with them.
func text(of ...string) error {
	if slices.ContainsFunc(of, func(s string) bool { return !utf8.ValidString(s) }) {
		return errNotText
	}
	return nil
}

// Bounds that distinguish seconds, milliseconds and invalid times: see content.proto.
const (
	firstMilli = 100_000_000_000
	pastMilli  = firstMilli * 1000
)

// createdAt returns the zero time for an unknown time.
func createdAt(unix int64) time.Time {
	switch {
	case unix <= 0, unix >= pastMilli:
		return time.Time{}
	case unix >= firstMilli:
		return time.UnixMilli(unix).UTC()
	}
	return time.Unix(unix, 0).UTC()
}
