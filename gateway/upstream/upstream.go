// Package upstream reaches the feed, content and user service over gRPC: one connection to
// each address of each, made once and shared by all callers, with a timeout for every call and a breaker for
// every service. It is what package feed asks of them.
//
//	caller → breaker → connected? → gRPC, 5 s → feed's types and errors
//
// # Connections
//
// Nothing waits for a service at the start. Run connects in the background, and again when a
// connection is lost, with pauses from 100 ms to 4 s. A call that finds its service not
// connected waits for it, until Config.Wait after the connection was lost, so that a service
// that is restarted costs its callers some time and no answer. A call that ends with
// UNAVAILABLE, as calls do whose connection breaks, is made a second time: all calls may be,
// Like by its key. Calls take turns over all addresses of a name (round_robin), which is resolved
// again every 30 s: see resolve.go.
//
// # What a service must allow
//
// A connection that has been silent for 30 s is pinged, also while no call is open, and
// closed and replaced when nothing comes back within 10 s: so a peer that is frozen, or a
// firewall that forgot the connection, holds calls up for 40 s at most. A grpc-go server that
// is not told otherwise allows a ping in 5 minutes, and in 2 hours without a call; it answers
// GOAWAY, too_many_pings, and closes. Each of the services has to allow them:
//
//	grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
//		MinTime:             20 * time.Second, // at most 30 s; some less, as pings jitter
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

// The services' names, in the order in which a page asks them.
const (
	Feed    = "feed"
	Content = "content"
	User    = "user"
)

// Config says where the services are. How long a whole request may take is its caller's
// matter, by its context.
type Config struct {
	// Feed, Content and User are addresses as gRPC has them: host:port, dns:///host:port,
	// unix:PATH. Each must be there.
	Feed, Content, User string
	// TLS is what to speak TLS with. nil: without TLS.
	TLS *tls.Config
	// ConnectTimeout bounds one attempt to connect. 0 is 5 s.
	ConnectTimeout time.Duration
	// CallTimeout bounds one call, including its wait for a connection and its retry. 0 is 5 s.
	CallTimeout time.Duration
	// Wait is how long after a connection was lost, or since New, calls wait for it to come
	// back. 0 is 3 s, negative: they do not wait.
	Wait time.Duration
	// KeepAlive is after how much silence a connection is pinged, and KeepAliveTimeout how
	// long the answer may take. 0 is 30 s, at least 10 s; and 10 s.
	KeepAlive, KeepAliveTimeout time.Duration
	// MaxMessage bounds a message of either direction, in bytes. 0 is 4 MiB.
	MaxMessage int
	// Breaker configures each service's breaker; its name is the service's. Failures are
	// timeouts, services that cannot be reached, and those that report an internal error.
	// Ignored are callers that left, and answers about the request (NOT_FOUND,
	// INVALID_ARGUMENT).
	Breaker circuit.Config
	// Traces makes a span of every call and sends it to the service (W3C traceparent); nil makes
	// none.
	Traces trace.TracerProvider
	// Observe is called with the outcome of every call as its caller saw it, with the names of
	// the service and of the method (GetFeed). If nil, it is not called.
	Observe func(service, method string, how Outcome, took time.Duration)

	dns resolver.Builder // nil: gRPC's
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

// Services are the three, reached. They are safe for concurrent use.
type Services struct {
	Feeds    feed.Feeds
	Contents feed.Contents
	Users    feed.Users

	all []*service
}

// New dials nothing: Run and the first calls do.
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

// Run connects, and reconnects after a loss, until ctx ends. It returns nil. Calls go on
// working after it: to end them, too, is Close.
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

// States returns the states of the breakers, by service.
func (s *Services) States() map[string]circuit.State {
	states := make(map[string]circuit.State, len(s.all))
	for _, one := range s.all {
		states[one.name] = one.breaker.State()
	}
	return states
}

// Close ends calls and connections.
func (s *Services) Close() error {
	var errs []error
	for _, one := range s.all {
		errs = append(errs, one.conn.Close())
	}
	return errors.Join(errs...)
}

// checkAddress finds what gRPC would take for a host's name and never reach.
func checkAddress(addr string) error {
	switch {
	case addr == "":
		return errors.New("there is none")
	case strings.HasPrefix(addr, "http://"), strings.HasPrefix(addr, "https://"):
		return fmt.Errorf("%q is a URL: gRPC wants host:port", addr)
	}
	return nil
}
