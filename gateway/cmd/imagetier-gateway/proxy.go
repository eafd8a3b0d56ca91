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

// proxyCmd stands before a service.
type proxyCmd struct{ settingsOf }

// Help implements kong.HelpProvider.
func (proxyCmd) Help() string {
	return `Everything is forwarded, and in answers of JSON (also in multipart/mixed, text/event-stream and NDJSON) the values of --fields become signed URLs of the tier, as the bodies stream. The format and the size are chosen by User-Agent; X-Image-Client: webp@3x goes before it.

    imagetier-gateway proxy --upstream http://graphql:8080 --image-base https://img.example.com --image-prefix https://cdn.app.example/=posts --keys-file keys.txt

The first key signs every URL here: posts have no dates that could be trusted in JSON that is not known. So a new first key changes all URLs, and every phone loads every picture once more. Rotate where keys have leaked, and at a quiet time.`
}

// Run serves.
func (c *proxyCmd) Run(ctx context.Context, p *program.Process) error {
	cfg, err := c.load(p)
	if err != nil {
		return err
	}
	g, err := openGateway(ctx, cfg, "proxy", p.Stderr)
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
	set := newProxyMetrics(g.registry)
	proxyConfig := proxy.Config{
		Upstream: cfg.Proxy.Upstream, Linker: linker, Fields: proxyFields(cfg), Salt: salt(cfg),
		AnswerTimeout: cfg.Proxy.AnswerTimeout, Observe: set.observe, Log: g.log,
	}
	var parts []func(context.Context) error
	if talk != nil {
		proxyConfig.HandedOut = talk.HandedOut
		parts = append(parts, talk.Run)
	}
	handler, err := proxy.New(proxyConfig)
	if err != nil {
		return err
	}
	defer handler.Close()
	return g.live(ctx, lives{public: g.traced("proxy", handler), parts: parts})
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

// linker makes the URLs of images, by the tier's word on tags if it is talked to.
func (g *gateway) linker(talk *tier.Client) (*imagelink.Linker, error) {
	links, err := profile.NewLinks(g.cfg.Prefixes...)
	if err != nil {
		return nil, err
	}
	cfg := imagelink.Config{Base: g.cfg.ImageBase, Links: links, Profiles: g.cfg.Profiles, Dev: g.cfg.Dev}
	for _, k := range g.cfg.Keys {
		cfg.Keys = append(cfg.Keys, imagelink.Key{Key: k.Key, From: k.From})
	}
	if talk != nil {
		cfg.Tag = talk.Tag
	}
	return imagelink.New(cfg)
}

// tier returns a client of the tier, or nil if none is configured.
func (g *gateway) tier() (*tier.Client, error) {
	if g.cfg.Tier == nil {
		return nil, nil
	}
	var signer *webhook.Signer
	if len(g.cfg.WebhookSecret) > 0 {
		var err error
		if signer, err = webhook.NewSigner(g.cfg.WebhookSecret...); err != nil {
			return nil, err
		}
	}
	told := newToldMetric(g.registry)
	return tier.New(tier.Config{
		URL: g.cfg.Tier, AdminToken: g.cfg.AdminToken, Signer: signer,
		Wrap: g.transport, Told: func(what tier.Outcome, n int) { told[what].Add(float64(n)) }, Log: g.log,
	}), nil
}

// salt names all that the URLs depend on, without giving a key away.
func salt(cfg config.Config) string {
	var b strings.Builder
	fmt.Fprintln(&b, cfg.ImageBase, cfg.Prefixes)
	for _, k := range cfg.Keys[:min(1, len(cfg.Keys))] { // the others sign nothing
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
