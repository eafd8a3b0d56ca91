package edge

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

// ServerConfig is one listener: its limits on what clients may take from it without
// giving anything. Limits on slow readers are Config.Pace's, in the handler.
type ServerConfig struct {
	Handler http.Handler // needed
	// CertFile and KeyFile are PEM files; with both, the listener speaks TLS (1.2 and
	// later) and nothing else. Changed files are read again, see certificates.
	CertFile, KeyFile string
	// HeaderTimeout bounds a TLS handshake, and the time from a request's first byte (of
	// a connection's first request: from its opening) to the end of its headers; 0 is 10 s.
	HeaderTimeout time.Duration
	// IdleTimeout is how long a connection may wait for its next request; 0 is 75 s. It
	// should be longer than that of a balancer before the tier, which otherwise sends
	// requests into connections that are being closed.
	IdleTimeout time.Duration
	// MaxHeaderBytes bounds the request line and headers, 431 beyond; 0 is 32 KiB.
	MaxHeaderBytes int
	// MaxConnections bounds open connections; 0 is 8,192, some 20 KB each. Beyond it a
	// new one takes the place of the one that has been idle longest, and waits if all are busy.
	MaxConnections int
	// Streams is how many requests one HTTP/2 connection may have open; 0 is 128.
	Streams int
	// Linger is how long Run goes on accepting after it was told to end, so that
	// balancers that look at /readyz have time to send requests elsewhere; answers
	// meanwhile ask their HTTP/1 connection to be closed. 0 is not at all.
	Linger time.Duration
	// DrainTimeout is how long, after Linger, requests may take to end; 0 is 30 s.
	DrainTimeout time.Duration
	// Log gets what has no request to be logged with; nil drops it.
	Log *slog.Logger
}

// Server is the http.Server of one listener: HTTP/1.1, HTTP/2 over TLS, and HTTP/2 without
// TLS for clients that know it beforehand (h2c).
//
// What is no HTTP at all is answered by net/http: 400, 431 and 505 as a line of text, on a
// connection that is then closed.
type Server struct {
	http     *http.Server
	limit    *connLimit
	certs    *certificates // nil: no TLS
	cfg      ServerConfig
	draining atomic.Bool
}

// NewServer returns a Server. It errs if the handler is missing, if only one of the two
// files is named, or if they are no certificate with its key.
func NewServer(cfg ServerConfig) (*Server, error) {
	if cfg.Handler == nil {
		return nil, errors.New("server: Handler is needed")
	}
	if (cfg.CertFile == "") != (cfg.KeyFile == "") {
		return nil, errors.New("server: a certificate needs its key, and a key its certificate")
	}
	cfg.HeaderTimeout = cmp.Or(cfg.HeaderTimeout, 10*time.Second)
	cfg.IdleTimeout = cmp.Or(cfg.IdleTimeout, 75*time.Second)
	cfg.MaxHeaderBytes = cmp.Or(cfg.MaxHeaderBytes, 32<<10)
	cfg.MaxConnections = cmp.Or(cfg.MaxConnections, 8192)
	cfg.Streams = cmp.Or(cfg.Streams, 128)
	cfg.DrainTimeout = cmp.Or(cfg.DrainTimeout, 30*time.Second)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, limit: newConnLimit(cfg.MaxConnections)}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	s.http = &http.Server{
		Handler:                      s.closing(cfg.Handler),
		ReadHeaderTimeout:            cfg.HeaderTimeout,
		IdleTimeout:                  cfg.IdleTimeout,
		MaxHeaderBytes:               max(cfg.MaxHeaderBytes-slop, 1),
		Protocols:                    &protocols,
		DisableGeneralOptionsHandler: true, // OPTIONS * is 405 like any other
		ConnState:                    s.limit.stateChanged,
		ConnContext:                  withConn,
		ErrorLog:                     slog.NewLogLogger(&quietHandler{cfg.Log.Handler()}, slog.LevelWarn),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:      cfg.Streams,
			MaxReceiveBufferPerStream: 64 << 10, // nobody sends us anything large
			SendPingTimeout:           30 * time.Second,
			PingTimeout:               15 * time.Second,
			WriteByteTimeout:          30 * time.Second,
		},
	}
	if cfg.CertFile != "" {
		certs, err := loadCertificates(cfg.CertFile, cfg.KeyFile, cfg.Log)
		if err != nil {
			return nil, fmt.Errorf("server: %w", err)
		}
		s.certs = certs
		s.http.TLSConfig = certs.config()
	}
	return s, nil
}

// slop is what net/http allows headers to have beyond MaxHeaderBytes.
const slop = 4 << 10

// TLS reports whether the server speaks TLS.
func (s *Server) TLS() bool { return s.certs != nil }

// Run serves on ln, which it closes, until ctx is done. Then it lingers, stops accepting,
// and returns when the last request has been answered: nil if that was within DrainTimeout,
// and otherwise an error, with the rest cut off. Any other error is why it could not serve.
// It is called once.
func (s *Server) Run(ctx context.Context, ln net.Listener) error {
	ln = s.limit.listen(ln)
	// A request outlives ctx: that is what draining means.
	s.http.BaseContext = func(net.Listener) context.Context { return context.WithoutCancel(ctx) }
	ended := make(chan error, 1)
	go func() {
		if s.certs != nil {
			ended <- s.http.ServeTLS(ln, "", "")
			return
		}
		ended <- s.http.Serve(ln)
	}()
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
	err := s.http.Shutdown(drain)
	if err != nil {
		_ = s.http.Close()
		err = fmt.Errorf("drain %s: requests were still running after %s and are cut: %w", ln.Addr(), s.cfg.DrainTimeout, err)
	}
	<-ended //nolint:errcheck // that it was closed
	return err
}

// closing asks HTTP/1 clients to open their next connection elsewhere while the server is
// draining: one that is closed under them while idle can swallow a request on its way.
// HTTP/2 says it with GOAWAY.
func (s *Server) closing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 1 && s.draining.Load() {
			w.Header()["Connection"] = closeAfterward
		}
		next.ServeHTTP(w, r)
	})
}

// quietHandler lowers what clients cause at will, and net/http reports as it would a fault
// of ours, to slog.LevelDebug.
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
