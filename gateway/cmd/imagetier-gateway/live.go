package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/novasocial/imagetier/gateway/cmd/imagetier-gateway/internal/config"
	"github.com/novasocial/imagetier/gateway/imagelink"
	"github.com/novasocial/imagetier/gateway/tier"
	"github.com/novasocial/imagetier/internal/doctor/finding"
	"github.com/novasocial/imagetier/internal/guard"
	"github.com/novasocial/imagetier/internal/httpserver"
	"github.com/novasocial/imagetier/internal/program"
	"github.com/novasocial/imagetier/internal/telemetry"
	"github.com/novasocial/imagetier/internal/webhook"
)

// linger is how long the public listener keeps accepting after readiness has failed, so that
// load balancers that check every second notice.
const linger = time.Second

// gateway is the common part of proxy and serve: settings, log, metrics, listeners, the tier.
type gateway struct {
	cfg      config.Config
	log      *slog.Logger
	registry *prometheus.Registry
	// telemetry created log and registry, and exports traces if OTEL_* configures it.
	telemetry *telemetry.Telemetry
	draining  atomic.Bool
	tier      *tier.Client    // nil if no tier is configured
	signer    *webhook.Signer // of events for the tier; nil without a secret
	linker    *imagelink.Linker
	reloader  *reloader
	live      config.Config // cfg with the keys and profiles of the last reload
	// adminToken is the token of the private listener, verifier checks events of the feed service
	// (only serve).
	adminToken *guard.Token
	verifier   *webhook.Verifier
}

// openGateway creates the parts of a gateway. It starts nothing.
func openGateway(ctx context.Context, cfg config.Config, mode string, stderr io.Writer) (*gateway, error) {
	t, err := telemetry.Open(ctx, telemetry.Config{
		Program: "imagetier-gateway", Version: program.Build().Version,
		Output: stderr, Format: cfg.LogFormat, Level: cfg.LogLevel, Secrets: cfg.Secrets,
	})
	if err != nil {
		return nil, err
	}
	newBuildInfo(t.Registry, mode)
	g := &gateway{
		cfg: cfg, log: t.Log, registry: t.Registry, telemetry: t, live: cfg,
		adminToken: guard.NewToken(cfg.AdminToken),
	}
	if g.tier, err = g.newTier(); err == nil {
		g.linker, err = g.newLinker()
	}
	if err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

// close exports the remaining traces.
func (g *gateway) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := g.telemetry.Close(ctx); err != nil {
		g.log.Warn("trace export failed", "err", err)
	}
}

// servers are the handlers and background tasks of a gateway.
type servers struct {
	public http.Handler
	// ready returns why the gateway is not ready. If nil, the gateway is always ready. It is not
	// called while the gateway drains.
	ready func(context.Context) error
	// remarks returns faults that do not make the gateway unready. Nil means none.
	remarks func() []string
	private map[string]http.Handler       // extra handlers of the private listener, by pattern
	tasks   []func(context.Context) error // run until the listeners are closed
}

// serve serves until ctx is done or a task fails, and then drains: readiness fails first, then
// the public listener closes, then the private one, then the tasks end.
func (g *gateway) serve(ctx context.Context, s servers) error {
	running := &counted{Handler: s.public}
	publicConfig := httpserver.Config{Handler: running, DrainTimeout: max(g.cfg.DrainTimeout, time.Millisecond)}
	if !g.cfg.Dev {
		publicConfig.Linger = min(linger, g.cfg.DrainTimeout)
	}
	publicServer, err := g.server("public", publicConfig)
	if err != nil {
		return err
	}
	privateServer, err := g.server("private", httpserver.Config{Handler: g.private(s), DrainTimeout: time.Second})
	if err != nil {
		return err
	}
	var listener net.ListenConfig
	public, err := listener.Listen(ctx, "tcp", g.cfg.Listen)
	if err != nil {
		return fmt.Errorf("public listener: %w", err)
	}
	defer public.Close()
	private, err := listener.Listen(ctx, "tcp", g.cfg.PrivateListen)
	if err != nil {
		return fmt.Errorf("private listener: %w", err)
	}
	defer private.Close()

	group, ctx := errgroup.WithContext(ctx) // also cancelled by the first failure
	privateCtx, publicClosed := context.WithCancel(context.WithoutCancel(ctx))
	taskCtx, privateClosed := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error {
		defer publicClosed()
		return g.run(ctx, publicServer, public)
	})
	group.Go(func() error {
		defer privateClosed()
		return g.run(privateCtx, privateServer, private)
	})
	for _, task := range append(s.tasks, g.runReloads, g.selfCheck) {
		group.Go(func() error { return task(taskCtx) })
	}
	group.Go(func() error {
		<-ctx.Done()
		g.draining.Store(true)
		g.log.Info("draining", "reason", fmt.Sprint(context.Cause(ctx)), "requests", running.running.Load(),
			"timeout_ms", g.cfg.DrainTimeout.Milliseconds())
		return nil
	})
	g.log.Info(
		"serving",
		"public", public.Addr().String(),
		"private", private.Addr().String(),
		"version", program.Build().Version,
	)
	return group.Wait()
}

// selfCheck logs what doctor finds.
func (g *gateway) selfCheck(ctx context.Context) error {
	return finding.SelfCheck(ctx, g.log, func(ctx context.Context) finding.Report { return diagnose(ctx, g.cfg) })
}

// pace is the slowest client that still gets an answer. Answers are short JSON; a client that stops
// reading is cut off after 18 s.
var pace = httpserver.Pace{Step: 32 << 10}

// server returns the server of the listener of that name. Its answers are written, and request bodies read, with
// deadlines.
func (g *gateway) server(name string, cfg httpserver.Config) (*httpserver.Server, error) {
	cfg.Handler = httpserver.Paced(pace, cfg.Handler)
	cfg.Log = g.log.With("listener", name)
	return httpserver.New(cfg)
}

// run serves until ctx is done, and drains. Requests that take too long are aborted.
func (g *gateway) run(ctx context.Context, s *httpserver.Server, l net.Listener) error {
	err := s.Run(ctx, l)
	if err != nil && ctx.Err() != nil {
		g.log.Warn("drain timeout, requests aborted", "err", err)
		return nil
	}
	return err
}

// private returns the handler of the private listener. Its guards are those of the tier's.
func (g *gateway) private(s servers) http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range s.private {
		mux.Handle(pattern, h)
	}
	mux.Handle("GET /metrics", g.telemetry.Metrics())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		err := errors.New("draining")
		if !g.draining.Load() {
			err = nil
			if s.ready != nil {
				err = s.ready(r.Context())
			}
		}
		w.Header().Set("Cache-Control", "no-store")
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
		if s.remarks != nil {
			for _, remark := range s.remarks() {
				fmt.Fprintln(w, remark)
			}
		}
	})
	// Without cmdline: secrets may be given as flags.
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	guards := guard.Guard{Token: g.adminToken, Dev: g.cfg.Dev, Signed: []string{eventsPath}}
	return guards.Handler(mux)
}
