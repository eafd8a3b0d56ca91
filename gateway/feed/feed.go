// Package feed assembles pages of a feed: posts in the order of the feed service, with their content
// and their authors. It does not depend on gRPC, GraphQL, Redis or HTTP.
//
//	feed service → ids → content service → authors → user service → Page
//
// Only the feed service is required. If another one fails, the page is partial, and says what is
// missing. Start reading at [Assembler.Page].
package feed

import (
	"context"
	"errors"
	"time"
)

// Query is a request for one page.
type Query struct {
	User      string // from the verified token; "anonymous" without one
	Limit     int    // posts, 1 to 100
	Cursor    string // opaque, from the previous page; "" is the first page
	Algorithm string // name of an algorithm of the feed service
}

// Slice is a page from the feed service: distinct post IDs.
type Slice struct {
	IDs        []string
	NextCursor string // "" on the last page
	HasMore    bool
}

// Post is a post of the content service.
type Post struct {
	ID           string
	UserID       string // of the author
	Caption      string
	ImageURL     string // the plain URL; "" if the post has no image
	ThumbnailURL string // the plain URL; "" if the post has no thumbnail
	Likes        int64
	Comments     int64
	CreatedAt    time.Time // zero if unknown
	Public       bool      // its image URLs need not expire
	Crop         string    // the part of ImageURL to show, as URLs of the tier spell it; "" is all of it
}

// Profile is a user of the user service.
type Profile struct {
	ID        string
	Username  string
	AvatarURL string // "" if the user has no avatar
}

// Likes is a batch of likes or unlikes of a user.
type Likes struct {
	User  string
	Posts []string // 1 to 100 distinct IDs
	Like  bool     // false: unlike
	// Key is the idempotency key: the service applies a batch with a known key only once.
	Key string
}

// Feeds is the feed service.
type Feeds interface {
	Slice(ctx context.Context, q Query) (Slice, error)
}

// Contents is the content service. Posts returns the known posts of ids, in any order; unknown ones
// are not an error.
type Contents interface {
	Posts(ctx context.Context, ids []string) ([]Post, error)
	Like(ctx context.Context, batch Likes) error
}

// Users is the user service. Profiles returns known profiles as Contents.Posts does posts.
type Users interface {
	Profiles(ctx context.Context, ids []string) ([]Profile, error)
}

// The kinds of service failures that clients can distinguish. Answers never contain their texts.
var (
	// ErrTimeout means that the service did not answer within the timeout.
	ErrTimeout = errors.New("service did not answer in time")
	// ErrUnavailable means that the service failed, is unreachable, or its circuit breaker is
	// open.
	ErrUnavailable = errors.New("service failed")
	// ErrInvalid means that the service rejected the request, for example an unknown cursor.
	ErrInvalid = errors.New("service rejected the request")
)
