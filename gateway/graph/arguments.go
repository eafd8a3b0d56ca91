package graph

import (
	"fmt"
	"math"

	"github.com/novasocial/imagetier/gateway/feed"
)

// The parser takes some values for an Int or a String that are none: what it gives is looked
// at here.

// intArgument returns an Int, or nil if it is null or not there. What no Int can hold is
// brought to the nearest one: limits are clamped anyway (G9), and never wrap.
func intArgument(args map[string]any, name string) (*int32, *fault) {
	var n int32
	switch v := args[name].(type) {
	case nil:
		return nil, nil
	case int64:
		n = clamped(v)
	case float64:
		if v != math.Trunc(v) {
			return nil, newFault(BadInput, fmt.Sprintf("%s: %v is no Int.", name, v))
		}
		n = int32(min(max(v, math.MinInt32), math.MaxInt32))
	default:
		return nil, newFault(BadInput, fmt.Sprintf("%s: want an Int.", name))
	}
	return &n, nil
}

// clamped brings a number into the range of GraphQL's Int (G17).
func clamped(n int64) int32 { return int32(min(max(n, math.MinInt32), math.MaxInt32)) }

// idsArgument returns ids of posts: 1 to feed.MaxLikes, none twice (G20). One alone is a list
// of one.
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
			return nil, newFault(BadInput, fmt.Sprintf("%s: an id is a String of 1 to %d bytes.", name, maxIDLength))
		}
		if _, again := seen[id]; !again {
			seen[id] = struct{}{}
			ids = append(ids, id)
		}
	}
	if n := len(ids); n < 1 || n > feed.MaxLikes {
		return nil, newFault(BadInput, fmt.Sprintf("%s: there are %d, allowed are 1 to %d.", name, n, feed.MaxLikes))
	}
	return ids, nil
}
