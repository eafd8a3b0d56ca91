package graph

import (
	"fmt"
	"math"

	"github.com/novasocial/imagetier/gateway/feed"
)

// The parser accepts some values of other types for an Int or a String, so the arguments are
// checked here.

// intArgument returns an Int, or nil if it is null or absent. A value out of range is clamped, as
// limits are clamped anyway.
func intArgument(args map[string]any, name string) (*int32, *fault) {
	var n int32
	switch v := args[name].(type) {
	case nil:
		return nil, nil
	case int64:
		n = clamped(v)
	case float64:
		if v != math.Trunc(v) {
			return nil, newFault(BadInput, fmt.Sprintf("%s: %v is not an Int.", name, v))
		}
		n = int32(min(max(v, math.MinInt32), math.MaxInt32))
	default:
		return nil, newFault(BadInput, fmt.Sprintf("%s: want an Int.", name))
	}
	return &n, nil
}

// clamped limits a number to the range of a GraphQL Int.
func clamped(n int64) int32 { return int32(min(max(n, math.MinInt32), math.MaxInt32)) }

// idsArgument returns 1 to [feed.MaxLikes] distinct post IDs. A single value is a list of one.
func idsArgument(args map[string]any, name string) ([]string, *fault) {
	var given []any
	switch v := args[name].(type) {
	case []any:
		given = v
	case []string:
		for _, one := range v {
			given = append(given, one)
		}
	default:
		given = []any{v}
	}
	seen := make(map[string]struct{}, len(given))
	ids := make([]string, 0, min(len(given), feed.MaxLikes))
	for _, one := range given {
		id, ok := one.(string)
		if !ok || id == "" || len(id) > maxIDLength {
			return nil, newFault(
				BadInput,
				fmt.Sprintf("%s: an ID must be a String of 1 to %d bytes.", name, maxIDLength),
			)
		}
		if _, again := seen[id]; !again {
			seen[id] = struct{}{}
			ids = append(ids, id)
		}
	}
	if n := len(ids); n < 1 || n > feed.MaxLikes {
		return nil, newFault(BadInput, fmt.Sprintf("%s: got %d IDs, want 1 to %d.", name, n, feed.MaxLikes))
	}
	return ids, nil
}
