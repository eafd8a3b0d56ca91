package httpapi

import (
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
)

// recentMax is how many errors of each kind, and how many changes, are kept.
const recentMax = 50

// recent keeps the last recentMax values. It is safe for concurrent use, and its zero value is empty.
type recent[T any] struct {
	mu   sync.Mutex // guards all below
	kept []T        // a ring
	next int        // where the next value goes, once kept is full
}

func (r *recent[T]) add(value T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.kept) < recentMax {
		r.kept = append(r.kept, value)
		return
	}
	r.kept[r.next] = value
	r.next = (r.next + 1) % recentMax
}

// newest returns the values, the last one first.
func (r *recent[T]) newest() []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	values := slices.Concat(r.kept[r.next:], r.kept[:r.next])
	slices.Reverse(values)
	return values
}

// RequestError is a request of the public listener that was answered with an error.
type RequestError struct {
	At        time.Time `json:"at"`
	RequestID string    `json:"request_id"` // as in the log and in the answer
	Status    int       `json:"status"`
	Code      string    `json:"code"`   // of docs/api/errors.md
	Detail    string    `json:"detail"` // the detail of the answer
	Path      string    `json:"path"`   // without its signature; at most 512 bytes
	Seconds   float64   `json:"seconds"`
}

// RecentErrors keeps the last 50 client errors (4xx) and the last 50 others, so that requests for
// images that do not exist cannot push out the faults of the tier. Its zero value is ready; a nil
// *RecentErrors keeps nothing.
type RecentErrors struct{ client, server recent[RequestError] }

// maxErrorPath bounds RequestError.Path, in bytes.
const maxErrorPath = 512

// Add keeps an error. Its path may have a signature, which is removed.
func (r *RecentErrors) Add(e RequestError) {
	if r == nil {
		return
	}
	path := WithoutSignature(e.Path)
	e.Path = strings.Clone(path[:min(len(path), maxErrorPath)])
	if e.Status >= 400 && e.Status < 500 {
		r.client.add(e)
	} else {
		r.server.add(e)
	}
}

// Newest returns the kept answers, newest first.
func (r *RecentErrors) Newest() []RequestError {
	if r == nil {
		return nil
	}
	all := append(r.client.newest(), r.server.newest()...)
	slices.SortStableFunc(all, func(a, b RequestError) int { return b.At.Compare(a.At) })
	return all
}

// Change is a purge, a takedown or a lift that this node received.
type Change struct {
	At     time.Time `json:"at"`
	Kind   string    `json:"kind"` // purge, soft_purge, takedown, lift
	Source string    `json:"source,omitempty"`
	Name   string    `json:"name,omitempty"`
	Path   string    `json:"path,omitempty"` // without its signature
	Tag    string    `json:"tag,omitempty"`
	// Targets is the number of originals or variants that it names.
	Targets int     `json:"targets"`
	Receipt Receipt `json:"receipt"`
}

// Receipt says what a Change has removed, and where.
type Receipt struct {
	Variants  int   `json:"variants"`
	Originals int   `json:"originals"`
	Bytes     int64 `json:"bytes"`
	Nodes     Nodes `json:"nodes"`
	// Superseded: a newer takedown or lift of the original holds instead of this one.
	Superseded bool `json:"superseded,omitempty"`
	// Waiting says why the other nodes have not been notified yet.
	Waiting string `json:"waiting,omitempty"`
	// DryRun: nothing was removed.
	DryRun bool `json:"dry_run,omitempty"`
}

// Nodes counts the nodes of the fleet that have applied a change.
type Nodes struct {
	Applied int `json:"applied"`
	Known   int `json:"known"`
}

// RecentChanges keeps the last 50 changes. Its zero value is ready; a nil *RecentChanges keeps
// nothing.
type RecentChanges struct{ all recent[Change] }

// Add keeps a change.
func (r *RecentChanges) Add(c Change) {
	if r != nil {
		c.Path = WithoutSignature(c.Path)
		r.all.add(c)
	}
}

// Newest returns the kept changes, newest first.
func (r *RecentChanges) Newest() []Change {
	if r == nil {
		return nil
	}
	return r.all.newest()
}

// WithoutSignature returns the path of an image URL without its signature, as GET /v1/explain also
// accepts it. In other paths it replaces everything that looks like a signature by "…".
func WithoutSignature(path string) string {
	if rest, ok := strings.CutPrefix(path, imageurl.Prefix); ok {
		if _, ref, ok := strings.Cut(rest, "/"); ok {
			path = "/" + ref
		}
	}
	return signature.ReplaceAllString(path, "…$1")
}

// signature matches a key ID, a signature of 16 bytes in base64url, perhaps an expiry, and what ends it.
// A "/" before it may be %2F.
var signature = regexp.MustCompile(`[\w-]*\.[\w-]{22}(?:\.\d+)?([^\w-]|$)`)
