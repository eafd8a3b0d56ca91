// Package server composes the tier: it opens every part bottom-up, runs them together and
// closes them in reverse.
//
// [New] in this file is the floor plan, one step for each layer: telemetry and ports,
// storage, origins, cache, prefetching, HTTP. The order in which parts stop is runGroup's.
package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/fill"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/doctor"
	"github.com/novasocial/imagetier/internal/doctor/finding"
	"github.com/novasocial/imagetier/internal/fleet"
	"github.com/novasocial/imagetier/internal/guard"
	"github.com/novasocial/imagetier/internal/httpapi"
	"github.com/novasocial/imagetier/internal/httpapi/admin"
	"github.com/novasocial/imagetier/internal/httpapi/console"
	"github.com/novasocial/imagetier/internal/httpapi/images"
	"github.com/novasocial/imagetier/internal/httpserver"
	"github.com/novasocial/imagetier/internal/inflight"
	"github.com/novasocial/imagetier/internal/jetstream"
	"github.com/novasocial/imagetier/internal/metrics"
	"github.com/novasocial/imagetier/internal/settings"
	"github.com/novasocial/imagetier/internal/sources"
	"github.com/novasocial/imagetier/internal/telemetry"
	"github.com/novasocial/imagetier/prefetch/service"
	"github.com/novasocial/imagetier/prefetch/warmer"
	"github.com/novasocial/imagetier/resize/workers"
)

// Config configures a [Server].
type Config struct {
	config.Config

	Build    Build
	Terminal io.Writer // with --dev, receives URLs to try

	Resolved *settings.Resolved // where Config came from, for the check after the start; may be nil

	Hangup <-chan os.Signal // each value reloads what Reread returns; nil: never
	Reread Reread
}

// Build identifies the program.
type Build struct {
	Version, Commit, Go string
}

// Server is one node of the tier.
type Server struct {
	cfg       Config
	telemetry *telemetry.Telemetry
	log       *slog.Logger
	metrics   *metrics.Set
	history   *metrics.History

	publicListener, privateListener net.Listener

	state      *fleet.State
	tiers      *tiers
	sources    *sources.Set
	workers    *workers.Pool
	watermarks *imagecache.Watermarks
	signer     *imageurl.Signer
	local      *imagecache.Cache // this node's; its purges reach no other node
	cache      replicatedCache   // local; its purges reach the whole fleet
	bus        *jetstream.Bus
	fleet      *fleet.Node
	prefetch   *service.Service
	readiness  *readiness
	started    time.Time

	adminToken, s3EventsToken *guard.Token

	public                      *publicRequests
	publicServer, privateServer *httpserver.Server
	publicURL, privateURL       string

	closers []func() error // opened parts, in the order of opening
}

