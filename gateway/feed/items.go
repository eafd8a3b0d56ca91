package feed

import (
	"context"
	"errors"
)

// kind is what posts and profiles have in common: a service that knows them by id, and a
// cache before it.
type kind[V any] struct {
	service Service
	cache   Cache[V]
	ask     func(ctx context.Context, ids []string) ([]V, error)
	id      func(*V) string
	clean   func(*V) // nil: nothing to do
}

func (a *Assembler) posts() kind[Post] {
	return kind[Post]{ContentService, a.cfg.Posts, a.cfg.Contents.Posts, func(p *Post) string { return p.ID }, cleanPost}
}

func (a *Assembler) profiles() kind[Profile] {
	return kind[Profile]{UserService, a.cfg.Profiles, a.cfg.Users.Profiles, func(p *Profile) string { return p.ID }, nil}
}

// lookup is what there is of some ids.
type lookup[V any] struct {
	found []*V  // in the order of the ids; nil: not known
	stale bool  // some of it is old, because the service failed
	err   error // why something is missing; nil if the service does not know it
}

// fetch asks the service for what entries do not have fresh, and fills found.
func fetch[V any](ctx context.Context, r *request, k kind[V], ids []string, entries []Entry[V]) lookup[V] {
	l := lookup[V]{found: make([]*V, len(ids))}
	var missing []string
	var leases []Lease
	haveStale := true // a copy of all that is missing
	for i, e := range entries {
		if e.Fresh {
			l.found[i] = e.Value
			continue
		}
		if missing == nil {
			missing, leases = make([]string, 0, len(ids)-i), make([]Lease, 0, len(ids)-i)
		}
		missing, leases = append(missing, ids[i]), append(leases, e.Lease)
		haveStale = haveStale && e.Value != nil
	}
	if missing == nil {
		return l
	}
	said, err := wait(ctx, r.patience(haveStale), func(done chan<- answer[[]*V]) {
		values, err := guarded(ctx, r.limit(), func(ctx context.Context) ([]V, error) { return k.ask(ctx, missing) })
		said := pick(missing, values, k.id, k.clean)
		k.keep(ctx, missing, said, leases)
		done <- answer[[]*V]{said, err}
	})
	place := 0
	for i, e := range entries {
		if e.Fresh {
			continue
		}
		if said != nil {
			l.found[i] = said[place]
		}
		place++
		if err == nil || l.found[i] != nil {
			continue
		}
		if e.Value != nil {
			l.found[i], l.stale = e.Value, true
		} else {
			l.err = err
		}
	}
	return l
}

func (k kind[V]) keep(ctx context.Context, ids []string, said []*V, leases []Lease) {
	if k.cache == nil {
		return
	}
	kept := make([]Kept[V], 0, len(ids))
	for i, v := range said {
		if v != nil {
			kept = append(kept, Kept[V]{ids[i], v, leases[i]})
		}
	}
	if len(kept) > 0 {
		k.cache.Put(context.WithoutCancel(ctx), kept)
	}
}

// items fills the page with the posts of ids and their authors. Authors that cached posts
// name are looked for while the content service is asked for the other posts; the rest when
// it has answered, beside the first (SEED G8).
func (r *request) items(ctx context.Context, ids []string, page *Page) error {
	posts := r.a.posts()
	entries := get(ctx, posts.cache, ids)
	early := authors{at: make(map[string]int, len(ids))}
	missing := false
	for _, e := range entries {
		if e.Value != nil {
			early.add(e.Value.UserID)
		}
		missing = missing || !e.Fresh
	}
	var content lookup[Post]
	var users [2]lookup[Profile] // of the early authors, and of the others
	late := authors{at: early.at, from: len(early.ids)}
	if !missing {
		content = fetch(ctx, r, posts, ids, entries)
		users[0] = r.lookUp(ctx, early.ids)
	} else {
		done := make(chan struct{})
		go func() {
			defer close(done)
			users[0] = r.lookUp(ctx, early.ids)
		}()
		content = fetch(ctx, r, posts, ids, entries)
		for _, p := range content.found {
			if p != nil {
				late.add(p.UserID)
			}
		}
		users[1] = r.lookUp(ctx, late.ids)
		<-done
	}
	if left(ctx) {
		return ctx.Err()
	}
	page.Items = make([]Item, 0, len(ids))
	for _, p := range content.found {
		if p == nil {
			continue
		}
		item := Item{Post: p}
		if at, named := early.at[p.UserID]; named {
			if at < len(early.ids) {
				item.Author = users[0].found[at]
			} else {
				item.Author = users[1].found[at-len(early.ids)]
			}
		}
		page.Items = append(page.Items, item)
	}
	page.note(ContentService, content.err, content.stale)
	page.note(UserService, errors.Join(users[0].err, users[1].err), users[0].stale || users[1].stale)
	return nil
}

func (r *request) lookUp(ctx context.Context, ids []string) lookup[Profile] {
	if len(ids) == 0 {
		return lookup[Profile]{}
	}
	profiles := r.a.profiles()
	return fetch(ctx, r, profiles, ids, get(ctx, profiles.cache, ids))
}

func (p *Page) note(of Service, err error, stale bool) {
	if err != nil {
		p.Faults = append(p.Faults, &Fault{of, err})
	}
	if stale {
		p.Stale = append(p.Stale, of)
	}
}

// authors are ids of users, none twice and none empty, with the place of each.
type authors struct {
	at   map[string]int
	ids  []string
	from int // the place of the first
}

func (a *authors) add(id string) {
	if id == "" {
		return
	}
	if _, known := a.at[id]; known {
		return
	}
	a.at[id] = a.from + len(a.ids)
	a.ids = append(a.ids, id)
}
