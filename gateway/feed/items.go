package feed

import (
	"context"
	"errors"
)

// kind is the common part of posts and profiles: a service to fetch them by ID, and its cache.
type kind[V any] struct {
	service Service
	cache   Cache[V]
	load    func(ctx context.Context, ids []string) ([]V, error)
	id      func(*V) string
	clean   func(*V) // may be nil
}

func (a *Assembler) posts() kind[Post] {
	return kind[Post]{
		ContentService,
		a.cfg.Posts,
		a.cfg.Contents.Posts,
		func(p *Post) string { return p.ID },
		cleanPost,
	}
}

func (a *Assembler) profiles() kind[Profile] {
	return kind[Profile]{
		UserService,
		a.cfg.Profiles,
		a.cfg.Users.Profiles,
		func(p *Profile) string { return p.ID },
		nil,
	}
}

// lookup is the result of a lookup by IDs.
type lookup[V any] struct {
	found []*V  // in the order of the IDs; nil if unknown
	stale bool  // some values are stale because the service failed
	err   error // why values are missing; nil if the service does not know them
}

// fetch requests the IDs without a fresh entry from the service, and returns all values.
func fetch[V any](ctx context.Context, r *request, k kind[V], ids []string, entries []Entry[V]) lookup[V] {
	l := lookup[V]{found: make([]*V, len(ids))}
	var missing []string
	var leases []Lease
	haveStale := true // all missing values have a stale copy
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
	values, err := wait(ctx, r.maxWait(haveStale), func(done chan<- answer[[]*V]) {
		answers, err := guarded(ctx, r.limit(), func(ctx context.Context) ([]V, error) { return k.load(ctx, missing) })
		values := pick(missing, answers, k.id, k.clean)
		k.store(ctx, missing, values, leases)
		done <- answer[[]*V]{values, err}
	})
	var gone []string // ids with a stale copy that the service does not know any more
	next := 0         // in values
	for i, e := range entries {
		if e.Fresh {
			continue
		}
		if values != nil {
			l.found[i] = values[next]
		}
		next++
		switch failed := errorOf(err, ids[i]); {
		case l.found[i] != nil:
		case failed != nil && e.Value != nil:
			l.found[i], l.stale = e.Value, true
		case failed != nil:
			l.err = failed
		case e.Value != nil:
			gone = append(gone, ids[i])
		}
	}
	if len(gone) > 0 {
		k.cache.Drop(ctx, gone) // or a later failure of the service would bring them back
	}
	return l
}

// errorOf returns why id could not be loaded; nil if the service has answered for it.
func errorOf(err error, id string) error {
	var some interface{ ErrorOf(id string) error } // a loader.Errors
	if errors.As(err, &some) {
		return some.ErrorOf(id)
	}
	return err
}

// store puts the values that are not nil into the cache.
func (k kind[V]) store(ctx context.Context, ids []string, values []*V, leases []Lease) {
	if k.cache == nil {
		return
	}
	kept := make([]Kept[V], 0, len(ids))
	for i, v := range values {
		if v != nil {
			kept = append(kept, Kept[V]{ids[i], v, leases[i]})
		}
	}
	if len(kept) > 0 {
		k.cache.Put(context.WithoutCancel(ctx), kept)
	}
}

// items adds the posts of ids and their authors to the page. The authors of cached posts are looked up
// while the content service loads the other posts; the remaining authors follow when it has
// answered.
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
	var users [2]lookup[Profile] // of the early and the late authors
	late := authors{at: early.at, from: len(early.ids)}
	if !missing {
		content = fetch(ctx, r, posts, ids, entries)
		users[0] = r.profiles(ctx, early.ids)
	} else {
		done := make(chan struct{})
		go func() {
			defer close(done)
			users[0] = r.profiles(ctx, early.ids)
		}()
		content = fetch(ctx, r, posts, ids, entries)
		for _, p := range content.found {
			if p != nil {
				late.add(p.UserID)
			}
		}
		users[1] = r.profiles(ctx, late.ids)
		<-done
	}
	if canceled(ctx) {
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
	page.addFailure(ContentService, content.err, content.stale)
	page.addFailure(UserService, errors.Join(users[0].err, users[1].err), users[0].stale || users[1].stale)
	return nil
}

// profiles looks up the profiles of users.
func (r *request) profiles(ctx context.Context, ids []string) lookup[Profile] {
	if len(ids) == 0 {
		return lookup[Profile]{}
	}
	profiles := r.a.profiles()
	return fetch(ctx, r, profiles, ids, get(ctx, profiles.cache, ids))
}

// addFailure records the error and the stale values of a service.
func (p *Page) addFailure(service Service, err error, stale bool) {
	if err != nil {
		p.Faults = append(p.Faults, &Fault{service, err})
	}
	if stale {
		p.Stale = append(p.Stale, service)
	}
}

// authors are distinct user IDs with their indexes.
type authors struct {
	at   map[string]int
	ids  []string
	from int // the index of the first
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
