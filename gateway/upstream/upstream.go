// Package upstream calls the feed, content and user services over gRPC. All callers share one
// connection to each address of a service. Every call has a timeout, and every service a breaker.
// [Services] implements the interfaces of package feed.
//
//	caller → breaker → connected? → gRPC, 5 s → feed's types and errors
//
// # Connections
//
// The start does not wait for services. Run connects in the background, and reconnects after a loss
// with pauses from 100 ms to 4 s. A call whose service is not connected waits until Config.Wait
// after the loss, so a restart of a service delays calls but fails none. A call that ends with
// UNAVAILABLE, for example because the connection broke, is retried once. All calls can be
// repeated: Like has an idempotency key. Calls are distributed over all addresses of a host name
// (round_robin), which is resolved again every 30 s: see resolve.go.
//
// # What a service must allow
//
// A connection that has been silent for 30 s is pinged, even without open calls, and is replaced if
// there is no answer within 10 s. So a peer that hangs, or a firewall that dropped the connection,
// delays calls by at most 40 s. By default a grpc-go server allows a ping every 5 minutes, and
// every 2 hours without calls; after more of them it sends GOAWAY (too_many_pings) and closes the
// connection. So each service has to allow these pings:
//
//	grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
//		MinTime:             20 * time.Second, // less than 30 s, because the interval varies
//		PermitWithoutStream: true,
//	})
//
// In Java permitKeepAliveTime and permitKeepAliveWithoutCalls, in C++, Python and Node
// grpc.http2.min_ping_interval_without_data_ms and grpc.keepalive_permit_without_calls.
package upstream

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"

	"github.com/novasocial/imagetier/gateway/feed"
	"github.com/novasocial/imagetier/gateway/proto/contentpb"
	"github.com/novasocial/imagetier/gateway/proto/feedpb"
	"github.com/novasocial/imagetier/gateway/proto/userpb"
	"github.com/novasocial/imagetier/internal/circuit"
)

// The names of the services, in the order in which a page calls them.
const (
	Feed    = "feed"
	Content = "content"
	User    = "user"
)

// Config has the addresses and timeouts of the services. The context of the caller bounds a whole
// request.
type Config struct {
	// Feed, Content and User are gRPC addresses: host:port, dns:///host:port, unix:PATH. All are
	// required.
	Feed, Content, User string
	// TLS is the configuration of TLS. If nil, connections use no TLS.
	TLS *tls.Config
	// ConnectTimeout bounds one attempt to connect. 0 is 5 s.
	ConnectTimeout time.Duration
	// CallTimeout bounds one call, including its wait for a connection and its retry. 0 is 5 s.
	CallTimeout time.Duration
	// Wait is how long calls wait for a connection after it was lost, or after New. 0 means 3 s; if
	// negative, they do not wait.
	Wait time.Duration
	// KeepAlive is how long a connection may be silent before it is pinged; 0 means 30 s, and the
	// minimum is 10 s. KeepAliveTimeout is how long the answer may take; 0 means 10 s.
	KeepAlive, KeepAliveTimeout time.Duration
	// MaxMessage bounds a message of either direction, in bytes. 0 is 4 MiB.
	MaxMessage int
	// Breaker configures the breaker of each service, whose name is that of the service. Failures
	// are timeouts, unreachable services and internal errors. Callers that left and answers about
	// the request (NOT_FOUND, INVALID_ARGUMENT) are ignored.
	Breaker circuit.Config
	// Traces makes a span for every call and sends its id to the service (W3C traceparent). If nil,
	// calls have no spans.
	Traces trace.TracerProvider
	// Observe is called with the outcome of every call as its caller saw it, with the names of
	// the service and of the method (GetFeed). If nil, it is not called.
	Observe func(service, method string, how Outcome, took time.Duration)

	dns resolver.Builder // if nil, gRPC's own
}

func (c Config) withDefaults() Config {
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, 5*time.Second)
	c.CallTimeout = cmp.Or(c.CallTimeout, 5*time.Second)
	c.Wait = max(cmp.Or(c.Wait, 3*time.Second), 0)
	c.KeepAlive = cmp.Or(c.KeepAlive, 30*time.Second)
	c.KeepAliveTimeout = cmp.Or(c.KeepAliveTimeout, 10*time.Second)
	c.MaxMessage = cmp.Or(c.MaxMessage, 4<<20)
	if c.dns == nil {
		c.dns = resolver.Get("dns")
	}
	if c.Observe == nil {
		c.Observe = func(string, string, Outcome, time.Duration) {}
	}
	return c
}

// Services has clients of the three services. It is safe for concurrent use.
type Services struct {
	Feeds    feed.Feeds
	Contents feed.Contents
	Users    feed.Users

	all []*service
}

// New returns Services. It does not connect: Run and the first calls do.
func New(cfg Config) (*Services, error) {
	cfg = cfg.withDefaults()
	s := &Services{}
	for _, of := range []struct{ name, addr string }{{Feed, cfg.Feed}, {Content, cfg.Content}, {User, cfg.User}} {
		one, err := newService(of.name, of.addr, cfg)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("the %s service's address: %w", of.name, err), s.Close())
		}
		s.all = append(s.all, one)
	}
	s.Feeds = feeds{s.all[0], feedpb.NewRecommendationServiceClient(s.all[0].conn)}
	s.Contents = contents{s.all[1], contentpb.NewContentServiceClient(s.all[1].conn)}
	s.Users = users{s.all[2], userpb.NewUserServiceClient(s.all[2].conn)}
	return s, nil
}

// Run connects, and reconnects after a loss, until ctx ends. It returns nil. Calls continue to work
// afterwards; Close ends them.
func (s *Services) Run(ctx context.Context) error {
	var watching sync.WaitGroup
	for _, one := range s.all {
		watching.Go(func() { one.watch(ctx) })
	}
	watching.Wait()
	return nil
}

// Ready reports for each service whether it is connected and its breaker is not open.
func (s *Services) Ready() map[string]bool {
	ready := make(map[string]bool, len(s.all))
	for _, one := range s.all {
		ready[one.name] = one.conn.GetState() == connectivity.Ready && one.breaker.State() != circuit.Open
	}
	return ready
}

// Close ends calls and connections.
func (s *Services) Close() error {
	var errs []error
	for _, one := range s.all {
		errs = append(errs, one.conn.Close())
	}
	return errors.Join(errs...)
}

// checkAddress returns an error for text that gRPC would treat as the name of an unknown host.
func checkAddress(addr string) error {
	switch {
	case addr == "":
		return errors.New("missing")
	case strings.HasPrefix(addr, "http://"), strings.HasPrefix(addr, "https://"):
		return fmt.Errorf("%q is a URL: gRPC wants host:port", addr)
	}
	return nil
}
