// Package graph serves the feed by GraphQL over HTTP: the schema, the limits of a request, and the
// JSON of pages from package feed, with signed thumbnail URLs.
//
//	bytes → request → document (parsed, within limits, valid; cached by its text) → plan
//	      → pages of the feed → JSON, written field by field in the order of the plan
//
// Users and image metadata come from functions in Config: the package does not depend on gRPC,
// Redis, tokens or metrics. Start reading at [Handler.ServeHTTP] and execute.go.
package graph

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/novasocial/imagetier/gateway/budget"
	"github.com/novasocial/imagetier/gateway/feed"
	"github.com/novasocial/imagetier/gateway/imagelink"
	"github.com/novasocial/imagetier/prefetch/profile"
)

//go:embed schema.graphql
var schemaText string

// Limits of a request. Queries of apps are far below them, and rejecting larger ones is cheap.
const (
	maxBody       = 64 << 10 // bytes of a request
	maxBodies     = 16 << 20 // bytes of all requests that are being read
	maxQuery      = 16 << 10 // bytes of a query
	maxTokens     = 4000     // in a query
	maxDepth      = 6        // feed, posts, author, id are 4
	maxDepthDev   = 20       // introspection queries need it
	maxSelections = 500      // with fragments expanded
	maxCalls      = 4        // feed fields of a query, or batches of a mutation
	maxIDLength   = 256      // bytes of a post's id
)

// Feed returns pages and accepts likes.
type Feed interface {
	// Page returns one page. The error is that of the feed service; failures of the other
	// services are in the page.
	Page(ctx context.Context, q feed.Query) (feed.Page, error)
	// Like likes or unlikes a batch of posts.
	Like(ctx context.Context, batch feed.Likes) error
}

// Fields are the profiles of the image fields. A field with "" keeps the URL of the services.
type Fields struct{ ImageURL, ThumbnailURL, AvatarURL string }

// Facts are the metadata of an image; "" and 0 mean unknown.
type Facts struct {
	Placeholder   string // thumbhash, base64
	Width, Height int
	Color         string // mean color, #rrggbb
}

// Config configures a [Handler].
type Config struct {
	Feed   Feed              // required
	Linker *imagelink.Linker // required
	Fields Fields
	// User returns the user of a request, or "" without a token. An error is answered with
	// 401, or with 503 if it is ErrAuth. If nil, all requests are anonymous.
	User func(*http.Request) (string, error)
	// Facts returns the metadata of images, in the same order. It must not block for long. If
	// nil, no metadata is known.
	Facts func(context.Context, []profile.Image) []Facts
	// Timeout is the maximum duration of a request; 0 means 10 s.
	Timeout time.Duration
	// MaxCost is the maximum cost of a query, see cost.go; 0 means 10,000.
	MaxCost int
	// MaxAnswerBytes is the maximum size of an answer's data; 0 means 2 MiB.
	MaxAnswerBytes int
	// AnswersMemory bounds the bytes of all answers that are being written; 0 means 16 MiB.
	AnswersMemory int64
	// Dev enables introspection.
	Dev bool
	// Observe is called after every request. If nil, it is not called.
	Observe func(Observation)
	// Log receives panics, and failures of services at level debug. If nil, nothing is logged.
	Log *slog.Logger
}

// ErrAuth means that tokens cannot be verified now, which is not the client's fault.
var ErrAuth = errors.New("tokens cannot be verified now")

// Operation is the kind of a request.
type Operation string

const (
	Queried Operation = "feed"  // at least one page
	Liked   Operation = "like"  // a mutation
	Nothing Operation = "other" // rejected, introspection, __typename
)

// Operations are all operations.
var Operations = []Operation{Queried, Liked, Nothing}

// Observation describes a request after its answer.
type Observation struct {
	Operation Operation
	Status    int
	Codes     []Code // of the errors in the answer
	Duration  time.Duration
	// Stale are the failed services for which stale data was served.
	Stale []feed.Service
}

// Handler answers POST /graphql. It is safe for concurrent use.
type Handler struct {
	cfg       Config
	schema    *ast.Schema
	documents *documents
	memory    *budget.Budget // of answers
	bodies    *budget.Budget // of requests
}

// New returns a Handler. The error is that of an incomplete cfg.
func New(cfg Config) (*Handler, error) {
	if cfg.Feed == nil || cfg.Linker == nil {
		return nil, errors.New("graph: Feed and Linker are required")
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	cfg.MaxCost = cmp.Or(cfg.MaxCost, 10_000)
	cfg.MaxAnswerBytes = cmp.Or(cfg.MaxAnswerBytes, 2<<20)
	cfg.AnswersMemory = cmp.Or(cfg.AnswersMemory, 16<<20)
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
	delete(schema.Directives, "defer") // built into the parser, but not supported here
	return &Handler{
		cfg: cfg, schema: schema, documents: newDocuments(schema, cfg.Dev),
		memory: budget.New(cfg.AnswersMemory), bodies: budget.New(maxBodies),
	}, nil
}
