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

// Limits of the document cache: an app sends the same few queries. A parsed document takes about
// twenty times the memory of its text.
const (
	maxCached     = 256
	maxCachedText = 4 << 10 // bytes of one
)

// document is a parsed and valid query. It is immutable except for plans.
type document struct {
	operations ast.OperationList

	mu    sync.Mutex
	plans map[string]*plan // by operation name; only plans that do not depend on variables
}

// documents parses queries, and caches valid ones.
type documents struct {
	schema *ast.Schema
	dev    bool
	depth  int
	rules  *rules.Rules

	mu    sync.RWMutex
	cache map[string]*document
}

func newDocuments(schema *ast.Schema, dev bool) *documents {
	d := &documents{
		schema: schema,
		dev:    dev,
		depth:  maxDepth,
		rules:  rules.NewDefaultRules(),
		cache:  map[string]*document{},
	}
	if dev {
		d.depth = maxDepthDev
		return d
	}
	// Without introspection, suggestions must not reveal the schema either.
	d.rules.ReplaceRule(rules.FieldsOnCorrectTypeRule.Name, rules.FieldsOnCorrectTypeRuleWithoutSuggestions.RuleFunc)
	d.rules.ReplaceRule(rules.KnownArgumentNamesRule.Name, rules.KnownArgumentNamesRuleWithoutSuggestions.RuleFunc)
	d.rules.ReplaceRule(rules.KnownTypeNamesRule.Name, rules.KnownTypeNamesRuleWithoutSuggestions.RuleFunc)
	d.rules.ReplaceRule(rules.ScalarLeafsRule.Name, rules.ScalarLeafsRuleWithoutSuggestions.RuleFunc)
	d.rules.ReplaceRule(rules.ValuesOfCorrectTypeRule.Name, rules.ValuesOfCorrectTypeRuleWithoutSuggestions.RuleFunc)
	return d
}

// parse returns the document of a query text.
func (d *documents) parse(text string) (*document, []*fault) {
	d.mu.RLock()
	doc := d.cache[text]
	d.mu.RUnlock()
	if doc != nil {
		return doc, nil
	}
	if len(text) > maxQuery {
		return nil, []*fault{
			newFault(BadInput, fmt.Sprintf("The query has %d bytes, the maximum is %d.", len(text), maxQuery)),
		}
	}
	parsed, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: text}, maxTokens)
	if err != nil {
		return nil, parserFaults(err)
	}
	// Limits come before validation, because some rules compare every pair of fields.
	if f := d.checkLimits(parsed); f != nil {
		return nil, []*fault{f}
	}
	if errs := validator.ValidateWithRules(d.schema, parsed, d.rules); len(errs) > 0 {
		return nil, parserFaults(errs[:min(len(errs), 10)])
	}
	doc = &document{operations: parsed.Operations, plans: map[string]*plan{}}
	if len(text) <= maxCachedText {
		d.mu.Lock()
		if len(d.cache) >= maxCached {
			clear(d.cache)
		}
		d.cache[strings.Clone(text)] = doc
		d.mu.Unlock()
	}
	return doc, nil
}

// checkLimits checks a document against the limits.
func (d *documents) checkLimits(doc *ast.QueryDocument) *fault {
	b := limitChecker{documents: d, fragments: doc.Fragments}
	for _, op := range doc.Operations {
		if f := b.walk(op.SelectionSet, 1); f != nil {
			return f
		}
	}
	for _, fragment := range doc.Fragments { // unused ones, too: they are validated
		if f := b.walk(fragment.SelectionSet, 1); f != nil {
			return f
		}
	}
	return nil
}

type limitChecker struct {
	*documents
	fragments ast.FragmentDefinitionList
	n         int // selections so far
}

// walk checks a selection set with its fragments expanded. A recursive fragment ends at the limit
// of fields.
func (b *limitChecker) walk(set ast.SelectionSet, depth int) *fault {
	for _, selection := range set {
		if b.n++; b.n > maxSelections {
			return newFault(BadInput, fmt.Sprintf("The query selects more than %d fields.", maxSelections))
		}
		var f *fault
		switch s := selection.(type) {
		case *ast.Field:
			if strings.HasPrefix(s.Name, "__") && s.Name != "__typename" && !b.dev {
				f = newFault(Invalid, "Introspection is disabled.")
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

// operation returns the operation with a name; "" is the only one.
func (doc *document) operation(name string) (*ast.OperationDefinition, *fault) {
	switch {
	case name == "" && len(doc.operations) == 1:
		return doc.operations[0], nil
	case name == "":
		return nil, newFault(
			BadInput,
			fmt.Sprintf("The query has %d operations: set operationName to one of them.", len(doc.operations)),
		)
	}
	if op := doc.operations.ForName(name); op != nil {
		return op, nil
	}
	return nil, newFault(BadInput, fmt.Sprintf("The query has no operation %.100q.", name))
}
