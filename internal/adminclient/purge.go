package adminclient

import (
	"context"
	"encoding/json"
	"net/http"
)

// Target names what to remove: an original by Source and Name, one variant by Path, or
// all originals with a Tag.
type Target struct {
	Source string `json:"source,omitempty"`
	Name   string `json:"name,omitempty"`
	Path   string `json:"path,omitempty"`
	Tag    string `json:"tag,omitempty"`
	Soft   bool   `json:"soft,omitempty"`    // purge: only make it stale
	DryRun bool   `json:"dry_run,omitempty"` // purge: only say what it would remove
}

// Receipt says what has been removed, and on how many nodes.
type Receipt struct {
	Variants, Originals int
	Bytes               int64
	Nodes               struct{ Applied, Known int }
	Superseded          bool   // a newer takedown or lift of the original holds instead
	Waiting             string // why the other nodes have not been notified yet

	JSON json.RawMessage `json:"-"` // the answer
}

// Purge removes images.
func (c Client) Purge(ctx context.Context, target Target) (Receipt, error) {
	return c.remove(ctx, http.MethodPost, "/v1/purge", target)
}

// Takedown removes originals and everything made of them, and keeps them removed.
func (c Client) Takedown(ctx context.Context, target Target) (Receipt, error) {
	return c.remove(ctx, http.MethodPost, "/v1/takedown", target)
}

// Lift ends a takedown.
func (c Client) Lift(ctx context.Context, target Target) (Receipt, error) {
	return c.remove(ctx, http.MethodDelete, "/v1/takedown", target)
}

func (c Client) remove(ctx context.Context, method, path string, target Target) (r Receipt, err error) {
	r.JSON, err = c.call(ctx, method, path, target, &r)
	return r, err
}
