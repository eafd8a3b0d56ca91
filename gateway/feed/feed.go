// Package feed is what a page of a feed is, and how it is put together: posts in the order
// that the feed service gives, with what the content service knows of them and who wrote
// them. It knows no gRPC, GraphQL, Redis or HTTP.
//
//	feed service → ids → content service → authors → user service → Page
//
// Only the feed service is needed for an answer. Where another one fails, the page has what
// there is, and says what is missing.
package feed

import (
	"context"
	"errors"
	"time"
)

// Query asks for one page.
type Query struct {
	User      string // from the verified token; "anonymous" without one
	Limit     int    // posts, 1 to 100
	Cursor    string // opaque, of the page before; "" is the first page
	Algorithm string // of the feed service
}

// Slice is one page as the feed service gives it: ids of posts, no id twice.
type Slice struct {
	IDs        []string
	NextCursor string // "" if there is none
	HasMore    bool
}

// Post is what the content service knows of a post.
type Post struct {
	ID           string
	UserID       string // its author
	Caption      string
	ImageURL     string // as the service has it, "" if there is none
	ThumbnailURL string // likewise
	Likes        int64
	Comments     int64
	CreatedAt    time.Time // zero: not known
}

// Profile is what the user service knows of a user.
type Profile struct {
	ID        string
	Username  string
	AvatarURL string // "" if there is none
}

// Likes is one batch of a user's likes, or of likes taken back.
type Likes struct {
	User  string
	Posts []string // 1 to 100 ids, none twice
	Like  bool     // false: unlike
	// Key makes a repetition of the batch a repetition to the service, too.
	Key string
}

// Feeds is the feed service.
type Feeds interface {
	Slice(ctx context.Context, q Query) (Slice, error)
}

// Contents is the content service. Posts returns what it knows of ids, in any order; what
// it does not know is left out and no error.
type Contents interface {
	Posts(ctx context.Context, ids []string) ([]Post, error)
	Like(ctx context.Context, batch Likes) error
}

// Users is the user service. Profiles answers as Posts of Contents does.
type Users interface {
	Profiles(ctx context.Context, ids []string) ([]Profile, error)
}

// What a service that did not answer is to a client. Their texts go into no answer.
var (
	// ErrTimeout: the service took longer than a call may take.
	ErrTimeout = errors.New("service did not answer in time")
	// ErrUnavailable: it cannot be reached, failed, or is left alone for a while because
	// it has failed (a breaker is open).
	ErrUnavailable = errors.New("service failed")
	// ErrInvalid: it refused what it was asked, a cursor that it does not know, say.
	ErrInvalid = errors.New("service refused the request")
)
