package graph

import (
	"fmt"

	"github.com/vektah/gqlparser/v2/ast"
)

// plan is an operation ready to be answered: fragments are expanded, fields of one name are
// merged, and skipped ones removed.
type plan struct {
	operation *ast.OperationDefinition
	root      []node
	calls     int // fields of root that call a service
}

// node is a field of an object in the answer.
type node struct {
	key   string // as written, "name":
	alias string
	name  string // of the field
	field *ast.Field
	sub   []node
	// Of root fields: the fields below it that occur once, and once per post.
	once, perPost int
}

// plan returns the plan of an operation for coerced variables.
func (doc *document) plan(op *ast.OperationDefinition, vars map[string]any) (*plan, *fault) {
	doc.mu.Lock()
	p := doc.plans[op.Name]
	doc.mu.Unlock()
	if p != nil {
		return p, nil
	}
	m := planner{vars: vars, cacheable: true}
	p = &plan{operation: op, root: m.merged(m.fields(nil, op.SelectionSet))}
	for i := range p.root {
		n := &p.root[i]
		n.once, n.perPost = n.count()
		if n.name[0] != '_' {
			p.calls++
		}
	}
	if p.calls > maxCalls {
		return nil, newFault(
			BadInput,
			fmt.Sprintf("A request may have at most %d feed, batchLike or batchUnlike fields; this one has %d.",
				maxCalls, p.calls),
		)
	}
	if m.cacheable {
		doc.mu.Lock()
		doc.plans[op.Name] = p
		doc.mu.Unlock()
	}
	return p, nil
}

// planner builds one plan.
type planner struct {
	vars      map[string]any
	cacheable bool // the plan does not depend on vars
}

// fields appends the fields of a set that are not skipped, with fragments expanded. The schema has
// no interfaces or unions, so every valid fragment applies.
func (m *planner) fields(dst []*ast.Field, set ast.SelectionSet) []*ast.Field {
	for _, selection := range set {
		switch s := selection.(type) {
		case *ast.Field:
			if m.wanted(s.Directives) {
				dst = append(dst, s)
			}
		case *ast.InlineFragment:
			if m.wanted(s.Directives) {
				dst = m.fields(dst, s.SelectionSet)
			}
		case *ast.FragmentSpread:
			if m.wanted(s.Directives) {
				dst = m.fields(dst, s.Definition.SelectionSet)
			}
		}
	}
	return dst
}

// merged returns one node per response name. Validation has ensured that fields of one name are
// the same field with the same arguments.
func (m *planner) merged(fields []*ast.Field) (nodes []node) {
	at := map[string]int{}
	var subs [][]*ast.Field
	for _, f := range fields {
		i, there := at[f.Alias]
		if !there {
			i = len(nodes)
			at[f.Alias] = i
			nodes = append(nodes, node{key: `"` + f.Alias + `":`, alias: f.Alias, name: f.Name, field: f})
			subs = append(subs, nil)
		}
		subs[i] = m.fields(subs[i], f.SelectionSet)
	}
	for i := range nodes {
		nodes[i].sub = m.merged(subs[i])
	}
	return nodes
}

// wanted evaluates @skip and @include.
func (m *planner) wanted(directives ast.DirectiveList) bool {
	for _, d := range directives {
		if d.Name != "skip" && d.Name != "include" {
			continue
		}
		arg := d.Arguments.ForName("if")
		if arg == nil {
			continue
		}
		if arg.Value.Kind == ast.Variable {
			m.cacheable = false
		}
		value, _ := arg.Value.Value(m.vars)
		if is, _ := value.(bool); is == (d.Name == "skip") {
			return false
		}
	}
	return true
}

// find returns the first node with a field name, or nil.
func find(nodes []node, name string) *node {
	for i := range nodes {
		if nodes[i].name == name {
			return &nodes[i]
		}
	}
	return nil
}
