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

// Limits of the number of posts in a page.
const (
	DefaultLimit = 20
	MaxLimit     = 100
)

// maxCursor is the maximum length of a cursor, in bytes. Known services use a few hundred at most.
const maxCursor = 4096

// Anonymous is the user of a request without a token.
const Anonymous = "anonymous"

// Config configures an [Assembler]. Feeds, Contents and Users are required.
type Config struct {
	Feeds    Feeds
	Contents Contents
	Users    Users

	// Caches. Without one, its service is called every time.
	Pages    Cache[Slice]
	Posts    Cache[Post]
	Profiles Cache[Profile]

	// Algorithm is the default of queries; "" means "ch".
	Algorithm string
	// CallTimeout is the timeout of one call; 0 means 5 s.
	CallTimeout time.Duration
	// Timeout is the total timeout of the calls of a request; 0 means 10 s.
	Timeout time.Duration
	// StaleWait is how long to wait for a service if a stale copy could be served; 0 means 1 s.
	// The call then continues, and its answer is cached.
	StaleWait time.Duration
}

// Assembler assembles pages. It is safe for concurrent use.
type Assembler struct {
	cfg   Config
	pages singleflight.Group // Slice by Query.Key: concurrent readers of a page share the call
}

// New returns an Assembler. The error is that of an incomplete cfg.
func New(cfg Config) (*Assembler, error) {
	if cfg.Feeds == nil || cfg.Contents == nil || cfg.Users == nil {
		return nil, errors.New("feed: Feeds, Contents and Users are required")
	}
	cfg.Algorithm = cmp.Or(cfg.Algorithm, "ch")
	cfg.CallTimeout = cmp.Or(cfg.CallTimeout, 5*time.Second)
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	cfg.StaleWait = cmp.Or(cfg.StaleWait, time.Second)
	return &Assembler{cfg: cfg}, nil
}

// Page is one page, possibly partial.
type Page struct {
	Items      []Item // in the order of the feed; never nil
	NextCursor string // "" on the last page
	HasMore    bool   // false without a NextCursor
	// Faults are the failures because of which data is missing: at most one each of the content
	// and the user service.
	Faults []*Fault
	// Stale are the failed services for which the page has stale data.
	Stale []Service
}

// Item is a post with its author. Both are shared with other requests and must not be modified.
type Item struct {
	Post   *Post
	Author *Profile // nil if unknown
}

// Service names one of the three services.
type Service string

const (
	FeedService    Service = "feed"
	ContentService Service = "content"
	UserService    Service = "user"
)

// Fault is the failure of a service. Err wraps [ErrTimeout], [ErrUnavailable] or [ErrInvalid]; its
// text is for logs only.
type Fault struct {
	Service Service
	Err     error
}

func (f *Fault) Error() string { return fmt.Sprintf("%s service: %v", f.Service, f.Err) }
func (f *Fault) Unwrap() error { return f.Err }

// Limit returns the number of posts to request for a client's limit, which may be nil.
func Limit(limit *int32) int {
	if limit == nil {
		return DefaultLimit
	}
	return min(max(int(*limit), 1), MaxLimit)
}

// Key returns the cache key of the page, different for different queries. Values chosen by users
// are prefixed with their lengths, so that no value can imitate two.
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

// Page returns a page. It clamps the limit to 1 to MaxLimit. The error is a [*Fault] of the feed
// service, or that of ctx if the caller has gone.
func (a *Assembler) Page(ctx context.Context, q Query) (Page, error) {
	q.User = cmp.Or(q.User, Anonymous)
	q.Algorithm = cmp.Or(q.Algorithm, a.cfg.Algorithm)
	q.Limit = min(max(q.Limit, 1), MaxLimit)
	if len(q.Cursor) > maxCursor {
		return Page{}, &Fault{FeedService, fmt.Errorf("%w: cursor of %d bytes", ErrInvalid, len(q.Cursor))}
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

// request is the state of one request.
type request struct {
	a     *Assembler
	until time.Time // deadline of all calls
}

// slice returns the slice from the cache or the feed service. stale reports that the service failed
// and the slice is an expired one.
func (r *request) slice(ctx context.Context, q Query) (_ *Slice, stale bool, err error) {
	key := q.Key()
	kept := get(ctx, r.a.cfg.Pages, []string{key})[0]
	if kept.Fresh {
		return kept.Value, false, nil
	}
	slice, err := wait(ctx, r.maxWait(kept.Value != nil), func(done chan<- answer[*Slice]) {
		shared := r.a.pages.DoChan(key, func() (any, error) {
			slice, err := guarded(
				ctx,
				r.limit(),
				func(ctx context.Context) (Slice, error) { return r.a.cfg.Feeds.Slice(ctx, q) },
			)
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
	case canceled(ctx):
		return nil, false, ctx.Err()
	case kept.Value != nil && !errors.Is(err, ErrInvalid):
		return kept.Value, true, nil
	}
	return nil, false, &Fault{FeedService, err}
}
