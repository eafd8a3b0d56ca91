package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/novasocial/imagetier/gateway/cmd/imagetier-gateway/internal/config"
	"github.com/novasocial/imagetier/gateway/imagelink"
	"github.com/novasocial/imagetier/gateway/proxy"
	"github.com/novasocial/imagetier/gateway/tier"
	"github.com/novasocial/imagetier/internal/program"
	"github.com/novasocial/imagetier/internal/webhook"
	"github.com/novasocial/imagetier/prefetch/profile"
)

// proxyCmd is the command proxy.
type proxyCmd struct{ commandSettings }

// Help implements kong.HelpProvider.
func (proxyCmd) Help() string {
	return `Forwards every request. In JSON answers (also in multipart/mixed, text/event-stream and NDJSON) ` +
		`it replaces the values of --fields by signed URLs of the tier while the body streams. ` +
		`The User-Agent determines format and size; X-Image-Client: webp@3x overrides it.

    imagetier-gateway proxy --upstream http://graphql:8080 --image-base https://img.example.com ` +
		`--image-prefix https://cdn.app.example/=posts --keys-file keys.txt

The first key signs every URL, because the proxy cannot tell the dates of posts in JSON of an unknown schema. ` +
		`A new first key therefore changes all URLs, and every client downloads every image again. ` +
		`Rotate only when a key has leaked, and at a quiet time.`
}

// Run serves until ctx is done.
func (c *proxyCmd) Run(ctx context.Context, p *program.Process) error {
	g, err := c.open(ctx, p)
	if err != nil {
		return err
	}
	defer g.close()
	cfg := g.cfg
	set := newProxyMetrics(g.registry)
	proxyConfig := proxy.Config{
		Upstream: cfg.Proxy.Upstream, UpstreamHost: cfg.Proxy.UpstreamHost,
		Linker: g.linker, Fields: proxyFields(cfg), Salt: salt(cfg),
		AnswerTimeout: cfg.Proxy.AnswerTimeout, IdleTimeout: cfg.Proxy.IdleTimeout,
		MaxRequestBytes: cfg.Proxy.MaxRequestBytes, TrustedProxies: cfg.Proxy.TrustedProxies,
		Observe: set.observe, Log: g.log,
	}
	var tasks []func(context.Context) error
	if g.tier != nil {
		tasks = append(tasks, g.tier.Run)
	}
	handler, err := proxy.New(proxyConfig)
	if err != nil {
		return err
	}
	defer handler.Close()
	g.reloader.replaced = func(now config.Config) { handler.SetSalt(salt(now)) }
	return g.serve(ctx, servers{public: g.traced("proxy", handler), tasks: tasks})
}

func proxyFields(cfg config.Config) (fields []proxy.Field) {
	for _, f := range cfg.Fields {
		field := proxy.Field{Name: f.Name, Profile: f.Profile}
		for _, fill := range cfg.Proxy.Fill {
			if fill.Field == f.Name {
				field.Fill = fill.Source
			}
		}
		fields = append(fields, field)
	}
	return fields
}

// newLinker returns the linker of image URLs. It asks the tier for ETags if there is one.
func (g *gateway) newLinker() (*imagelink.Linker, error) {
	links, err := profile.NewLinks(g.cfg.Prefixes...)
	if err != nil {
		return nil, err
	}
	cfg := imagelink.Config{Base: g.cfg.ImageBase, Links: links, Profiles: g.cfg.Profiles, Dev: g.cfg.Dev}
	cfg.Keys = linkKeys(g.cfg.Keys)
	cfg.Lifetime, cfg.Window = g.cfg.URLLifetime, g.cfg.URLWindow
	if g.tier != nil {
		cfg.Tag, cfg.HandedOut = g.tier.Tag, g.tier.HandedOut
	}
	return imagelink.New(cfg)
}

func linkKeys(keys []config.Key) (all []imagelink.Key) {
	for _, k := range keys {
		all = append(all, imagelink.Key{Key: k.Key, From: k.From})
	}
	return all
}

// newTier returns a client of the tier, or nil if no tier is configured.
func (g *gateway) newTier() (*tier.Client, error) {
	if g.cfg.Tier == nil {
		return nil, nil
	}
	if len(g.cfg.WebhookSecret) > 0 {
		var err error
		if g.signer, err = webhook.NewSigner(g.cfg.WebhookSecret...); err != nil {
			return nil, err
		}
	}
	counters := newHandedOutMetric(g.registry)
	return tier.New(tier.Config{
		URL: g.cfg.Tier, AdminToken: g.cfg.AdminToken, Signer: g.signer,
		Wrap: g.transport, Observe: func(outcome tier.Outcome, n int) { counters[outcome].Add(float64(n)) }, Log: g.log,
	}), nil
}

// salt returns a text that changes with everything that URLs depend on, and reveals no key.
func salt(cfg config.Config) string {
	var b strings.Builder
	fmt.Fprintln(&b, cfg.ImageBase, cfg.Prefixes)
	for _, k := range cfg.Keys[:min(1, len(cfg.Keys))] { // only the first one signs
		fmt.Fprintf(&b, "%s %x\n", k.ID, sha256.Sum256(k.Secret))
	}
	for _, name := range slices.Sorted(slices.Values(cfg.Profiles.Names())) {
		p, _ := cfg.Profiles.Get(name)
		fmt.Fprint(&b, name)
		for _, spec := range p.Specs() {
			fmt.Fprint(&b, " ", spec.Name())
		}
		fmt.Fprintln(&b)
	}
	return b.String()
}
