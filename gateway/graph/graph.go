// Package graph is the feed by GraphQL over HTTP: the schema, what a request may ask for,
// and how pages of package feed become answers with signed thumbnail URLs.
//
//	bytes → request → document (parsed, bounded, checked: kept by its text) → plan
//	      → pages of the feed → JSON, written field by field in the order of the plan
//
// It knows who asks and what is known of images by the functions of its Config, and no gRPC,
// Redis, tokens or metrics.
package graph

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/novasocial/imagetier/gateway/feed"
	"github.com/novasocial/imagetier/gateway/imagelink"
	"github.com/novasocial/imagetier/prefetch/profile"
)

//go:embed schema.graphql
var schemaText string

// Bounds of a request. What an app asks is far below them; what is above costs us little.
const (
	maxBody       = 64 << 10 // bytes
	maxQuery      = 16 << 10 // bytes of it
	maxTokens     = 4000     // in it
	maxDepth      = 6        // feed, posts, author, id are 4
	maxDepthDev   = 20       // what introspection asks for
	maxSelections = 500      // after fragments are spread
	maxCalls      = 4        // feed fields of a query, or batches of a mutation
	maxIDLength   = 256      // bytes of a post's id
)

// Feed gives pages, and takes likes.
type Feed interface {
	// Page returns one page. Its error is of the feed service alone: what else is missing is
	// said in the page.
	Page(ctx context.Context, q feed.Query) (feed.Page, error)
	Like(ctx context.Context, batch feed.Likes) error
}

// Fields are the profiles of the image fields; "" leaves a field as the services have it.
type Fields struct{ ImageURL, ThumbnailURL, AvatarURL string }

// Facts are what is known of an image; "" and 0: not known.
type Facts struct {
	Placeholder   string // thumbhash, base64
	Width, Height int
	Color         string
}

// Config of a Handler.
type Config struct {
	Feed   Feed              // needed
	Linker *imagelink.Linker // needed
	Fields Fields
	// User says who asks; "" is nobody, without a token. An error is answered with 401, or
	// with 503 if it is ErrAuth. Nil: all are nobody.
	User func(*http.Request) (string, error)
	// Facts returns what is known of images, in the same order, and waits for a moment only.
	// Nil: nothing is known.
	Facts func(context.Context, []profile.Image) []Facts
	// HandedOut is told which images an answer shows in a profile. It keeps the slice and
	// must not wait. Nil: nobody is told.
	HandedOut func(profileName string, images []profile.Image)
	// Timeout is how long a request may take; 0 is 10 s (G3).
	Timeout time.Duration
	// Dev allows introspection.
	Dev bool
	// Observe is told of every request. Nil: nobody counts.
	Observe func(Observation)
	// Log gets faults of ours and of services; nil drops them.
	Log *slog.Logger
}

// ErrAuth: it cannot be told whether a token is good, which is nobody's fault who sent it.
var ErrAuth = errors.New("tokens cannot be verified now")

// Operation is what a request was for.
type Operation string

const (
	Queried Operation = "feed"  // at least one page
	Liked   Operation = "like"  // a mutation
	Nothing Operation = "other" // nothing of ours: refused, introspection, __typename
)

// Operations are all there are.
var Operations = []Operation{Queried, Liked, Nothing}

// Observation is what became of a request.
type Observation struct {
	Operation Operation
	Status    int
	Codes     []Code // of the errors in its answer
	Duration  time.Duration
	// Stale are the services that failed and of which something old was shown.
	Stale []feed.Service
}

// Handler answers POST /graphql and nothing else. It is safe for concurrent use.
type Handler struct {
	cfg       Config
	schema    *ast.Schema
	documents *documents
}

// New returns a Handler.
func New(cfg Config) (*Handler, error) {
	if cfg.Feed == nil || cfg.Linker == nil {
		return nil, errors.New("graph: config without Feed or Linker")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.User == nil {
		cfg.User = func(*http.Request) (string, error) { return "", nil }
	}
	if cfg.Observe == nil {
		cfg.Observe = func(Observation) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	schema, err := gqlparser.LoadSchema(&ast.Source{Name: "schema.graphql", Input: schemaText})
	if err != nil {
		return nil, fmt.Errorf("graph: %w", err)
	}
	delete(schema.Directives, "defer") // of the parser, which we do not do
	return &Handler{cfg: cfg, schema: schema, documents: newDocuments(schema, cfg.Dev)}, nil
}
