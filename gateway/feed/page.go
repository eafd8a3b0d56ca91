package feed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sync/singleflight"
)

// Bounds of a page (SEED G9).
const (
	DefaultLimit = 20
	MaxLimit     = 100
)

// maxCursor is how long a cursor may be, in bytes. The longest that services are known to
// make are a few hundred.
const maxCursor = 4096

// Anonymous is the user of a request without a token.
const Anonymous = "anonymous"

// Config of an Assembler. Feeds, Contents and Users are needed.
type Config struct {
	Feeds    Feeds
	Contents Contents
	Users    Users

	// Caches; without one of them its service is asked every time.
	Pages    Cache[Slice]
	Posts    Cache[Post]
	Profiles Cache[Profile]

	// Algorithm is for queries that name none; "" is "ch".
	Algorithm string
	// CallTimeout is how long one call may take; 0 is 5 s.
	CallTimeout time.Duration
	// Timeout is how long all calls of a request may take together; 0 is 10 s.
	Timeout time.Duration
	// Patience is how long a service is waited for where a stale copy could be served; 0 is
	// 1 s. The call goes on, and what it says is kept.
	Patience time.Duration
}

// Assembler puts pages together. It is safe for concurrent use.
type Assembler struct {
	cfg   Config
	pages singleflight.Group // Slice by Query.Key: readers of one page at once share the call
}

// New returns an Assembler.
func New(cfg Config) (*Assembler, error) {
	if cfg.Feeds == nil || cfg.Contents == nil || cfg.Users == nil {
		return nil, errors.New("feed: a page needs all three services")
	}
	cfg.Algorithm = cmp.Or(cfg.Algorithm, "ch")
	cfg.CallTimeout = cmp.Or(cfg.CallTimeout, 5*time.Second)
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	cfg.Patience = cmp.Or(cfg.Patience, time.Second)
	return &Assembler{cfg: cfg}, nil
}

// Page is one page, as far as there is one.
type Page struct {
	Items      []Item // in the order of the feed; never nil
	NextCursor string // "" if there is none
	HasMore    bool   // never without a NextCursor
	// Faults say of which services something is missing: at most one each of content and
	// user.
	Faults []*Fault
	// Stale names the services that failed and of which an old answer is shown instead.
	Stale []Service
}

// Item is a post with its author. Both are shared with other requests: nobody may change
// them.
type Item struct {
	Post   *Post
	Author *Profile // nil if nobody knows the author
}

// Service names one of the three services.
type Service string

const (
	FeedService    Service = "feed"
	ContentService Service = "content"
	UserService    Service = "user"
)

// Fault is a service that did not answer. Err wraps ErrTimeout, ErrUnavailable or
// ErrInvalid, and its text is for logs only.
type Fault struct {
	Service Service
	Err     error
}

func (f *Fault) Error() string { return fmt.Sprintf("%s service: %v", f.Service, f.Err) }
func (f *Fault) Unwrap() error { return f.Err }

// Limit returns how many posts to ask for when a client wants this many; nil: it does not
// say.
func Limit(asked *int32) int {
	if asked == nil {
		return DefaultLimit
	}
	return min(max(int(*asked), 1), MaxLimit)
}

// Key names the page in a cache: queries that differ in anything have different keys.
// Lengths stand before what users can choose, so that no value can imitate two.
func (q Query) Key() string {
	key := make([]byte, 0, len(q.User)+len(q.Algorithm)+len(q.Cursor)+16)
	key = strconv.AppendInt(key, int64(len(q.User)), 10)
	key = append(append(append(key, ':'), q.User...), ':')
	key = strconv.AppendInt(key, int64(q.Limit), 10)
	key = append(key, ':')
	key = strconv.AppendInt(key, int64(len(q.Algorithm)), 10)
	key = append(append(append(key, ':'), q.Algorithm...), ':')
	return string(append(key, q.Cursor...))
}

// Page returns a page. A limit outside of 1 to MaxLimit is brought inside. Its error is a
// *Fault of the feed service, or ctx's if the caller left.
func (a *Assembler) Page(ctx context.Context, q Query) (Page, error) {
	q.User = cmp.Or(q.User, Anonymous)
	q.Algorithm = cmp.Or(q.Algorithm, a.cfg.Algorithm)
	q.Limit = min(max(q.Limit, 1), MaxLimit)
	if len(q.Cursor) > maxCursor {
		return Page{}, &Fault{FeedService, fmt.Errorf("%w: a cursor of %d bytes", ErrInvalid, len(q.Cursor))}
	}
	r := request{a: a, until: time.Now().Add(a.cfg.Timeout)}
	slice, stale, err := r.slice(ctx, q)
	if err != nil {
		return Page{}, err
	}
	page := Page{NextCursor: slice.NextCursor, HasMore: slice.HasMore}
	if stale {
		page.Stale = append(page.Stale, FeedService)
	}
	if err := r.items(ctx, slice.IDs, &page); err != nil {
		return Page{}, err
	}
	return page, nil
}

// request is one page on its way.
type request struct {
	a     *Assembler
	until time.Time // when all calls must be over
}

// slice returns what the feed service says, now or a moment ago; stale: it failed, and this
// is old.
func (r *request) slice(ctx context.Context, q Query) (_ *Slice, stale bool, err error) {
	key := q.Key()
	kept := get(ctx, r.a.cfg.Pages, []string{key})[0]
	if kept.Fresh {
		return kept.Value, false, nil
	}
	slice, err := wait(ctx, r.patience(kept.Value != nil), func(done chan<- answer[*Slice]) {
		shared := r.a.pages.DoChan(key, func() (any, error) {
			slice, err := guarded(ctx, r.limit(), func(ctx context.Context) (Slice, error) { return r.a.cfg.Feeds.Slice(ctx, q) })
			if err != nil {
				return (*Slice)(nil), err
			}
			clean := cleanSlice(slice, q.Limit)
			if r.a.cfg.Pages != nil {
				r.a.cfg.Pages.Put(context.WithoutCancel(ctx), []Kept[Slice]{{key, &clean, kept.Lease}})
			}
			return &clean, nil
		})
		got := <-shared
		done <- answer[*Slice]{got.Val.(*Slice), got.Err}
	})
	switch {
	case err == nil:
		return slice, false, nil
	case left(ctx):
		return nil, false, ctx.Err()
	case kept.Value != nil && !errors.Is(err, ErrInvalid):
		return kept.Value, true, nil
	}
	return nil, false, &Fault{FeedService, err}
}
