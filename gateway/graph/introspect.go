package graph

import (
	"maps"
	"slices"

	"github.com/vektah/gqlparser/v2/ast"
)

// Introspection is for tools that complete and check queries. It is enabled by Config.Dev.

// introspect writes __schema or __type.
func (x *run) introspect(w *writer, n *node) {
	i := introspection{writer: w, schema: x.schema, vars: x.vars}
	if n.name == "__schema" {
		i.root(n.sub)
		return
	}
	name, _ := n.field.ArgumentMap(x.vars)["name"].(string)
	if def := x.schema.Types[name]; def != nil {
		i.definition(n.sub, def)
	} else {
		w.raw("null")
	}
}

type introspection struct {
	*writer
	schema *ast.Schema
	vars   map[string]any
}

func (i *introspection) root(nodes []node) {
	i.object("__Schema", nodes, func(n *node) {
		switch n.name {
		case "description":
			i.orNull(i.schema.Description)
		case "types":
			list(
				i,
				slices.Sorted(maps.Keys(i.schema.Types)),
				func(name string) { i.definition(n.sub, i.schema.Types[name]) },
			)
		case "queryType":
			i.definition(n.sub, i.schema.Query)
		case "mutationType":
			i.definition(n.sub, i.schema.Mutation)
		case "directives":
			list(
				i,
				slices.Sorted(maps.Keys(i.schema.Directives)),
				func(name string) { i.directive(n.sub, i.schema.Directives[name]) },
			)
		default: // subscriptionType
			i.raw("null")
		}
	})
}

// list writes an array.
func list[T any](i *introspection, items []T, write func(T)) {
	i.raw("[")
	for at, item := range items {
		if at > 0 {
			i.raw(",")
		}
		write(item)
	}
	i.raw("]")
}

// typ writes the type of a field or an argument, with its wrapping list and non-null types.
func (i *introspection) typ(nodes []node, t *ast.Type) {
	if !t.NonNull && t.Elem == nil {
		i.definition(nodes, i.schema.Types[t.NamedType])
		return
	}
	i.object("__Type", nodes, func(n *node) {
		switch {
		case n.name == "kind" && t.NonNull:
			i.string("NON_NULL")
		case n.name == "kind":
			i.string("LIST")
		case n.name == "ofType" && t.NonNull:
			i.typ(n.sub, &ast.Type{NamedType: t.NamedType, Elem: t.Elem})
		case n.name == "ofType":
			i.typ(n.sub, t.Elem)
		default:
			i.raw("null")
		}
	})
}

func (i *introspection) definition(nodes []node, d *ast.Definition) {
	i.object("__Type", nodes, func(n *node) {
		switch {
		case n.name == "kind":
			i.string(string(d.Kind))
		case n.name == "name":
			i.string(d.Name)
		case n.name == "description":
			i.orNull(d.Description)
		case n.name == "fields" && d.Kind == ast.Object:
			list(
				i,
				slices.DeleteFunc(slices.Clone(d.Fields), func(f *ast.FieldDefinition) bool {
					return f.Name[0] == '_'
				}),
				func(f *ast.FieldDefinition) { i.field(n.sub, f) },
			)
		case n.name == "interfaces" && d.Kind == ast.Object: // no Object of the schema implements an interface
			i.raw("[]")
		case n.name == "enumValues" && d.Kind == ast.Enum:
			list(i, d.EnumValues, func(v *ast.EnumValueDefinition) { i.enumValue(n.sub, v) })
		default:
			i.raw("null")
		}
	})
}

func (i *introspection) field(nodes []node, f *ast.FieldDefinition) {
	i.object("__Field", nodes, func(n *node) {
		switch n.name {
		case "args":
			list(i, f.Arguments, func(a *ast.ArgumentDefinition) { i.argument(n.sub, a) })
		case "type":
			i.typ(n.sub, f.Type)
		default:
			i.common(n, f.Name, f.Description)
		}
	})
}

func (i *introspection) argument(nodes []node, a *ast.ArgumentDefinition) {
	i.object("__InputValue", nodes, func(n *node) {
		switch {
		case n.name == "type":
			i.typ(n.sub, a.Type)
		case n.name == "defaultValue" && a.DefaultValue != nil:
			i.string(a.DefaultValue.String())
		default:
			i.common(n, a.Name, a.Description)
		}
	})
}

func (i *introspection) enumValue(nodes []node, v *ast.EnumValueDefinition) {
	i.object("__EnumValue", nodes, func(n *node) { i.common(n, v.Name, v.Description) })
}

func (i *introspection) directive(nodes []node, d *ast.DirectiveDefinition) {
	i.object("__Directive", nodes, func(n *node) {
		switch n.name {
		case "locations":
			list(i, d.Locations, func(l ast.DirectiveLocation) { i.string(string(l)) })
		case "args":
			list(i, d.Arguments, func(a *ast.ArgumentDefinition) { i.argument(n.sub, a) })
		case "isRepeatable":
			i.bool(d.IsRepeatable)
		default:
			i.common(n, d.Name, d.Description)
		}
	})
}

// common writes the fields that all introspection types share.
func (i *introspection) common(n *node, name, description string) {
	switch n.name {
	case "name":
		i.string(name)
	case "description":
		i.orNull(description)
	case "isDeprecated":
		i.raw("false") // nothing is
	default:
		i.raw("null")
	}
}
