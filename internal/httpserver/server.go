// Package httpserver runs one HTTP listener: TLS certificates that follow their files,
// deadlines for slow senders, a limit on connections, draining, and a write path that
// sends most answers in one system call and gives up on clients that stopped reading. It
// is the only package that touches net.Conn.
//
// Start with server.go. A listener with a [Responder] has an engine of its own for HTTP/1.1: http1.go
// is its life of a connection, http1_send.go its write path. net/http speaks HTTP/2.
package httpserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// Config configures the server of one listener. Limits on slow readers are set per answer,
// by the [Pace] given to [Response.Send].
type Config struct {
	// Handler answers all requests by net/http. Responder answers those of HTTP/2 by net/http, those
	// of HTTP/1.1 by this package (http1.go), which costs half as much. One of them is required.
	Handler   http.Handler
	Responder Responder
	// CertFile and KeyFile are PEM files. With both, the listener speaks TLS 1.2 and later
	// only. Changed files are reloaded, see certificates.go.
	CertFile, KeyFile string
	// HeaderTimeout bounds a TLS handshake, and the time from the first byte of a request
	// (for the first request: from accepting the connection) to the end of its headers; 0
	// is 10 s.
	HeaderTimeout time.Duration
	// IdleTimeout is how long a connection may wait for its next request; 0 is 75 s. Keep
	// it longer than the idle timeout of a load balancer in front, which otherwise sends
	// requests into connections that are being closed.
	IdleTimeout time.Duration
	// MaxHeaderBytes bounds the request line and headers (431 above it); 0 is 32 KiB.
	MaxHeaderBytes int
	// MaxConnections bounds open connections, about 20 KB each; 0 is 8,192. At the limit a
	// new connection replaces another: first one that has sent nothing for 500 ms, then one whose
	// first request is incomplete after 1 s, then the one that has been idle longest. It
	// waits if all are serving requests.
	// It is lowered to [ConnectionsFor] the process's limit on open files.
	MaxConnections int
	// MaxPerAddress bounds the open connections of one IPv4 address or IPv6 /64 network;
	// more are closed at once. 0 is no limit, since behind a CDN or a load balancer all
	// clients come from a few addresses.
	MaxPerAddress int
	// Streams is the maximum number of open requests per HTTP/2 connection; 0 is 128.
	Streams int
	// MaxStreams bounds the open requests of all HTTP/2 connections together, whose headers may
	// take MaxHeaderBytes each; 0 is 8,192. More are answered 503. HTTP/1 requests are bounded by
	// MaxConnections.
	MaxStreams int
	// Overloaded answers the requests above MaxStreams; its answer must fit into 4 KiB, and is cut
	// off after a second. If nil, they get a 503 with a line of text.
	Overloaded http.Handler
	// BodyPace is the slowest client whose request body is still read; Step is not used.
	// The handler bounds the length. A handler that reads no bodies needs to do nothing:
	// the connection of a request that announces one is closed after the answer.
	BodyPace Pace
	// Linger is how long Run keeps accepting after its context is done, so that load
	// balancers that poll /readyz have time to move away. HTTP/1 answers meanwhile carry
	// Connection: close. 0 means no lingering.
	Linger time.Duration
	// DrainTimeout is how long requests may take to finish after Linger; 0 is 30 s.
	DrainTimeout time.Duration
	// Log receives events that belong to no request; nil drops them.
	Log *slog.Logger
}

// Server serves HTTP/1.1, HTTP/2 over TLS, and HTTP/2 without TLS for clients that know
// beforehand (h2c) on one listener.
//
// What is not valid HTTP is answered 400, 431 or 505 as a line of text, after which the
// connection is closed.
type Server struct {
	http     *http.Server
	http1    *http1 // nil: net/http speaks HTTP/1.1 too
	limit    *connLimit
	certs    *certificates // nil: no TLS
	bodies   bodies
	streams  atomic.Int64 // open HTTP/2 requests
	cfg      Config
	draining atomic.Bool
}

