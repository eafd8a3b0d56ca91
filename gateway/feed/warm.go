package feed

import (
	"context"
	"errors"
	"time"
)

// Warm has caches hold posts and their authors, before anybody asks for them: what an event
// says is popular is then there. What is there already is not asked for. The error is of the
// services; what they do not know is none.
func (a *Assembler) Warm(ctx context.Context, ids []string) error {
	r := request{a: a, until: time.Now().Add(a.cfg.Timeout)}
	posts := a.posts()
	content := fetch(ctx, &r, posts, ids, get(ctx, posts.cache, ids))
	by := authors{at: make(map[string]int, len(ids))}
	for _, p := range content.found {
		if p != nil {
			by.add(p.UserID)
		}
	}
	return errors.Join(content.err, r.lookUp(ctx, by.ids).err)
}