// New opens everything that the server needs, and listens. The caller must call Close.
func New(ctx context.Context, cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, started: time.Now()}
	for _, open := range []func(context.Context) error{
		s.openTelemetry,
		s.listen, // before the directories: both can be in use by another process
		s.openState,
		s.openTiers,
		s.openSources,
		s.openCache,
		s.openFleet,
		s.openPrefetch,
		s.openHTTP,
	} {
		if err := open(ctx); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// Close closes what New has opened. Run must have returned.
func (s *Server) Close() error {
	var errs []error
	for _, closer := range slices.Backward(s.closers) {
		errs = append(errs, closer())
	}
	s.closers = nil
	return errors.Join(errs...)
}

// Run serves until ctx is done, then drains. It can be called once.
func (s *Server) Run(ctx context.Context) error {
	s.log.Info("serving", "public", s.publicURL, "private", s.privateURL,
		"version", s.cfg.Build.Version, "workers", s.cfg.Workers)
	if s.cfg.Dev {
		greet(ctx, s.cfg.Terminal, greeting{
			sources: sourceNames(s.cfg.Config), samplers: s.sources.Samplers, signer: s.signer,
			public: s.publicURL, private: s.privateURL,
		})
	}
	return runGroup{
		public:  func(ctx context.Context) error { return s.publicServer.Run(ctx, s.publicListener) },
		private: func(ctx context.Context) error { return s.privateServer.Run(ctx, s.privateListener) },
		warming: s.prefetch.Run(),
		base: append(s.tiers.run(), s.runFleet, s.prefetch.RunState, s.workers.Run, s.history.Run, s.runReloads,
			s.selfCheck),
		drain: func() { s.drain(ctx) },
	}.run(ctx)
}

// drain fails readiness, and logs why and what is in flight.
func (s *Server) drain(ctx context.Context) {
	s.readiness.drain()
	pool := s.workers.Stats()
	s.log.Info("draining", "reason", cmp.Or(context.Cause(ctx), errPart).Error(),
		"requests", s.public.running.Load(), "resizing", pool.Busy, "resize_queue", pool.Live+pool.Page+pool.Warm,
		"timeout_ms", s.cfg.DrainTimeout.Milliseconds())
}

var errPart = errors.New("a part of the server failed")

// publicRequests counts and traces the requests of the public listener.
type publicRequests struct {
	images  httpserver.Responder
	metrics *metrics.Set
	running atomic.Int64
}

// Respond implements [httpserver.Responder].
func (p *publicRequests) Respond(r *httpserver.Request, w *httpserver.Response) {
	p.running.Add(1)
	defer p.running.Add(-1)
	ctx, end := p.metrics.StartRequest(r.Context(), r.Method, r.Value)
	if end != nil {
		defer func() { end(w.Status()) }()
		r.SetContext(ctx)
	}
	p.images.Respond(r, w)
}

// selfCheck logs what doctor finds.
func (s *Server) selfCheck(ctx context.Context) error {
	in := doctor.Input{Config: s.cfg.Config, Resolved: cmp.Or(s.cfg.Resolved, new(settings.Resolved))}
	return finding.SelfCheck(ctx, s.log, func(ctx context.Context) finding.Report {
		report, _ := doctor.Run(ctx, in, doctor.Running()...) // fails only when ctx is done
		return report
	})
}

func (s *Server) onClose(f func() error) { s.closers = append(s.closers, f) }

func (s *Server) openTelemetry(ctx context.Context) (err error) {
	s.telemetry, err = telemetry.Open(ctx, telemetry.Config{
		Program: "imagetier", Version: s.cfg.Build.Version,
		Format: s.cfg.LogFormat, Level: s.cfg.LogLevel, Secrets: s.cfg.Secrets,
	})
	if err != nil {
		return err
	}
	s.onClose(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		return s.telemetry.Close(ctx)
	})
	s.log = s.telemetry.Log
	s.metrics = metrics.New(metrics.Config{
		Registerer: s.telemetry.Registry, Tracer: s.telemetry.Tracer,
		Version: s.cfg.Build.Version, Revision: s.cfg.Build.Commit,
	})
	// Within the memory limit, a garbage collection at 5 times the live heap instead of
	// twice saves most collections of a tier whose memory tier is small.
	debug.SetMemoryLimit(s.cfg.GoMemoryLimit())
	debug.SetGCPercent(400)
	return nil
}

func (s *Server) listen(ctx context.Context) (err error) {
	var listener net.ListenConfig
	if s.publicListener, err = listener.Listen(ctx, "tcp", s.cfg.Listen); err != nil {
		return fmt.Errorf("public listener: %w", err)
	}
	s.onClose(func() error { return closeListener(s.publicListener) })
	if s.privateListener, err = listener.Listen(ctx, "tcp", s.cfg.PrivateListen); err != nil {
		return fmt.Errorf("private listener: %w", err)
	}
	s.onClose(func() error { return closeListener(s.privateListener) })
	return nil
}

