package graph

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/validator"

	"github.com/novasocial/imagetier/gateway/feed"
	"github.com/novasocial/imagetier/gateway/imagelink"
)

// asker is who asks.
type asker struct {
	user   string // "": nobody
	client imagelink.Client
	key    string // of the header Idempotency-Key
}

// reply is what is answered.
type reply struct {
	operation Operation
	faults    []*fault
	executed  bool   // there is data
	data      []byte // appended to what was given
	stale     []feed.Service
}

// execute answers a request, and appends the data to dst.
func (h *Handler) execute(ctx context.Context, who asker, asked request, dst []byte) (r reply) {
	r = reply{operation: Nothing, data: dst}
	defer func() {
		if p := recover(); p != nil {
			h.panicked(ctx, p)
			r = reply{operation: r.operation, faults: []*fault{newFault(Internal, wentWrong)}, data: dst}
		}
	}()
	doc, faults := h.documents.read(asked.Query)
	if faults != nil {
		r.faults = faults
		return r
	}
	op, f := doc.operation(asked.OperationName)
	var vars map[string]any
	if f == nil {
		vars, f = h.variables(op, asked.Variables)
	}
	var p *plan
	if f == nil {
		p, f = doc.plan(op, vars)
	}
	if f != nil {
		r.faults = []*fault{f}
		return r
	}
	run := run{Handler: h, who: who, vars: vars, plan: p, results: make([]result, len(p.root))}
	if p.calls > 0 {
		r.operation = Queried
		if op.Operation == ast.Mutation {
			r.operation = Liked
		}
	}
	run.resolve(ctx)
	for i := range run.results {
		r.faults = append(r.faults, run.results[i].faults...)
		if page := run.results[i].page; page != nil {
			r.stale = append(r.stale, page.Stale...)
		}
	}
	r.executed, r.data = true, run.write(ctx, dst)
	return r
}

func (h *Handler) panicked(ctx context.Context, p any) {
	h.cfg.Log.ErrorContext(ctx, "panic in a query", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}

// variables returns the variables of an operation, coerced.
func (h *Handler) variables(op *ast.OperationDefinition, given map[string]any) (map[string]any, *fault) {
	vars, err := validator.VariableValues(h.schema, op, given)
	if err == nil {
		return vars, nil
	}
	f := newFault(BadInput, "A variable is none that the query can have.")
	var said *gqlerror.Error
	if errors.As(err, &said) && len(said.Path) > 1 {
		f.Message = fmt.Sprintf("The variable $%v: %s.", said.Path[1], said.Message)
	}
	return nil, f
}

// run is one operation while it is executed.
type run struct {
	*Handler
	who     asker
	vars    map[string]any
	plan    *plan
	results []result // by field of the root
}

// result is what a field of the root came to.
type result struct {
	client imagelink.Client // of page
	page   *feed.Page
	liked  bool
	faults []*fault
}

// resolve asks the services: for pages at once, for batches one after the other.
func (x *run) resolve(ctx context.Context) {
	if x.plan.calls == 1 || x.plan.operation.Operation == ast.Mutation {
		for i := range x.plan.root {
			x.field(ctx, i)
		}
		return
	}
	var wait sync.WaitGroup
	for i := range x.plan.root {
		wait.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					x.panicked(ctx, p)
					x.fail(i, newFault(Internal, wentWrong))
				}
			}()
			x.field(ctx, i)
		})
	}
	wait.Wait()
}

func (x *run) fail(i int, f *fault) {
	f.Path = []any{x.plan.root[i].alias}
	x.results[i] = result{faults: []*fault{f}}
}

func (x *run) field(ctx context.Context, i int) {
	n := &x.plan.root[i]
	var f *fault
	switch n.name {
	case "feed":
		f = x.feed(ctx, n, &x.results[i])
	case "batchLike", "batchUnlike":
		f = x.like(ctx, n, i)
		x.results[i].liked = f == nil
	}
	if f != nil {
		x.fail(i, f)
	}
}

// feed gets a page.
func (x *run) feed(ctx context.Context, n *node, r *result) *fault {
	args := n.field.ArgumentMap(x.vars)
	limit, f := intArgument(args, "limit")
	if f != nil {
		return f
	}
	q := feed.Query{User: x.who.user, Limit: feed.Limit(limit)}
	if q.User == "" {
		q.User = feed.Anonymous
	}
	q.Cursor, _ = args["cursor"].(string)
	r.client = x.who.client
	if said, _ := args["client"].(string); said != "" {
		var err error
		if r.client, err = imagelink.ParseClient(said, r.client); err != nil {
			return newFault(BadInput, fmt.Sprintf("client: %v.", err))
		}
	}
	page, err := x.cfg.Feed.Page(ctx, q)
	if err != nil {
		x.say(ctx, err)
		return upstream(err, feed.FeedService)
	}
	r.page = &page
	for _, missing := range page.Faults {
		x.say(ctx, missing)
		f := upstream(missing, missing.Service)
		f.Path = []any{n.alias, "posts"}
		if posts := find(n.sub, "posts"); posts != nil {
			f.Path[1] = posts.alias
		} else {
			f.Path = f.Path[:1]
		}
		r.faults = append(r.faults, f)
	}
	return nil
}

// say logs what a service did; clients get nothing of it.
func (x *run) say(ctx context.Context, err error) {
	if !errors.Is(ctx.Err(), context.Canceled) {
		x.cfg.Log.DebugContext(ctx, "a service failed", "err", err)
	}
}

// like sends a batch.
func (x *run) like(ctx context.Context, n *node, i int) *fault {
	if x.who.user == "" {
		return newFault(Unauthenticated, "Only users can like: this needs Authorization: Bearer and a token.")
	}
	ids, f := idsArgument(n.field.ArgumentMap(x.vars), "postIds")
	if f != nil {
		return f
	}
	err := x.cfg.Feed.Like(ctx, feed.Likes{User: x.who.user, Posts: ids, Like: n.name == "batchLike", Key: x.who.batchKey(i)})
	if err != nil {
		x.say(ctx, err)
		return upstream(err, feed.ContentService)
	}
	return nil
}

// batchKey returns what makes the batch of a field one that is known when the client sends
// the request again: by its header Idempotency-Key, which is a word among its own batches
// only. Without that it is another one each time: the same batch may be meant anew, after an
// unlike.
func (a asker) batchKey(field int) string {
	if a.key == "" {
		return rand.Text()
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %d", a.user, a.key, field))
	return hex.EncodeToString(sum[:16])
}