// New returns a Server. It fails if the handler is missing, if only one of CertFile and
// KeyFile is set, or if they are not a certificate and its key.
func New(cfg Config) (*Server, error) {
	if (cfg.Handler == nil) == (cfg.Responder == nil) {
		return nil, errors.New("server: one of Handler and Responder is required")
	}
	if (cfg.CertFile == "") != (cfg.KeyFile == "") {
		return nil, errors.New("server: a certificate needs its key, and a key its certificate")
	}
	cfg.HeaderTimeout = cmp.Or(cfg.HeaderTimeout, 10*time.Second)
	cfg.IdleTimeout = cmp.Or(cfg.IdleTimeout, 75*time.Second)
	cfg.MaxHeaderBytes = cmp.Or(cfg.MaxHeaderBytes, 32<<10)
	cfg.MaxConnections = cmp.Or(cfg.MaxConnections, DefaultMaxConnections)
	cfg.MaxConnections = min(cfg.MaxConnections, ConnectionsFor(OpenFiles()))
	cfg.Streams = cmp.Or(cfg.Streams, 128)
	cfg.MaxStreams = cmp.Or(cfg.MaxStreams, 8192)
	cfg.DrainTimeout = cmp.Or(cfg.DrainTimeout, 30*time.Second)
	cfg.BodyPace = cfg.BodyPace.WithDefaults()
	if cfg.Overloaded == nil {
		cfg.Overloaded = http.HandlerFunc(overloaded)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, limit: newConnLimit(cfg.MaxConnections, cfg.MaxPerAddress)}
	handler := cfg.Handler
	if cfg.Responder != nil {
		handler = NetHTTP(cfg.Responder)
		s.http1 = &http1{cfg: cfg, draining: &s.draining, limit: s.limit}
		s.http1.open.Add(1)
	}
	var protocols http.Protocols
	protocols.SetHTTP1(cfg.Responder == nil) // else that of http1: net/http closes what begins like HTTP/2 and is not
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	s.http = &http.Server{
		Handler:                      s.closing(s.limitStreams(s.bounded(handler))),
		ReadHeaderTimeout:            cfg.HeaderTimeout,
		IdleTimeout:                  cfg.IdleTimeout,
		MaxHeaderBytes:               max(cfg.MaxHeaderBytes-slop, 1),
		Protocols:                    &protocols,
		DisableGeneralOptionsHandler: true, // OPTIONS * is 405 like any other
		ConnState:                    s.limit.stateChanged,
		ErrorLog:                     slog.NewLogLogger(&quietHandler{cfg.Log.Handler()}, slog.LevelWarn),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          cfg.Streams,
			MaxReceiveBufferPerStream:     64 << 10, // request bodies are small
			MaxReceiveBufferPerConnection: 256 << 10,
			SendPingTimeout:               30 * time.Second,
			PingTimeout:                   15 * time.Second,
			WriteByteTimeout:              30 * time.Second,
		},
	}
	if cfg.CertFile != "" {
		certs, err := loadCertificates(cfg.CertFile, cfg.KeyFile, cfg.Log)
		if err != nil {
			return nil, fmt.Errorf("server: %w", err)
		}
		s.certs = certs
		s.http.TLSConfig = certs.config()
		if s.http1 != nil {
			s.http1.tls = certs.config()
			s.http1.tls.NextProtos = []string{"h2", "http/1.1"}
		}
	}
	return s, nil
}

// DefaultMaxConnections is the default of [Config.MaxConnections].
const DefaultMaxConnections = 8192

// ConnectionsFor returns how many connections a listener may have in a process with that limit on
// open files: a third. There are two listeners, and a new connection must be accepted before it can
// replace another.
func ConnectionsFor(openFiles int) int { return openFiles / 3 }

// slop is how many bytes net/http allows headers beyond MaxHeaderBytes.
const slop = 4 << 10

// TLS reports whether the server speaks TLS.
func (s *Server) TLS() bool { return s.certs != nil }

