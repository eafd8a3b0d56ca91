package upstream

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/novasocial/imagetier/internal/circuit"
)

// service is one service, with a connection to each of its addresses, and its breaker.
type service struct {
	name    string
	cfg     Config // with its defaults
	conn    *grpc.ClientConn
	breaker *circuit.Breaker
	// lost is when watch noticed that the connection was lost, in Unix nanoseconds; 0 while
	// connected.
	lost atomic.Int64
}

// longestPause is the maximum pause between two attempts to connect. gRPC uses the pause as the
// timeout of an attempt if it is longer than that, and adds a jitter of up to a fifth.
func longestPause(connectTimeout time.Duration) time.Duration {
	return min(4*time.Second, connectTimeout*4/5)
}

func newService(name, addr string, cfg Config) (*service, error) {
	if err := checkAddress(addr); err != nil {
		return nil, err
	}
	secure := insecure.NewCredentials()
	if cfg.TLS != nil {
		secure = credentials.NewTLS(cfg.TLS)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(secure),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2,
				MaxDelay: longestPause(cfg.ConnectTimeout),
			},
			MinConnectTimeout: cfg.ConnectTimeout,
		}),
		grpc.WithKeepaliveParams(keepaliveOf(cfg)),
		grpc.WithIdleTimeout(0), // keep connections without calls
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(cfg.MaxMessage), grpc.MaxCallSendMsgSize(cfg.MaxMessage),
			// connected has already waited, but the connection may have broken since. Such calls
			// wait here.
			grpc.WaitForReady(true),
			grpc.ForceCodecV2(newBoundedCodec()),
		),
		grpc.WithMaxHeaderListSize(64 << 10),
		grpc.WithDisableServiceConfig(), // no TXT lookups, and no service config from DNS
		grpc.WithDefaultServiceConfig(roundRobin),
		grpc.WithResolvers(polling{cfg.dns}),
	}
	if cfg.Traces != nil {
		options = append(options, grpc.WithStatsHandler(otelgrpc.NewClientHandler(
			otelgrpc.WithTracerProvider(cfg.Traces), otelgrpc.WithPropagators(propagation.TraceContext{}))))
	}
	conn, err := grpc.NewClient(addr, options...)
	if err != nil {
		return nil, err
	}
	cfg.Breaker.Name = name
	s := &service{name: name, cfg: cfg, conn: conn, breaker: circuit.New(cfg.Breaker)}
	s.lost.Store(time.Now().UnixNano())
	return s, nil
}

func keepaliveOf(cfg Config) keepalive.ClientParameters {
	return keepalive.ClientParameters{Time: cfg.KeepAlive, Timeout: cfg.KeepAliveTimeout, PermitWithoutStream: true}
}

// watch keeps the service connected until ctx ends or the connection is closed.
func (s *service) watch(ctx context.Context) {
	for {
		state := s.conn.GetState()
		switch state {
		case connectivity.Idle: // at the start, and after a connection was lost
			s.conn.Connect()
		case connectivity.Shutdown:
			return
		}
		if state == connectivity.Ready {
			s.lost.Store(0)
		} else {
			s.lost.CompareAndSwap(0, time.Now().UnixNano())
		}
		if !s.conn.WaitForStateChange(ctx, state) {
			return
		}
	}
}

// errNotConnected is the error of a call that waited too long for a connection.
var errNotConnected = status.Error(codes.Unavailable, "not connected")

// connected waits for a connection until Config.Wait has passed or ctx is done.
func (s *service) connected(ctx context.Context) error {
	state := s.conn.GetState()
	if state == connectivity.Ready {
		return nil
	}
	until := time.Now()
	if lost := s.lost.Load(); lost != 0 {
		until = time.Unix(0, lost)
	}
	waiting, cancel := context.WithDeadline(ctx, until.Add(s.cfg.Wait))
	defer cancel()
	for ; state != connectivity.Ready; state = s.conn.GetState() {
		if state == connectivity.Idle {
			s.conn.Connect()
		}
		if state == connectivity.Shutdown || !s.conn.WaitForStateChange(waiting, state) {
			if err := ctx.Err(); err != nil {
				return status.FromContextError(err).Err()
			}
			return errNotConnected
		}
	}
	return nil
}

// call calls do within the call timeout, if the breaker allows it.
func call[Answer any](
	ctx context.Context,
	s *service,
	method string,
	do func(context.Context) (Answer, error),
) (answer Answer, err error) {
	began := time.Now()
	how := panicked
	defer func() { s.cfg.Observe(s.name, method, how, time.Since(began)) }()
	if err := ctx.Err(); err != nil { // the service is not called
		how, err = judge(ctx, status.FromContextError(err).Err())
		return answer, fmt.Errorf("%s %s: %w", s.name, method, err)
	}
	done, err := s.breaker.Allow()
	if err != nil {
		how = BreakerOpen
		return answer, fmt.Errorf("%s %s: %w", s.name, method, errBreakerOpen)
	}
	defer func() { done(resultOf(how)) }()
	answer, err = attempts(ctx, s, do)
	if how, err = judge(ctx, err); err != nil {
		return answer, fmt.Errorf("%s %s: %w", s.name, method, err)
	}
	return answer, nil
}

// attempts makes one attempt, and a second one if the first ends with UNAVAILABLE.
func attempts[Answer any](
	ctx context.Context,
	s *service,
	do func(context.Context) (Answer, error),
) (answer Answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	for range 2 {
		if err := s.connected(ctx); err != nil {
			return answer, err
		}
		if answer, err = do(ctx); status.Code(err) != codes.Unavailable {
			break
		}
	}
	return answer, err
}
