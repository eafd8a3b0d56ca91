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
	"github.com/novasocial/imagetier/internal/program"
	"github.com/novasocial/imagetier/internal/telemetry"
)

// linger is how long the public listener goes on accepting after readiness has failed:
// balancers that look every second have then gone elsewhere.
const linger = time.Second

// gateway is what proxy and serve have in common: settings, log, metrics, listeners.
type gateway struct {
	cfg      config.Config
	log      *slog.Logger
	registry *prometheus.Registry
	// telemetry made log and registry, and sends traces where the environment asks for them.
	telemetry *telemetry.Telemetry
	draining  atomic.Bool
}

// openGateway makes the log, the registry and the tracer. It starts nothing.
func openGateway(ctx context.Context, cfg config.Config, mode string, stderr io.Writer) (*gateway, error) {
	t, err := telemetry.Open(ctx, telemetry.Config{
		Program: "imagetier-gateway", Version: program.Build().Version,
		Output: stderr, Format: cfg.LogFormat, Level: cfg.LogLevel, Secrets: cfg.Secrets,
	})
	if err != nil {
		return nil, err
	}
	newBuildInfo(t.Registry, mode)
	return &gateway{cfg: cfg, log: t.Log, registry: t.Registry, telemetry: t}, nil
}

// close sends the last traces.
func (g *gateway) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := g.telemetry.Close(ctx); err != nil {
		g.log.Warn("traces lost", "err", err)
	}
}

// lives are what a gateway runs.
type lives struct {
	public http.Handler
	// ready says why the gateway is not ready; nil is always ready. It is not asked any more
	// while the gateway drains.
	ready   func(context.Context) error
	private map[string]http.Handler       // more of the private listener, by pattern
	parts   []func(context.Context) error // run until the listeners are closed
}

// live serves until ctx is done or a part fails, and drains: readiness fails first, then
// the public listener ends, then the private one and the parts.
func (g *gateway) live(ctx context.Context, l lives) error {
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
	publicServer, privateServer := g.server(l.public), g.server(g.private(l))

	group, ctx := errgroup.WithContext(ctx) // done with the first failure too
	below, endParts := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error { return serveUntilShutdown(publicServer, public) })
	group.Go(func() error { return serveUntilShutdown(privateServer, private) })
	for _, part := range l.parts {
		group.Go(func() error { return part(below) })
	}
	group.Go(func() error {
		<-ctx.Done()
		defer endParts()
		g.draining.Store(true)
		g.log.Info("draining", "timeout", g.cfg.DrainTimeout.String())
		if !g.cfg.Dev {
			time.Sleep(min(linger, g.cfg.DrainTimeout))
		}
		err := shutdown(publicServer, g.cfg.DrainTimeout)
		if err != nil {
			g.log.Warn("requests were cut off at the end of the time to drain", "err", err)
		}
		return shutdown(privateServer, time.Second)
	})
	g.log.Info("serving", "public", public.Addr().String(), "private", private.Addr().String(), "version", program.Build().Version)
	return group.Wait()
}

func (g *gateway) server(h http.Handler) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler: h, Protocols: &protocols,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       75 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
	}
}

func serveUntilShutdown(s *http.Server, l net.Listener) error {
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// shutdown lets requests end, and cuts off those that do not.
func shutdown(s *http.Server, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		return errors.Join(err, s.Close())
	}
	return nil
}

// private answers on the private listener.
func (g *gateway) private(l lives) http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range l.private {
		mux.Handle(pattern, h)
	}
	mux.Handle("GET /metrics", g.telemetry.Metrics())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		err := errors.New("draining")
		if !g.draining.Load() {
			err = nil
			if l.ready != nil {
				err = l.ready(r.Context())
			}
		}
		w.Header().Set("Cache-Control", "no-store")
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
