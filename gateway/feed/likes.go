package feed

import (
	"context"
	"crypto/rand"
	"fmt"
)

// MaxLikes is the maximum number of posts in a batch of likes.
const MaxLikes = 100

// maxID is the maximum length of a post ID, in bytes.
const maxID = 1024

// Like likes or unlikes posts, without duplicates, and drops them from the caches. A batch without a
// Key gets a random one. The error wraps [ErrInvalid] for an invalid batch, or is a [*Fault] of the
// content service.
func (a *Assembler) Like(ctx context.Context, b Likes) error {
	if b.User == "" {
		return fmt.Errorf("%w: no user", ErrInvalid)
	}
	seen := make(map[string]struct{}, min(len(b.Posts), MaxLikes))
	once := make([]string, 0, min(len(b.Posts), MaxLikes))
	for _, id := range b.Posts {
		if id == "" || len(id) > maxID {
			return fmt.Errorf("%w: post ID of %d bytes", ErrInvalid, len(id))
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
		return fmt.Errorf("%w: no posts", ErrInvalid)
	}
	b.Posts = once
	if b.Key == "" {
		b.Key = rand.Text()
	}
	_, err := wait(ctx, a.cfg.CallTimeout+grace, func(done chan<- answer[struct{}]) {
		_, err := guarded(ctx, a.cfg.CallTimeout, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, a.cfg.Contents.Like(ctx, b)
		})
		// Also on failure: a service that does not answer may have applied the batch.
		a.InvalidatePosts(context.WithoutCancel(ctx), b.Posts)
		done <- answer[struct{}]{err: err}
	})
	if err == nil {
		return nil
	}
	if canceled(ctx) {
		return ctx.Err()
	}
	return &Fault{ContentService, err}
}

// InvalidatePosts drops changed, deleted or liked posts from the caches. It takes at most 50 ms.
func (a *Assembler) InvalidatePosts(ctx context.Context, ids []string) {
	if a.cfg.Posts != nil && len(ids) > 0 {
		a.cfg.Posts.Drop(ctx, ids)
	}
}

// InvalidateProfiles drops changed user profiles from the caches. It takes at most 50 ms.
func (a *Assembler) InvalidateProfiles(ctx context.Context, ids []string) {
	if a.cfg.Profiles != nil && len(ids) > 0 {
		a.cfg.Profiles.Drop(ctx, ids)
	}
}
