package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/novasocial/imagetier/gateway/cmd/imagetier-gateway/internal/config"
	"github.com/novasocial/imagetier/gateway/feed"
	"github.com/novasocial/imagetier/gateway/loader"
	"github.com/novasocial/imagetier/gateway/pagecache"
	"github.com/novasocial/imagetier/gateway/upstream"
	"github.com/novasocial/imagetier/internal/circuit"
)

// pages are the components that build a page of a feed:
//
//	feed.Assembler → pagecache (process, Redis) → loader → upstream (breaker, gRPC)
type pages struct {
	services  *upstream.Services
	cache     *pagecache.Cache
	assembler *feed.Assembler
	readiness readiness
}

func (p *pages) ready(context.Context) error { return p.readiness.of(p.services.Ready()) }

// remarks says what is wrong although the gateway is ready.
func (p *pages) remarks() (all []string) {
	refused := p.cache.Refused()
	for _, command := range slices.Sorted(maps.Keys(refused)) {
		all = append(all, fmt.Sprintf("redis refuses to %s: %s", command, refused[command]))
	}
	return all
}

// openFeed creates the components. It opens no connection.
func (g *gateway) openFeed(set *serveMetrics) (*pages, error) {
	cfg := g.cfg.Serve
	up := upstream.Config{
		Feed: cfg.Feed, Content: cfg.Content, User: cfg.User,
		ConnectTimeout: cfg.ConnectTimeout, CallTimeout: cfg.CallTimeout,
		TLS: tlsOf(cfg), Traces: g.telemetry.Provider(),
		Observe: set.call, Breaker: circuit.Config{Changed: set.breaker},
	}
	services, err := upstream.New(up)
	if err != nil {
		return nil, err
	}
	closing := func(err error) error { return errors.Join(err, services.Close()) }
	posts := loader.New(
		loader.Config[feed.Post]{
			Fetch:     services.Contents.Posts,
			ID:        func(p *feed.Post) string { return p.ID },
			Timeout:   cfg.CallTimeout,
			Divisible: refused,
		},
	)
	profiles := loader.New(
		loader.Config[feed.Profile]{
			Fetch:     services.Users.Profiles,
			ID:        func(p *feed.Profile) string { return p.ID },
			Timeout:   cfg.CallTimeout,
			Divisible: refused,
		},
	)
	caching := pagecache.Config{
		Redis: cfg.Redis, PageTTL: cfg.PageTTL, PostTTL: cfg.PostTTL, ProfileTTL: cfg.ProfileTTL,
		MemoryBytes: uint64(cfg.CacheMemory),
		Forget: func(of pagecache.Kind, ids []string) {
			switch of {
			case pagecache.Posts:
				posts.Forget(ids)
			case pagecache.Profiles:
				profiles.Forget(ids)
			}
		},
		Observe: set.cached, Breaker: circuit.Config{Name: "redis", Changed: set.breaker}, Log: g.log,
	}
	cache, err := pagecache.New(caching)
	if err != nil {
		return nil, closing(fmt.Errorf("cache: %w", err))
	}
	assembler, err := feed.New(feed.Config{
		Feeds: services.Feeds, Contents: batchedContents{services.Contents, posts}, Users: batchedUsers{profiles},
		Pages: cache.Pages(), Posts: cache.Posts(), Profiles: cache.Profiles(),
		Algorithm: cfg.Algorithm, CallTimeout: cfg.CallTimeout, Timeout: cfg.RequestTimeout,
	})
	if err != nil {
		return nil, closing(err)
	}
	set.connections(g.registry, services.Ready, cache.Connected)
	set.refusals(g.registry, cache.Refused)
	return &pages{services: services, cache: cache, assembler: assembler}, nil
}

// refused reports whether a service rejected a request, perhaps because of a single ID.
func refused(err error) bool { return errors.Is(err, feed.ErrInvalid) }

// batchedContents fetches posts in batches across requests.
type batchedContents struct {
	feed.Contents
	posts *loader.Loader[feed.Post]
}

// Posts implements feed.Contents.
func (c batchedContents) Posts(ctx context.Context, ids []string) ([]feed.Post, error) {
	return c.posts.Load(ctx, ids)
}

// batchedUsers fetches profiles in batches across requests.
type batchedUsers struct{ profiles *loader.Loader[feed.Profile] }

// Profiles implements feed.Users.
func (u batchedUsers) Profiles(ctx context.Context, ids []string) ([]feed.Profile, error) {
	return u.profiles.Load(ctx, ids)
}

// tlsOf returns the TLS configuration of connections to the services; nil without TLS.
func tlsOf(cfg config.Serve) *tls.Config {
	if !cfg.TLS {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12}
}
