package feed

import (
	"context"
	"errors"
	"time"
)

// Warm loads posts and their authors into the caches before the first request, for posts that an
// event announces as popular. It does not fetch cached ones. The error is that of the services;
// unknown IDs are not an error.
func (a *Assembler) Warm(ctx context.Context, ids []string) error {
	r := request{a: a, until: time.Now().Add(a.cfg.Timeout)}
	posts := a.posts()
	content := fetch(ctx, &r, posts, ids, get(ctx, posts.cache, ids))
	users := authors{at: make(map[string]int, len(ids))}
	for _, p := range content.found {
		if p != nil {
			users.add(p.UserID)
		}
	}
	return errors.Join(content.err, r.profiles(ctx, users.ids).err)
}
