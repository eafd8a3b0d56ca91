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

// caller is the sender of a request.
type caller struct {
	user   string // "" if anonymous
	client imagelink.Client
	key    string // the header Idempotency-Key
}

// reply is the result of a request.
type reply struct {
	operation Operation
	faults    []*fault
	executed  bool   // data is valid
	data      []byte // appended to the buffer of the caller
	stale     []feed.Service
}

// execute executes a request and appends the data of the answer to dst. The memory for it is
// taken from room.
func (h *Handler) execute(ctx context.Context, who caller, asked request, dst []byte, of *room) (r reply) {
	r = reply{operation: Nothing, data: dst}
	defer func() {
		if p := recover(); p != nil {
			h.panicked(ctx, p)
			r = reply{operation: r.operation, faults: []*fault{newFault(Internal, internalMessage)}, data: dst}
		}
	}()
	doc, faults := h.documents.parse(asked.Query)
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
	if f == nil {
		f = h.checkCost(p, vars)
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
	r.executed, r.data = true, run.write(ctx, dst, of)
	if f := of.fault(); f != nil {
		r.faults, r.executed = []*fault{f}, false
	}
	return r
}

func (h *Handler) panicked(ctx context.Context, p any) {
	h.cfg.Log.ErrorContext(ctx, "graphql panic", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}

// variables returns the coerced variables of an operation.
func (h *Handler) variables(op *ast.OperationDefinition, given map[string]any) (map[string]any, *fault) {
	vars, err := validator.VariableValues(h.schema, op, given)
	if err == nil {
		return vars, nil
	}
	f := newFault(BadInput, "Variable values do not match the query's declarations.")
	var invalid *gqlerror.Error
	if errors.As(err, &invalid) && len(invalid.Path) > 1 {
		f.Message = fmt.Sprintf("Variable $%v: %s.", invalid.Path[1], invalid.Message)
	}
	return nil, f
}

// run is the execution of one operation.
type run struct {
	*Handler
	who     caller
	vars    map[string]any
	plan    *plan
	results []result // by root field
}

// result is the result of a root field.
type result struct {
	client imagelink.Client // of page
	page   *feed.Page
	liked  bool
	faults []*fault
}

// resolve calls the services: concurrently for pages, one after another for batches.
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
					x.fail(i, newFault(Internal, internalMessage))
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

// feed fetches a page.
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
	if text, _ := args["client"].(string); text != "" {
		var err error
		if r.client, err = imagelink.ParseClient(text, r.client); err != nil {
			return newFault(BadInput, fmt.Sprintf("client: %v.", err))
		}
	}
	page, err := x.cfg.Feed.Page(ctx, q)
	if err != nil {
		x.logFailure(ctx, err)
		return upstream(err, feed.FeedService)
	}
	r.page = &page
	for _, missing := range page.Faults {
		x.logFailure(ctx, missing)
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

// logFailure logs the error of a service, which clients do not see.
func (x *run) logFailure(ctx context.Context, err error) {
	if !errors.Is(ctx.Err(), context.Canceled) {
		x.cfg.Log.DebugContext(ctx, "service call failed", "err", err)
	}
}

// like sends a batch of likes.
func (x *run) like(ctx context.Context, n *node, i int) *fault {
	if x.who.user == "" {
		return newFault(Unauthenticated, "Liking requires a user: send Authorization: Bearer with a token.")
	}
	ids, f := idsArgument(n.field.ArgumentMap(x.vars), "postIds")
	if f != nil {
		return f
	}
	err := x.cfg.Feed.Like(
		ctx,
		feed.Likes{User: x.who.user, Posts: ids, Like: n.name == "batchLike", Key: x.who.batchKey(i)},
	)
	if err != nil {
		x.logFailure(ctx, err)
		return upstream(err, feed.ContentService)
	}
	return nil
}

// batchKey returns the idempotency key of the batch of a field. It derives it from the header
// Idempotency-Key, within the scope of the user. Without the header every key is new, because the
// same batch may be intended again after an unlike.
func (c caller) batchKey(field int) string {
	if c.key == "" {
		return rand.Text()
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %d", c.user, c.key, field))
	return hex.EncodeToString(sum[:16])
}
