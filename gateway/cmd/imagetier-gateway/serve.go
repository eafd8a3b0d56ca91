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
	"time"

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

// serveCmd is the GraphQL service of a feed.
type serveCmd struct{ settingsOf }

// Help implements kong.HelpProvider.
func (serveCmd) Help() string {
	return `POST /graphql answers feed(limit, cursor), batchLike and batchUnlike from the feed, content and user services, with signed thumbnail URLs of the tier. The format and the size are chosen by User-Agent; X-Image-Client: webp@3x goes before it, and the argument client before that.

    imagetier-gateway serve --feed feed:9090 --content content:9090 --user user:9090 --redis redis:6379 --jwks https://id.example.com/jwks.json --image-base https://img.example.com --image-prefix https://cdn.app.example/=posts --keys-file keys.txt

It starts with its services down, and is ready (GET /readyz of the private listener) once all three were connected. From then on it stays so until it drains: without content or users there are partial answers, and without the feed service pages that are kept.

Traces are sent where OTEL_EXPORTER_OTLP_ENDPOINT says.`
}

// Run serves.
func (c *serveCmd) Run(ctx context.Context, p *program.Process) error {
	cfg, err := c.load(p)
	if err != nil {
		return err
	}
	g, err := openGateway(ctx, cfg, "serve", p.Stderr)
	if err != nil {
		return err
	}
	defer g.close()
	talk, err := g.tier()
	if err != nil {
		return err
	}
	linker, err := g.linker(talk)
	if err != nil {
		return err
	}
	set := newServeMetrics(g.registry)
	pages, err := g.openFeed(set)
	if err != nil {
		return err
	}
	defer func() { _ = pages.services.Close() }() // what is in flight has ended
	verifier := auth.New(auth.Config{JWKS: cfg.Serve.JWKS, Issuer: cfg.Serve.JWTIssuer, Audience: cfg.Serve.JWTAudience, Static: cfg.Serve.TestTokens, Log: g.log})
	parts := []func(context.Context) error{pages.services.Run, pages.cache.Run, verifier.Run}

	graphConfig := graph.Config{
		Feed: pages.assembler, Linker: linker, Fields: graphFields(cfg.Fields), User: userBy(verifier),
		Timeout: cfg.Serve.RequestTimeout, Dev: cfg.Dev, Observe: set.observe, Log: g.log,
	}
	if talk != nil {
		graphConfig.HandedOut, graphConfig.Facts = talk.HandedOut, factsBy(talk)
		parts = append(parts, talk.Run)
	}
	handler, err := graph.New(graphConfig)
	if err != nil {
		return err
	}
	changes, err := g.events(pages.assembler, set)
	if err != nil {
		return err
	}
	parts = append(parts, changes.Run)
	return g.live(ctx, lives{
		public: public(g.traced("POST /graphql", handler)), ready: pages.ready, parts: parts,
		private: map[string]http.Handler{"POST /v1/events": changes},
	})
}

// maxRead is how long a request may take until it was read.
const maxRead = 30 * time.Second

// public routes the public listener.
func public(graphql http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/graphql", func(w http.ResponseWriter, r *http.Request) {
		// Where it cannot be set there is no connection, as in tests.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(maxRead))
		graphql.ServeHTTP(w, r)
	})
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

// userBy says who sent a request.
func userBy(v *auth.Verifier) func(*http.Request) (string, error) {
	return func(r *http.Request) (string, error) {
		user, err := v.User(r.Context(), r.Header)
		if err != nil && !errors.Is(err, auth.ErrToken) {
			return "", fmt.Errorf("%w: %w", graph.ErrAuth, err)
		}
		return user, err
	}
}

// factsBy says what the tier knows of images.
func factsBy(talk *tier.Client) func(context.Context, []profile.Image) []graph.Facts {
	return func(ctx context.Context, images []profile.Image) []graph.Facts {
		facts := make([]graph.Facts, len(images))
		for i, f := range talk.Facts(ctx, images) {
			facts[i] = graph.Facts{Placeholder: f.Thumbhash, Width: f.Width, Height: f.Height, Color: f.Color}
		}
		return facts
	}
}

// events takes what the feed service says has changed.
func (g *gateway) events(a *feed.Assembler, set *serveMetrics) (*events.Handler, error) {
	verifier, err := webhook.NewVerifier(nil, g.cfg.Serve.WebhookSecrets...)
	if err != nil {
		return nil, err
	}
	links, err := profile.NewLinks(g.cfg.Prefixes...)
	if err != nil {
		return nil, err
	}
	return events.New(events.Config{
		Verifier: verifier, Reader: &tierevents.Reader{Links: links, Profiles: g.cfg.Profiles},
		InvalidatePosts: a.InvalidatePosts, InvalidateProfiles: a.InvalidateProfiles, Warm: a.Warm, Observe: set.event, Log: g.log,
	}), nil
}

// readiness is reached once, when all services were connected: what fails later is answered
// in part, which is better than by nobody.
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