// closeListener closes a listener that an HTTP server may have closed already.
func closeListener(l net.Listener) error {
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// openState comes before openTiers: a node that is too far behind has its tiers emptied.
func (s *Server) openState(ctx context.Context) (err error) {
	if s.state, err = openState(ctx, s.cfg.Config, s.log); err != nil {
		return err
	}
	s.onClose(s.state.Close)
	return nil
}

func (s *Server) openTiers(ctx context.Context) (err error) {
	if s.tiers, err = openTiers(s.cfg.Config, s.state.Caches(), s.log, s.metrics); err != nil {
		return err
	}
	s.onClose(s.tiers.close)
	if s.cfg.NATS != "" {
		s.tiers.hold(func() bool { return s.fleet.Ready() == nil })
	}
	return s.tiers.share(ctx, s.cfg.Config, purgesOf(s.cfg.Config, s.state), s.log, s.metrics)
}

func (s *Server) openSources(ctx context.Context) (err error) {
	if s.sources, err = sources.OpenAll(ctx, s.cfg.Config, s.metrics); err != nil {
		return err
	}
	s.onClose(s.sources.Close)
	return nil
}

func (s *Server) openCache(context.Context) (err error) {
	s.workers, err = workers.New(workers.Config{
		Command: []string{s.cfg.ResizeCommand}, Workers: s.cfg.Workers,
		Limits: s.cfg.Limits, Timeout: s.cfg.ResizeTimeout, Memory: s.cfg.ResizeMemory,
		Watermarks: watermarkFiles(s.cfg.Config), Waited: s.metrics.Waited, Log: s.log,
	})
	if err != nil {
		return err
	}
	s.metrics.Workers(workerStats(s.workers))
	s.watermarks = imagecache.NewWatermarks(watermarkDigests(s.cfg.Config))
	budget := inflight.New(s.cfg.InFlight())
	s.metrics.InFlight(func() metrics.InFlightStats { return metrics.InFlightStats(budget.Stats()) })
	s.local = imagecache.New(imagecache.Config{
		InFlight:  budget,
		TakenDown: s.state.TakenDown,
		Layers:    s.tiers.layers(),
		Originals: s.tiers.originals,
		Filler: fill.New(fill.Config{
			Sources: s.sources.Guarded, Digests: s.sources.Digests,
			Resizer: s.metrics.Resizer(s.workers), InFlight: budget,
			Limits: s.cfg.Limits, Originals: s.tiers.originals,
			Mezzanine: s.cfg.Mezzanine, Mezzanines: s.metrics.Mezzanines, EarlyJobs: s.metrics.EarlyJobs,
			LiveTTL: s.cfg.LiveTTL, StaleIfError: s.cfg.StaleIfError,
		}),
		FillTimeout:  fillTimeout(s.cfg.Config),
		StaleIfError: s.cfg.StaleIfError,
		NegativeTTL:  s.cfg.NegativeTTL,
		Watermarks:   s.watermarks,
		Observe:      s.metrics.ObserveGet,
		Log:          s.log,
	})
	return nil
}

func (s *Server) openFleet(context.Context) (err error) {
	if s.bus, err = openBus(s.cfg.Config, s.log); err != nil {
		return err
	}
	own := fleet.Config{State: s.state, Cache: s.metrics.Purger(s.local), Log: s.log}
	s.fleet, err = openFleet(s.cfg.Config, own, s.bus, s.tiers, s.metrics)
	if err != nil {
		return err
	}
	s.cache = replicatedCache{s.local, s.fleet}
	s.metrics.Fleet(fleetStats(s.fleet))
	return nil
}

// runFleet runs the connection until the node has ended, which says so over it.
func (s *Server) runFleet(ctx context.Context) error {
	connected, disconnect := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- s.bus.Run(connected) }()
	err := s.fleet.Run(ctx)
	disconnect()
	return errors.Join(err, <-ended)
}

func (s *Server) openPrefetch(context.Context) (err error) {
	if s.signer, err = s.cfg.Signer(); err != nil {
		return err
	}
	mode, err := warmer.ParseMode(s.cfg.Warm)
	if err != nil {
		return err
	}
	catalog := catalogOf(s.cfg.Config, s.watermarks)
	s.prefetch, err = service.New(service.Config{
		Cache: s.cache, Sources: s.sources.Guarded, CheckName: s.sources.CheckName,
		Bus: s.bus, Tags: replicatedTags{s.fleet},
		Metrics: s.metrics, Log: s.log, Dir: s.cfg.CacheDir, Links: s.cfg.Links,
		Profiles: s.cfg.Profiles, Buckets: bucketsOf(s.cfg.Config),
		WebhookSecrets: s.cfg.WebhookSecrets, Dev: s.cfg.Dev,
		Mode: mode, WastedAfter: s.cfg.WastedAfter, Workers: s.cfg.Workers,
		Signer: s.signer, CheckRef: catalog.Check,
		Balancer: s.cfg.Balancer, BalancerTimeout: 2 * fillTimeout(s.cfg.Config),
	})
	if err != nil {
		return err
	}
	s.onClose(func() error { s.prefetch.Close(); return nil })
	s.metrics.Prefetch(func() metrics.PrefetchStats {
		stats := s.prefetch.Stats(context.Background())
		return metrics.PrefetchStats{
			Lag: stats.Lag, Waiting: stats.Waiting, DeadLetters: stats.DeadLetters, Available: stats.Available,
			Used: metrics.PrefetchAmount(stats.Used), Wasted: metrics.PrefetchAmount(stats.Wasted),
		}
	})
	return nil
}

