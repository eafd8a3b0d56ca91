package graph

import (
	"fmt"

	"github.com/novasocial/imagetier/gateway/budget"
	"github.com/novasocial/imagetier/gateway/feed"
)

// cost returns the cost of a plan: the number of values in the largest possible answer. A field
// of a post or an author counts once per post. Aliases count: they make the answer longer.
func (p *plan) cost(vars map[string]any) int {
	total := 0
	for i := range p.root {
		n := &p.root[i]
		posts := 0
		if n.name == "feed" {
			limit, _ := intArgument(n.field.ArgumentMap(vars), "limit") // a fault is found again by feed
			posts = feed.Limit(limit)
		}
		total += 1 + n.once + n.perPost*posts
	}
	return total
}

// count returns how many fields below a node occur once, and how many once per post.
func (n *node) count() (once, perPost int) {
	for i := range n.sub {
		sub := &n.sub[i]
		o, p := sub.count()
		if n.name == "posts" {
			perPost += 1 + o + p
		} else {
			once, perPost = once+1+o, perPost+p
		}
	}
	return once, perPost
}

// checkCost refuses a plan that costs too much.
func (h *Handler) checkCost(p *plan, vars map[string]any) *fault {
	cost := p.cost(vars)
	if cost <= h.cfg.MaxCost {
		return nil
	}
	return newFault(BadInput, fmt.Sprintf(
		"The query costs %d, the maximum is %d (--max-query-cost). "+
			"Every field counts as often as it can occur in the answer: request fewer fields or a smaller limit.",
		cost, h.cfg.MaxCost))
}

// room is the memory of one answer.
type room struct {
	memory *budget.Budget
	held   int64 // of memory
	max    int   // bytes of the answer
	refused
}

// buffer returns pooled, emptied, if there is room for it.
func (r *room) buffer(pooled []byte) []byte {
	if size := int64(cap(pooled)); r.memory.Take(0, size) {
		r.held = size
		return pooled[:0]
	}
	return nil
}

// refused is why an answer is not completed.
type refused struct{ tooLarge, overloaded bool }

func (r refused) any() bool { return r.tooLarge || r.overloaded }

// allows reports whether an answer of length bytes, in a buffer of size bytes, may be continued.
func (r *room) allows(length, size int) bool {
	switch {
	case r.any():
	case length > r.max:
		r.tooLarge = true
	case int64(size) > r.held:
		if r.overloaded = !r.memory.Take(r.held, int64(size)); !r.overloaded {
			r.held = int64(size)
		}
	}
	return !r.any()
}

// fault returns why an answer was not completed; nil if it was.
func (r *room) fault() *fault {
	switch {
	case r.tooLarge:
		return newFault(BadInput, fmt.Sprintf(
			"The answer would have more than %d bytes (--max-answer-bytes): request fewer fields or a smaller limit.", r.max))
	case r.overloaded:
		return newFault(Overloaded, "Too many answers are being written (--answers-memory-size). Try again later.")
	}
	return nil
}
