package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/novasocial/imagetier/gateway/auth"
	"github.com/novasocial/imagetier/gateway/cmd/imagetier-gateway/internal/config"
	"github.com/novasocial/imagetier/gateway/events"
	"github.com/novasocial/imagetier/gateway/feed"
	"github.com/novasocial/imagetier/gateway/graph"
	"github.com/novasocial/imagetier/gateway/tier"
	"github.com/novasocial/imagetier/internal/program"
	"github.com/novasocial/imagetier/internal/webhook"
	tierevents "github.com/novasocial/imagetier/prefetch/events"
	"github.com/novasocial/imagetier/prefetch/profile"
)

// serveCmd is the command serve.
type serveCmd struct{ commandSettings }

// Help implements kong.HelpProvider.
func (serveCmd) Help() string {
	return `POST /graphql answers feed(limit, cursor), batchLike and batchUnlike ` +
		`from the feed, content and user services, with signed thumbnail URLs of the tier. ` +
		`The User-Agent determines format and size; the header X-Image-Client: webp@3x overrides it, ` +
		`and the argument client overrides both.

    imagetier-gateway serve --feed feed:9090 --content content:9090 --user user:9090 --redis redis:6379 ` +
		`--jwks https://id.example.com/jwks.json --jwt-issuer https://id.example.com/ --jwt-audience feed ` +
		`--image-base https://img.example.com ` +
		`--image-prefix https://cdn.app.example/=posts --keys-file keys.txt

It starts even while the services are down, and becomes ready (GET /readyz of the private listener) ` +
		`once all three have been connected. It then stays ready until it drains: ` +
		`without the content or user service it answers partially, and without the feed service from its cache.

OTEL_EXPORTER_OTLP_ENDPOINT enables traces.`
}

// Run serves until ctx is done.
func (c *serveCmd) Run(ctx context.Context, p *program.Process) error {
	g, err := c.open(ctx, p)
	if err != nil {
		return err
	}
	defer g.close()
	cfg := g.cfg
	set := newServeMetrics(g.registry)
	pages, err := g.openFeed(set)
	if err != nil {
		return err
	}
	defer func() { _ = pages.services.Close() }() // no call is in flight any more
	verifier := auth.New(auth.Config{
		JWKS: cfg.Serve.JWKS, Issuer: cfg.Serve.JWTIssuer, Audience: cfg.Serve.JWTAudience, Leeway: cfg.Serve.JWTLeeway,
		Static: cfg.Serve.TestTokens, Log: g.log,
	})
	tasks := []func(context.Context) error{pages.services.Run, pages.cache.Run, verifier.Run}

	graphConfig := graph.Config{
		Feed: pages.assembler, Linker: g.linker, Fields: graphFields(cfg.Fields), User: userOf(verifier),
		Timeout: cfg.Serve.RequestTimeout, MaxCost: cfg.Serve.MaxQueryCost,
		MaxAnswerBytes: int(cfg.Serve.MaxAnswerBytes), AnswersMemory: cfg.Serve.AnswersMemory,
		Dev: cfg.Dev, Observe: set.observe, Log: g.log,
	}
	if g.tier != nil {
		graphConfig.Facts = factsOf(g.tier)
		tasks = append(tasks, g.tier.Run)
	}
	handler, err := graph.New(graphConfig)
	if err != nil {
		return err
	}
	changes, err := g.events(pages.assembler, set)
	if err != nil {
		return err
	}
	tasks = append(tasks, changes.Run)
	return g.serve(ctx, servers{
		public: public(g.traced("POST /graphql", handler)), ready: pages.ready, remarks: pages.remarks, tasks: tasks,
		private: map[string]http.Handler{"POST " + eventsPath: changes},
	})
}

// eventsPath is the path for events, which are authenticated by their signature.
const eventsPath = "/v1/events"

// public routes the public listener.
func public(graphql http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/graphql", graphql)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	return mux
}

func graphFields(fields []config.Field) (f graph.Fields) {
	for _, field := range fields {
		switch field.Name {
		case "imageUrl":
			f.ImageURL = field.Profile
		case "thumbnailUrl":
			f.ThumbnailURL = field.Profile
		case "avatarUrl":
			f.AvatarURL = field.Profile
		}
	}
	return f
}

// userOf returns a function that identifies the user of a request.
func userOf(v *auth.Verifier) func(*http.Request) (string, error) {
	return func(r *http.Request) (string, error) {
		user, err := v.User(r.Context(), r.Header)
		if err != nil && !errors.Is(err, auth.ErrToken) {
			return "", fmt.Errorf("%w: %w", graph.ErrAuth, err)
		}
		return user, err
	}
}

// factsOf returns a function that asks the tier for the metadata of images.
func factsOf(client *tier.Client) func(context.Context, []profile.Image) []graph.Facts {
	return func(ctx context.Context, images []profile.Image) []graph.Facts {
		facts := make([]graph.Facts, len(images))
		for i, f := range client.Facts(ctx, images) {
			facts[i] = graph.Facts{Placeholder: f.Thumbhash, Width: f.Width, Height: f.Height, Color: f.Color}
		}
		return facts
	}
}

// events returns the handler of change events from the feed service.
func (g *gateway) events(a *feed.Assembler, set *serveMetrics) (*events.Handler, error) {
	var err error
	if g.verifier, err = webhook.NewVerifier(nil, g.cfg.Serve.WebhookSecrets...); err != nil {
		return nil, err
	}
	links, err := profile.NewLinks(g.cfg.Prefixes...)
	if err != nil {
		return nil, err
	}
	return events.New(events.Config{
		Verifier: g.verifier, Reader: &tierevents.Reader{Links: links, Profiles: g.cfg.Profiles},
		InvalidatePosts: a.InvalidatePosts, InvalidateProfiles: a.InvalidateProfiles, Warm: a.Warm,
		Observe: set.event, Log: g.log,
	}), nil
}

// readiness latches once all services have been connected: if one fails later, partial answers
// are better than a gateway out of rotation.
type readiness struct{ reached atomic.Bool }

func (r *readiness) of(services map[string]bool) error {
	if r.reached.Load() {
		return nil
	}
	var missing []string
	for _, name := range slices.Sorted(maps.Keys(services)) {
		if !services[name] {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("not connected yet: %s", strings.Join(missing, ", "))
	}
	r.reached.Store(true)
	return nil
}
