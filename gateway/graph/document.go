package graph

import (
	"fmt"
	"strings"
	"sync"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"
)

// Bounds of the documents that are kept: an app sends the same few for ever. A parsed one
// takes some twenty times its text.
const (
	maxKept     = 256
	maxKeptText = 4 << 10 // bytes of one
)

// document is a query's text, parsed and found good. It never changes, but for plans.
type document struct {
	operations ast.OperationList

	mu    sync.Mutex
	plans map[string]*plan // by the operation's name; those that are the same for all variables
}

// documents reads queries, and keeps those that were good.
type documents struct {
	schema *ast.Schema
	dev    bool
	depth  int
	rules  *rules.Rules

	mu   sync.RWMutex
	kept map[string]*document
}

func newDocuments(schema *ast.Schema, dev bool) *documents {
	d := &documents{schema: schema, dev: dev, depth: maxDepth, rules: rules.NewDefaultRules(), kept: map[string]*document{}}
	if dev {
		d.depth = maxDepthDev
		return d
	}
	// Who may not ask for the schema is not told of it by suggestions either.
	d.rules.ReplaceRule(rules.FieldsOnCorrectTypeRule.Name, rules.FieldsOnCorrectTypeRuleWithoutSuggestions.RuleFunc)
	d.rules.ReplaceRule(rules.KnownArgumentNamesRule.Name, rules.KnownArgumentNamesRuleWithoutSuggestions.RuleFunc)
	d.rules.ReplaceRule(rules.KnownTypeNamesRule.Name, rules.KnownTypeNamesRuleWithoutSuggestions.RuleFunc)
	d.rules.ReplaceRule(rules.ScalarLeafsRule.Name, rules.ScalarLeafsRuleWithoutSuggestions.RuleFunc)
	d.rules.ReplaceRule(rules.ValuesOfCorrectTypeRule.Name, rules.ValuesOfCorrectTypeRuleWithoutSuggestions.RuleFunc)
	return d
}

// read returns the document of a text.
func (d *documents) read(text string) (*document, []*fault) {
	d.mu.RLock()
	doc := d.kept[text]
	d.mu.RUnlock()
	if doc != nil {
		return doc, nil
	}
	if len(text) > maxQuery {
		return nil, []*fault{newFault(BadInput, fmt.Sprintf("The query has %d bytes, allowed are %d.", len(text), maxQuery))}
	}
	parsed, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: text}, maxTokens)
	if err != nil {
		return nil, parsing(err)
	}
	// Bounds come before rules: some of those compare each field with each other one.
	if f := d.bounded(parsed); f != nil {
		return nil, []*fault{f}
	}
	if errs := validator.ValidateWithRules(d.schema, parsed, d.rules); len(errs) > 0 {
		return nil, parsing(errs[:min(len(errs), 10)])
	}
	doc = &document{operations: parsed.Operations, plans: map[string]*plan{}}
	if len(text) <= maxKeptText {
		d.mu.Lock()
		if len(d.kept) >= maxKept {
			clear(d.kept)
		}
		d.kept[strings.Clone(text)] = doc
		d.mu.Unlock()
	}
	return doc, nil
}

// bounded returns what a document has too much of.
func (d *documents) bounded(doc *ast.QueryDocument) *fault {
	b := bounds{documents: d, fragments: doc.Fragments}
	for _, op := range doc.Operations {
		if f := b.walk(op.SelectionSet, 1); f != nil {
			return f
		}
	}
	for _, fragment := range doc.Fragments { // also those that nothing spreads: rules look at them
		if f := b.walk(fragment.SelectionSet, 1); f != nil {
			return f
		}
	}
	return nil
}

type bounds struct {
	*documents
	fragments ast.FragmentDefinitionList
	n         int // selections so far
}

// walk looks at a set with its fragments spread. One that is in itself ends it by being too
// many fields.
func (b *bounds) walk(set ast.SelectionSet, depth int) *fault {
	for _, selection := range set {
		if b.n++; b.n > maxSelections {
			return newFault(BadInput, fmt.Sprintf("The query selects more than %d fields.", maxSelections))
		}
		var f *fault
		switch s := selection.(type) {
		case *ast.Field:
			if strings.HasPrefix(s.Name, "__") && s.Name != "__typename" && !b.dev {
				f = newFault(Invalid, "Introspection is off here.")
				f.Locations = []gqlerror.Location{{Line: s.Position.Line, Column: s.Position.Column}}
				return f
			}
			if depth > b.depth {
				return newFault(BadInput, fmt.Sprintf("The query is nested deeper than %d fields.", b.depth))
			}
			f = b.walk(s.SelectionSet, depth+1)
		case *ast.InlineFragment:
			f = b.walk(s.SelectionSet, depth)
		case *ast.FragmentSpread:
			if of := b.fragments.ForName(s.Name); of != nil {
				f = b.walk(of.SelectionSet, depth)
			}
		}
		if f != nil {
			return f
		}
	}
	return nil
}

// operation returns the operation that a request names.
func (doc *document) operation(name string) (*ast.OperationDefinition, *fault) {
	switch {
	case name == "" && len(doc.operations) == 1:
		return doc.operations[0], nil
	case name == "":
		return nil, newFault(BadInput, fmt.Sprintf("There are %d operations in the query: operationName must say which.", len(doc.operations)))
	}
	if op := doc.operations.ForName(name); op != nil {
		return op, nil
	}
	return nil, newFault(BadInput, fmt.Sprintf("There is no operation %.100q in the query.", name))
}
