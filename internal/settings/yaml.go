package settings

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxFile is how long a file of settings may be, in bytes.
const maxFile = 1 << 20

func (s *Schema) fromFile(r *Resolved, path string, from Place) layer {
	l := newLayer(File)
	text, err := readFile(path)
	if err != nil {
		r.Fault(ConfigName, from, err)
		return l
	}
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		// The error's own text shows the lines around it, which may hold a secret.
		where := path
		var at yaml.Error
		if errors.As(err, &at) && at.GetToken() != nil {
			where = place(path, at.GetToken().Position.Line, at.GetToken().Position.Column)
			err = errors.New(at.GetMessage())
		}
		r.faults = append(r.faults, Fault{where, fmt.Errorf("not YAML: %w", err)})
		return l
	}
	y := &yamlReader{schema: s, path: path, layer: l, keys: s.keys(), fault: func(f Fault) { r.faults = append(r.faults, f) }}
	documents := 0
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.NullType || doc.Body.Type() == ast.CommentType {
			continue
		}
		if documents++; documents > 1 {
			y.say(doc.Body, "a second document; settings are one")
			continue
		}
		y.mapping("", doc.Body)
	}
	return l
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the file of settings: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the file of settings: %w", err)
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("%s has more than %s", path, FormatSize(maxFile))
	}
	return b, nil
}

func place(path string, line, column int) string {
	return fmt.Sprintf("%s:%d:%d", path, line, column)
}

// yamlReader takes settings out of a tree of mappings. A key may be written in one piece
// too: cache.disk.size at the top is size within disk within cache.
type yamlReader struct {
	schema *Schema
	path   string
	layer  layer
	keys   []string
	fault  func(Fault)
}

func (y *yamlReader) at(n ast.Node) string {
	if n == nil || n.GetToken() == nil {
		return y.path
	}
	p := n.GetToken().Position
	return place(y.path, p.Line, p.Column)
}

func (y *yamlReader) say(n ast.Node, format string, args ...any) {
	y.fault(Fault{y.at(n), fmt.Errorf(format, args...)})
}

func (y *yamlReader) mapping(parent string, n ast.Node) {
	switch m := n.(type) {
	case *ast.MappingNode:
		for _, pair := range m.Values {
			y.pair(parent, pair)
		}
	case *ast.MappingValueNode:
		y.pair(parent, m)
	default:
		y.say(n, "want keys and values, like cache.disk.size: 50GiB")
	}
}

func (y *yamlReader) pair(parent string, pair *ast.MappingValueNode) {
	key, ok := text(pair.Key)
	if !ok {
		y.say(pair.Key, "a key is a plain word")
		return
	}
	if parent != "" {
		key = parent + "." + key
	}
	isParent := slices.ContainsFunc(y.keys, func(known string) bool { return strings.HasPrefix(known, key+".") })
	isMapping := pair.Value.Type() == ast.MappingType || pair.Value.Type() == ast.MappingValueType
	switch name, known := y.name(key); {
	case known:
		y.value(key, name, pair)
	case isParent && isMapping:
		y.mapping(key, pair.Value)
	case isParent && pair.Value.Type() == ast.NullType:
		y.say(pair.Key, "%s is empty", key)
	case isParent:
		y.say(pair.Key, "%s has no value of its own; it holds %s", key, strings.Join(y.below(key), ", "))
	default:
		y.say(pair.Key, "%s: %w", key, unknown(key, y.keys))
	}
}

func (y *yamlReader) name(key string) (string, bool) {
	for _, name := range y.schema.names() {
		if name != ConfigName && y.schema.Key(name) == key {
			return name, true
		}
	}
	return "", false
}

func (y *yamlReader) below(key string) []string {
	var keys []string
	for _, known := range y.keys {
		if strings.HasPrefix(known, key+".") {
			keys = append(keys, known)
		}
	}
	return keys
}

func (y *yamlReader) value(key, name string, pair *ast.MappingValueNode) {
	if before, twice := y.layer.at[name]; twice {
		y.say(pair.Key, "%s was given before, at %s", key, before)
		return
	}
	y.layer.at[name] = y.at(pair.Key)
	var values []string
	switch v := pair.Value.(type) {
	case *ast.NullNode:
		y.say(pair.Key, "%s has no value", key)
		return
	case *ast.SequenceNode:
		if !y.schema.isList(name) {
			y.say(v, "%s is one value, not a list", key)
			return
		}
		for _, item := range v.Values {
			value, ok := text(item)
			if !ok {
				y.say(item, "%s: an item is a plain value", key)
				return
			}
			values = append(values, value)
		}
		if values == nil {
			values = []string{""}
		}
	default:
		value, ok := text(v)
		if !ok {
			y.say(v, "%s wants a plain value", key)
			return
		}
		values = []string{value}
	}
	y.layer.values[name] = values
}

// text returns a plain value as it is written: 010 is 010 and no number.
func text(n any) (string, bool) {
	switch v := n.(type) {
	case *ast.StringNode:
		return v.Value, true
	case *ast.LiteralNode:
		return strings.TrimSpace(v.Value.Value), true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return v.(ast.Node).GetToken().Value, true
	case *ast.TagNode:
		return text(v.Value)
	}
	return "", false
}
