package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/fill"
	"github.com/novasocial/imagetier/imagecache/takedown"
	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/edge"
	"github.com/novasocial/imagetier/internal/httpapi/console"
	"github.com/novasocial/imagetier/internal/metrics"
	"github.com/novasocial/imagetier/internal/telemetry"
	"github.com/novasocial/imagetier/prefetch/warmer"
	"github.com/novasocial/imagetier/resize/workers"
)

// linger is how long the public listener goes on accepting after readiness has failed:
// balancers that look every second have then gone elsewhere.
const linger = time.Second

// serve builds the tier bottom-up, serves until ctx is done, and drains. out gets what
// a person at a terminal wants to know; programs read the log.
func serve(ctx context.Context, cfg config.Config, out io.Writer) (err error) {
	b := build()
	tel, err := telemetry.Open(ctx, telemetry.Config{
		Program: "imagetier", Version: b.Version, Format: cfg.LogFormat, Level: cfg.LogLevel, Secrets: cfg.Secrets,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeWithin(tel.Close)) }()
	// The limit keeps the heap in bounds; below it, collecting at 5 times what lives instead
	// of 2 spares a tier with a small memory tier most of its collections.
	debug.SetMemoryLimit(cfg.GoMemoryLimit())
	debug.SetGCPercent(400)
	set := metrics.New(metrics.Config{Registerer: tel.Registry, Version: b.Version, Revision: b.Commit, Tracer: tel.Tracer})

	// What can be taken by somebody else is taken first: the ports, then the directories.
	var listener net.ListenConfig
	public, err := listener.Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("public listener: %w", err)
	}
	defer public.Close()
	private, err := listener.Listen(ctx, "tcp", cfg.PrivateListen)
	if err != nil {
		return fmt.Errorf("private listener: %w", err)
	}
	defer private.Close()
	hooks, err := openHooks(cfg, tel.Log, set)
	if err != nil {
		return err
	}
	fleet, err := openFleet(ctx, cfg, tel.Log, hooks)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fleet.close()) }()
	tiers, err := openTiers(cfg, tel.Log, set)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tiers.close()) }()
	if err := tiers.share(ctx, cfg, fleet.position(), tel.Log, set); err != nil {
		return err
	}
	sources, err := openSources(ctx, cfg, set)
	if err != nil {
		return err
	}
	defer sources.close()
	pool, err := workers.New(workers.Config{
		Command: []string{cfg.ResizeCommand}, Limits: cfg.Limits, Workers: cfg.Workers, Timeout: cfg.ResizeTimeout, Log: tel.Log,
		Waited: set.Waited, Watermarks: watermarkFiles(cfg),
	})
	if err != nil {
		return err
	}
	set.Workers(workerStats(pool))

	down, err := takedown.Open(filepath.Join(cfg.CacheDir, "takedowns"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, down.Close()) }()
	if fault := down.Fault(); fault != nil {
		tel.Log.Warn("nothing can be taken down until the disk can be written; what was taken down stays so", "err", fault)
	}
	cache := imagecache.New(imagecache.Config{
		TakenDown: down.Has,
		Layers:    tiers.layers(),
		Originals: tiers.originals,
		Filler: fill.New(fill.Config{
			Sources: sources.guarded, Resizer: warmer.Lanes(set.Resizer(pool), set.Resizer(pool.Warm())), Limits: cfg.Limits, Originals: tiers.originals,
			Mezzanine: cfg.Mezzanine, LiveTTL: cfg.LiveTTL,
		}),
		FillTimeout: fillTimeout(cfg),
		NegativeTTL: cfg.NegativeTTL,
		Watermarks:  watermarkDigests(cfg),
		Log:         tel.Log,
	})
	signer, err := cfg.Signer()
	if err != nil {
		return err
	}
	measured := fleet.over(set.Cache(cache), down)
	early, err := openPrefetch(cfg, prefetchParts{log: tel.Log, set: set, cache: measured, sources: sources.guarded, signer: signer})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, early.close()) }()
	fleet.use(early.bus, tiers.shared)
	answers := &edge.Answers{}
	handler := edge.Public(edge.Config{
		Signer: signer, Cache: early.watched(measured), Sources: edgeSources(cfg), Watermarks: watermarkNames(cfg), NegativeTTL: cfg.NegativeTTL,
		TagHeader: cfg.TagHeader(), Answers: answers, Log: tel.Log,
		Observe: func(o edge.Observation) { set.Observe(metrics.Observation(o)) },
	})
	wellbeing := &wellbeing{pool: pool, tiers: tiers, fleet: fleet}
	status := &status{build: b, dev: cfg.Dev, started: time.Now(), set: set, health: wellbeing}
	publicServer, err := edge.NewServer(edge.ServerConfig{
		Handler: set.Handler(handler), CertFile: cfg.TLSCert, KeyFile: cfg.TLSKey, Linger: lingerOf(cfg), DrainTimeout: cfg.DrainTimeout, Log: tel.Log,
	})
	if err != nil {
		return err
	}
	publicURL := urlOf(public, publicServer.TLS())
	privateServer, err := edge.NewServer(edge.ServerConfig{
		DrainTimeout: 5 * time.Second, Log: tel.Log,
		Handler: edge.Private(edge.PrivateConfig{
			Signer: signer, Explain: cache.Explain, Info: measured.Get, Purge: measured.Purge, SoftPurge: measured.SoftPurge, Takedown: fleet.takedown, Lift: fleet.lift, Sources: edgeSources(cfg), Watermarks: watermarkNames(cfg), Answers: answers,
			Intake: early, Warmer: early, DeadLetters: early, WebhookSecrets: cfg.WebhookSecrets, Observe: set.Event, Tagged: early.tagged,
			AdminToken: cfg.AdminToken, Dev: cfg.Dev, Ready: wellbeing.ready, Metrics: tel.Metrics(), Stats: status.stats, Log: tel.Log,
			Console: console.New(console.Config{
				Signer: signer, Public: handler, Sources: sourceNames(cfg), PublicURL: publicURL, AdminToken: cfg.AdminToken, Dev: cfg.Dev,
			}),
		}),
	})
	if err != nil {
		return err
	}

	tel.Log.Info("serving", "public", publicURL, "private", urlOf(private, false), "version", b.Version, "workers", cfg.Workers)
	greet(ctx, out, cfg, greeting{signer: signer, samples: sources.samples, public: publicURL, private: urlOf(private, false)})
	warming, below := early.run()
	return live(ctx, lives{
		public:  func(ctx context.Context) error { return publicServer.Run(ctx, public) },
		private: func(ctx context.Context) error { return privateServer.Run(ctx, private) },
		warm:    warming,
		parts:   slices.Concat(tiers.run(), fleet.run(), below, []func(context.Context) error{pool.Run}),
		drain:   wellbeing.drain,
	})
}