// Run serves on ln, which it closes, until ctx is done. It then lingers, stops accepting,
// and waits for running requests. It returns nil if all were answered within DrainTimeout;
// otherwise it cuts the rest off and returns an error. Any other error means that it could
// not serve. Run may be called once.
func (s *Server) Run(ctx context.Context, ln net.Listener) error {
	ln = s.limit.listen(ln, s.http1 == nil && s.certs == nil)
	// Requests outlive ctx, so that they can be drained.
	s.http.BaseContext = func(net.Listener) context.Context { return context.WithoutCancel(ctx) }
	ended := make(chan error, 1)
	go func() { ended <- s.serve(ctx, ln) }()
	select {
	case err := <-ended:
		_ = s.http.Close()
		return fmt.Errorf("serve on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	s.draining.Store(true)
	if s.cfg.Linger > 0 {
		linger := time.NewTimer(s.cfg.Linger)
		defer linger.Stop()
		select {
		case err := <-ended:
			_ = s.http.Close()
			return fmt.Errorf("serve on %s: %w", ln.Addr(), err)
		case <-linger.C:
		}
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.DrainTimeout)
	defer cancel()
	s.bodies.drain()
	defer time.AfterFunc(drainGrace, s.limit.closeNewcomers).Stop()
	err := s.shutdown(drain, ln)
	if err != nil {
		_ = s.http.Close()
		s.limit.closeHTTP1()
		err = fmt.Errorf("drain %s: requests still running after %s were cut off: %w",
			ln.Addr(), s.cfg.DrainTimeout, err)
	}
	<-ended //nolint:errcheck // http.ErrServerClosed
	return err
}

// serve accepts connections until ln is closed.
func (s *Server) serve(ctx context.Context, ln net.Listener) error {
	switch {
	case s.http1 != nil:
		s.http1.base = context.WithoutCancel(ctx)
		s.http1.http2 = newHandover(ln.Addr())
		go s.http.Serve(s.http1.http2) //nolint:errcheck // http.ErrServerClosed
		return s.http1.run(ln)
	case s.certs != nil:
		return s.http.ServeTLS(ln, "", "")
	}
	return s.http.Serve(ln)
}

// shutdown closes ln and idle connections, and waits for the others.
func (s *Server) shutdown(ctx context.Context, ln net.Listener) error {
	if s.http1 == nil {
		return s.http.Shutdown(ctx)
	}
	_ = ln.Close()
	http1 := make(chan error, 1)
	go func() { http1 <- s.http1.shutdown(ctx) }()
	return errors.Join(s.http.Shutdown(ctx), <-http1)
}

// closing asks HTTP/1 clients to close their connection while the server drains: closing it
// while idle could lose a request that is already on its way. HTTP/2 uses GOAWAY.
func (s *Server) closing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 1 && s.draining.Load() {
			w.Header()["Connection"] = closeConnection
		}
		next.ServeHTTP(w, r)
	})
}

// limitStreams refuses HTTP/2 requests above Config.MaxStreams. A client that reads nothing can make
// the body of an answer wait: not for longer than overloadedTimeout.
func (s *Server) limitStreams(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor < 2 {
			next.ServeHTTP(w, r)
			return
		}
		if s.streams.Add(1) > int64(s.cfg.MaxStreams) {
			s.streams.Add(-1)
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(overloadedTimeout))
			s.cfg.Overloaded.ServeHTTP(w, r)
			return
		}
		defer s.streams.Add(-1)
		next.ServeHTTP(w, r)
	})
}

const overloadedTimeout = time.Second

func overloaded(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Retry-After", "1")
	http.Error(w, "too many HTTP/2 requests at once", http.StatusServiceUnavailable)
}

var closeConnection = []string{"close"}

// quietHandler lowers to debug level what net/http reports as an error although any client
// can cause it.
type quietHandler struct{ slog.Handler }

func (h *quietHandler) Handle(ctx context.Context, record slog.Record) error {
	for _, noise := range []string{"http: TLS handshake error", "http2: "} {
		if strings.HasPrefix(record.Message, noise) {
			record.Level = slog.LevelDebug
			if !h.Enabled(ctx, record.Level) {
				return nil
			}
		}
	}
	return h.Handler.Handle(ctx, record)
}