func (s *Server) openHTTP(context.Context) (err error) {
	origins, catalog := &httpapi.OriginAnswers{}, catalogOf(s.cfg.Config, s.watermarks)
	recentErrors, changes := &httpapi.RecentErrors{}, &httpapi.RecentChanges{}
	s.history = metrics.NewHistory(s.metrics)
	public := images.New(images.Config{
		Signer: s.signer, Cache: s.cache, Catalog: catalog, NegativeTTL: s.cfg.NegativeTTL,
		TagHeader: s.cfg.TagHeader(), Origins: origins, Errors: recentErrors, Observe: s.observe,
		Log: s.log, LogErrors: leastLogged(s.cfg.AccessLog), LogEvery: s.cfg.AccessLog.Every,
	})
	s.public = &publicRequests{images: public, metrics: s.metrics}
	s.publicServer, err = httpserver.New(httpserver.Config{
		Responder: s.public, MaxPerAddress: s.cfg.MaxPerAddress, CertFile: s.cfg.TLSCert, KeyFile: s.cfg.TLSKey,
		Linger: linger(s.cfg.Config), DrainTimeout: max(s.cfg.DrainTimeout, time.Millisecond),
		Overloaded: overloaded(s.metrics.Observe), Log: s.log.With("listener", "public"),
	})
	if err != nil {
		return err
	}
	s.publicURL = urlOf(s.publicListener, s.publicServer.TLS())
	s.adminToken, s.s3EventsToken = guard.NewToken(s.cfg.AdminToken), guard.NewToken(s.cfg.S3EventsToken)
	s.privateURL = urlOf(s.privateListener, false)
	s.readiness = &readiness{pool: s.workers, tiers: s.tiers, fleet: s.fleet}
	s.privateServer, err = httpserver.New(httpserver.Config{
		DrainTimeout: 5 * time.Second, Log: s.log.With("listener", "private"),
		Handler: admin.New(admin.Config{
			Signer: s.signer, Catalog: catalog, Origins: origins, Changes: changes,
			Operator: s.operator(recentErrors, changes),
			Observe:  s.metrics.Event, Locate: s.locate,
			AdminToken: s.adminToken, S3EventsToken: s.s3EventsToken, Dev: s.cfg.Dev,
			SNS: snsOf(s.cfg.SNSTopic), Metrics: s.telemetry.Metrics(), Log: s.log,
			Console: console.New(console.Config{
				Signer: s.signer, Public: public, Sources: sourceNames(s.cfg.Config), Watermarks: s.watermarks,
				PublicURL: s.publicURL, AdminToken: s.adminToken, Dev: s.cfg.Dev,
			}),
		}),
	})
	return err
}

// locate maps the plain URL of an image.
func (s *Server) locate(url string) (source, name, version string, err error) {
	link, err := s.cfg.Links.Image(url)
	if err != nil {
		return "", "", "", err
	}
	return link.Image.Source, link.Image.Name, link.Image.Version.String(), nil
}

// leastLogged returns the level from which on failed requests are logged.
func leastLogged(which config.AccessLog) slog.Level {
	if which.Errors {
		return slog.LevelInfo
	}
	return slog.LevelError
}

func snsOf(topic string) *admin.SNS {
	if topic == "" {
		return nil
	}
	return &admin.SNS{Topic: topic}
}

// observe is called with each request of the public listener.
func (s *Server) observe(o metrics.Observation) {
	s.metrics.Observe(o)
	if o.Found {
		s.prefetch.Requested(o.Ref, o.Outcome, o.Priority)
	}
}

// urlOf returns the URL of a listener for a browser on this machine.
func urlOf(l net.Listener, tls bool) string {
	scheme := "http"
	if tls {
		scheme = "https"
	}
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok || addr.IP.IsUnspecified() {
		_, port, _ := net.SplitHostPort(l.Addr().String())
		return scheme + "://localhost:" + port
	}
	return scheme + "://" + l.Addr().String()
}
