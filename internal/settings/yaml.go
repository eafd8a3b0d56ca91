package settings

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// fromFile reads a YAML file. err is that it could not be read, faults are in its text.
func (s *Schema) fromFile(path string) (l layer, faults Faults, err error) {
	l = newLayer(FromFile)
	text, err := readFile("settings", path, 1<<20)
	if err != nil {
		return l, nil, err
	}
	y := &yamlReader{schema: s, path: path, layer: l, keys: s.keys()}
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		// The error's own text shows the lines around it, which may contain a secret.
		where := path
		var at yaml.Error
		if errors.As(err, &at) && at.GetToken() != nil {
			where = position(path, at.GetToken().Position)
			err = errors.New(at.GetMessage())
		}
		return l, Faults{{where, fmt.Errorf("not YAML: %w", err)}}, nil
	}
	documents := 0
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.NullType || doc.Body.Type() == ast.CommentType {
			continue
		}
		if documents++; documents > 1 {
			y.fault(doc.Body, "second YAML document; settings are one document")
			continue
		}
		y.mapping("", doc.Body)
	}
	return l, y.faults, nil
}

// pipeTimeout bounds the read of a file that is a pipe, as with --keys-file <(program).
const pipeTimeout = 10 * time.Second

// readFile reads a file of at most size bytes. kind says in errors what it holds. A FIFO that has no writer is
// empty.
func readFile(kind, path string, size int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // opening a FIFO would block
	if err != nil {
		return nil, fmt.Errorf("open %s file: %w", kind, err)
	}
	defer f.Close()
	_ = f.SetReadDeadline(time.Now().Add(pipeTimeout)) // an error means that it is not a pipe
	b, err := io.ReadAll(io.LimitReader(f, size+1))
	if err != nil {
		return nil, fmt.Errorf("read %s file: %w", kind, err)
	}
	if int64(len(b)) > size {
		return nil, fmt.Errorf("%s is larger than %s", path, FormatSize(size))
	}
	return b, nil
}

func position(path string, at *token.Position) string {
	return fmt.Sprintf("%s:%d:%d", path, at.Line, at.Column)
}

// yamlReader collects settings from nested mappings. A dotted key is the same as nested ones: cache.disk.size.
type yamlReader struct {
	schema *Schema
	path   string
	layer  layer
	keys   []string // known YAML keys
	faults Faults
}

func (y *yamlReader) at(n ast.Node) string {
	if n == nil || n.GetToken() == nil {
		return y.path
	}
	return position(y.path, n.GetToken().Position)
}

func (y *yamlReader) fault(n ast.Node, format string, args ...any) {
	y.faults = append(y.faults, Fault{y.at(n), fmt.Errorf(format, args...)})
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
		y.fault(n, "want keys and values, like cache.disk.size: 50GiB")
	}
}

func (y *yamlReader) pair(parent string, pair *ast.MappingValueNode) {
	key, ok := scalar(pair.Key)
	if !ok {
		y.fault(pair.Key, "want a plain word as key")
		return
	}
	if parent != "" {
		key = parent + "." + key
	}
	children := y.below(key)
	isParent := len(children) > 0
	isMapping := pair.Value.Type() == ast.MappingType || pair.Value.Type() == ast.MappingValueType
	switch name, known := y.name(key); {
	case known:
		y.value(key, name, pair)
	case isParent && isMapping:
		y.mapping(key, pair.Value)
	case isParent && pair.Value.Type() == ast.NullType:
		y.fault(pair.Key, "%s is empty", key)
	case isParent:
		y.fault(pair.Key, "%s cannot have a value; it contains %s", key, strings.Join(children, ", "))
	default:
		y.fault(pair.Key, "%s: %w", key, unknown(key, y.keys))
	}
}

// name returns the setting with that key.
func (y *yamlReader) name(key string) (string, bool) {
	for _, name := range y.schema.names() {
		if name != ConfigName && y.schema.Key(name) == key {
			return name, true
		}
	}
	return "", false
}

// below returns the known keys within key.
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
		y.fault(pair.Key, "%s is a duplicate of %s", key, before)
		return
	}
	y.layer.at[name] = y.at(pair.Key)
	var values []string
	switch v := pair.Value.(type) {
	case *ast.NullNode:
		y.fault(pair.Key, "%s has no value", key)
		return
	case *ast.SequenceNode:
		if !y.schema.isList(name) {
			y.fault(v, "%s takes one value, not a list", key)
			return
		}
		for _, item := range v.Values {
			value, ok := scalar(item)
			if !ok {
				y.fault(item, "%s: want a plain value as item", key)
				return
			}
			values = append(values, value)
		}
		if values == nil {
			values = []string{""}
		}
	default:
		value, ok := scalar(v)
		if !ok {
			y.fault(v, "%s: want a plain value", key)
			return
		}
		values = []string{value}
	}
	y.layer.values[name] = values
}

// scalar returns a scalar as it is written: 010 stays "010".
func scalar(n any) (string, bool) {
	switch v := n.(type) {
	case *ast.StringNode:
		return v.Value, true
	case *ast.LiteralNode:
		return strings.TrimSpace(v.Value.Value), true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return v.(ast.Node).GetToken().Value, true
	case *ast.TagNode:
		return scalar(v.Value)
	}
	return "", false
}