// lives are what runs: warming and the public listener end first, then the private one, which
// tells about the draining, and at last what all of them stand on.
type lives struct {
	public, private func(context.Context) error
	warm            []func(context.Context) error // what is done ahead of requests, and can be done later
	parts           []func(context.Context) error
	drain           func() // called when ctx is done, before anything ends
}

// live runs all of it until ctx is done, or until one of them fails.
func live(ctx context.Context, l lives) error {
	group, ctx := errgroup.WithContext(ctx) // done with the first failure too
	privately, endPrivate := context.WithCancel(context.WithoutCancel(ctx))
	below, endParts := context.WithCancel(context.WithoutCancel(ctx))
	defer context.AfterFunc(ctx, l.drain)()
	group.Go(func() error {
		defer endPrivate()
		return l.public(ctx)
	})
	var warming sync.WaitGroup
	for _, run := range l.warm {
		warming.Add(1)
		group.Go(func() error {
			defer warming.Done()
			return run(ctx)
		})
	}
	group.Go(func() error {
		defer endParts()
		defer warming.Wait()
		return l.private(privately)
	})
	for _, part := range l.parts {
		group.Go(func() error { return part(below) })
	}
	return group.Wait()
}

// fillTimeout is for a fetch, a resize and waiting for both.
func fillTimeout(cfg config.Config) time.Duration {
	return cfg.OriginTimeout + cfg.ResizeTimeout + 5*time.Second
}

// closeWithin gives the last of the telemetry a moment.
func closeWithin(closing func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	return closing(ctx)
}

// lingerOf: nobody balances a developer's machine.
func lingerOf(cfg config.Config) time.Duration {
	if cfg.Dev {
		return 0
	}
	return min(linger, cfg.DrainTimeout)
}

func edgeSources(cfg config.Config) map[string]edge.Source {
	sources := make(map[string]edge.Source, len(cfg.Sources))
	for _, s := range cfg.Sources {
		sources[s.Name] = edge.Source{Originals: s.URL.Originals}
	}
	return sources
}

func sourceNames(cfg config.Config) (names []string) {
	for _, s := range cfg.Sources {
		names = append(names, s.Name)
	}
	return names
}

// urlOf returns what a browser on this machine would write.
func urlOf(l net.Listener, tls bool) string {
	scheme := "http"
	if tls {
		scheme = "https"
	}
	at, ok := l.Addr().(*net.TCPAddr)
	if !ok || at.IP.IsUnspecified() {
		_, port, _ := net.SplitHostPort(l.Addr().String())
		return scheme + "://localhost:" + port
	}
	return scheme + "://" + l.Addr().String()
}
