// Package fakeservices implements fake feed, content and user services for tests and load tests:
// real gRPC, the same data in every process and run, configurable latency and faults, and
// counters of connections.
//
// They allow the gateway's pings ([Enforcement]), as a real service must: see package upstream.
package fakeservices

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"

	"github.com/novasocial/imagetier/gateway/proto/contentpb"
	"github.com/novasocial/imagetier/gateway/proto/feedpb"
	"github.com/novasocial/imagetier/gateway/proto/userpb"
)

// A Service is the name of one of the three services.
type Service string

const (
	Feed    Service = "feed"
	Content Service = "content"
	User    Service = "user"
)

// Services are all services, in the order in which a page calls them.
var Services = []Service{Feed, Content, User}

// Enforcement is the keepalive policy of the services. MinTime is short, so that tests can ping as
// often as a grpc-go client can: every 10 s.
var Enforcement = keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}

// Config configures a [Server].
type Config struct {
	// Listen has the address of each service to run: host:port (port 0 is any), or unix:PATH.
	// Services that are missing do not run. If the map is empty, all run on 127.0.0.1.
	Listen map[Service]string
	// Data is the data of the services.
	Data Data
	// Behaviour is the initial behaviour of each; the zero value answers at once without faults.
	Behaviour map[Service]Behaviour
	// ConnectLatency delays the first byte of every new connection.
	ConnectLatency time.Duration
	// OnCall, if not nil, is called with the full method (/feed.RecommendationService/GetFeed) and
	// the request before a call is answered. It must be safe for concurrent use.
	OnCall func(method string, request any)
}

// Behaviour is the latency and the faults of a service.
type Behaviour struct {
	// Latency is the time to each answer, including errors.
	Latency time.Duration
	// ErrorRate is the share of calls that fail with Code, 0 to 1, evenly spread: with 0.25 every
	// fourth call fails.
	ErrorRate float64
	// Code is the status of failed calls. 0 is UNAVAILABLE.
	Code codes.Code
	// Hang leaves calls unanswered until their clients cancel them.
	Hang bool
}

// A Server runs the services of a Config until it is closed.
type Server struct {
	services map[Service]*service
	running  sync.WaitGroup
}

type service struct {
	name     Service
	listener *listener
	grpc     *grpc.Server
	onCall   func(method string, request any)
	calls    atomic.Int64

	mu        sync.Mutex
	behaviour Behaviour // guarded by mu
	due       float64   // fraction of the next failure; guarded by mu
}

// Start starts the services.
func Start(cfg Config) (*Server, error) {
	if len(cfg.Listen) == 0 {
		cfg.Listen = map[Service]string{}
		for _, name := range Services {
			cfg.Listen[name] = "127.0.0.1:0"
		}
	}
	known := newWorld(cfg.Data)
	s := &Server{services: map[Service]*service{}}
	for name, addr := range cfg.Listen {
		if !slices.Contains(Services, name) {
			s.Close()
			return nil, fmt.Errorf("there is no service %q", name)
		}
		network := "tcp"
		if path, ok := strings.CutPrefix(addr, "unix:"); ok {
			network, addr = "unix", path
		}
		l, err := net.Listen(network, addr)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("%s service: %w", name, err)
		}
		one := &service{
			name:      name,
			listener:  &listener{Listener: l, latency: cfg.ConnectLatency},
			onCall:    cfg.OnCall,
			behaviour: cfg.Behaviour[name],
		}
		one.grpc = grpc.NewServer(grpc.KeepaliveEnforcementPolicy(Enforcement), grpc.UnaryInterceptor(one.intercept))
		switch name {
		case Feed:
			feedpb.RegisterRecommendationServiceServer(one.grpc, feedService{world: known})
		case Content:
			contentpb.RegisterContentServiceServer(one.grpc, newContentService(known))
		case User:
			userpb.RegisterUserServiceServer(one.grpc, userService{world: known})
		}
		s.services[name] = one
		s.running.Go(func() {
			_ = one.grpc.Serve(one.listener) // returns when the server is closed
		})
	}
	return s, nil
}

// Addr returns the address of a service, host:port or unix:PATH, or "" if it does not run.
func (s *Server) Addr(name Service) string {
	one, ok := s.services[name]
	if !ok {
		return ""
	}
	addr := one.listener.Addr()
	if addr.Network() == "unix" {
		return "unix:" + addr.String()
	}
	return addr.String()
}

// Behave changes the behaviour of a service for new calls. Hanging calls keep hanging.
func (s *Server) Behave(name Service, how Behaviour) {
	if one, ok := s.services[name]; ok {
		one.mu.Lock()
		defer one.mu.Unlock()
		one.behaviour, one.due = how, 0
	}
}

// Counts are counters of a service since its start or the last reset.
type Counts struct {
	Accepted int64 `json:"accepted"` // connections
	Open     int64 `json:"open"`     // open connections
	Calls    int64 `json:"calls"`
}

// Counts returns the counters of every running service.
func (s *Server) Counts() map[Service]Counts {
	all := make(map[Service]Counts, len(s.services))
	for name, one := range s.services {
		all[name] = Counts{one.listener.accepted.Load(), one.listener.open.Load(), one.calls.Load()}
	}
	return all
}

// Reset sets Accepted and Calls of every service to 0. Open does not change.
func (s *Server) Reset() {
	for _, one := range s.services {
		one.listener.accepted.Store(0)
		one.calls.Store(0)
	}
}

// Close stops the services as if the process was killed: calls and connections break. It returns
// when all goroutines have ended.
func (s *Server) Close() {
	for _, one := range s.services {
		one.grpc.Stop()
	}
	s.running.Wait()
}

// Drain waits until calls in flight end or ctx is done, and then closes.
func (s *Server) Drain(ctx context.Context) {
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		var all sync.WaitGroup
		for _, one := range s.services {
			all.Go(one.grpc.GracefulStop)
		}
		all.Wait()
	}()
	select {
	case <-drained:
	case <-ctx.Done():
	}
	s.Close()
	<-drained
}
