package feed

import (
	"context"
	"crypto/rand"
	"fmt"
)

// MaxLikes is how many posts one batch may like (SEED G20).
const MaxLikes = 100

// maxID is how long the id of a post may be, in bytes.
const maxID = 1024

// Like likes or unlikes posts, each once however often the batch names it, and has caches
// forget them. Without a Key the batch gets one of its own. A batch that no service would
// take is ErrInvalid; a service that did not take it is a *Fault.
func (a *Assembler) Like(ctx context.Context, b Likes) error {
	if b.User == "" {
		return fmt.Errorf("%w: likes of nobody", ErrInvalid)
	}
	seen := make(map[string]struct{}, min(len(b.Posts), MaxLikes))
	once := make([]string, 0, min(len(b.Posts), MaxLikes))
	for _, id := range b.Posts {
		if id == "" || len(id) > maxID {
			return fmt.Errorf("%w: no id of a post has %d bytes", ErrInvalid, len(id))
		}
		if _, again := seen[id]; again {
			continue
		}
		if len(once) == MaxLikes {
			return fmt.Errorf("%w: more than %d posts in a batch", ErrInvalid, MaxLikes)
		}
		seen[id] = struct{}{}
		once = append(once, id)
	}
	if len(once) == 0 {
		return fmt.Errorf("%w: a batch without posts", ErrInvalid)
	}
	b.Posts = once
	if b.Key == "" {
		b.Key = rand.Text()
	}
	_, err := wait(ctx, a.cfg.CallTimeout+grace, func(done chan<- answer[struct{}]) {
		_, err := guarded(ctx, a.cfg.CallTimeout, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, a.cfg.Contents.Like(ctx, b)
		})
		// Also when it failed: a service that does not answer may have done it.
		a.InvalidatePosts(context.WithoutCancel(ctx), b.Posts)
		done <- answer[struct{}]{err: err}
	})
	if err == nil {
		return nil
	}
	if left(ctx) {
		return ctx.Err()
	}
	return &Fault{ContentService, err}
}

// InvalidatePosts has every cache forget posts, which were changed, deleted or liked. It
// takes at most 50 ms.
func (a *Assembler) InvalidatePosts(ctx context.Context, ids []string) {
	if a.cfg.Posts != nil && len(ids) > 0 {
		a.cfg.Posts.Drop(ctx, ids)
	}
}

// InvalidateProfiles has every cache forget the profiles of users, which were changed. It
// takes at most 50 ms.
func (a *Assembler) InvalidateProfiles(ctx context.Context, ids []string) {
	if a.cfg.Profiles != nil && len(ids) > 0 {
		a.cfg.Profiles.Drop(ctx, ids)
	}
}
