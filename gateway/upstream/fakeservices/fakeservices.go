// Package fakeservices plays the feed, content and user service, for tests and load tests:
// over real gRPC, with the same data in every process and run, with latencies and faults,
// and with counters of its connections.
//
// They allow the gateway's pings (Enforcement), which a real service has to allow, too:
// package upstream says how.
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

// A Service is one of the three.
type Service string

const (
	Feed    Service = "feed"
	Content Service = "content"
	User    Service = "user"
)

// Services are all three, in the order in which a page asks them.
var Services = []Service{Feed, Content, User}

// Enforcement is what the services allow their clients' pings. MinTime is as short as it is
// so that tests may ping as often as a grpc-go client can, every 10 s.
var Enforcement = keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}

// Config says what to play.
type Config struct {
	// Listen has an address for each service that is played: host:port, of which the port
	// may be 0, or unix:PATH. A service without one is not there. An empty map plays all
	// three on ports of 127.0.0.1.
	Listen map[Service]string
	// Data is what they know.
	Data Data
	// Behaviour is how each answers at first; the zero value is at once and well.
	Behaviour map[Service]Behaviour
	// ConnectLatency passes on every new connection before a byte of it is read or written.
	ConnectLatency time.Duration
	// OnCall is called with every request, before it is answered, by its full method
	// (/feed.RecommendationService/GetFeed). It may be called by many at once. nil: none.
	OnCall func(method string, request any)
}

// Behaviour is how a service answers.
type Behaviour struct {
	// Latency is how long an answer takes, an error too.
	Latency time.Duration
	// ErrorRate is the share of calls, 0 to 1, that fail with Code. They are spread
	// evenly: with 0.25 every fourth call fails.
	ErrorRate float64
	// Code is what they fail with. 0 is UNAVAILABLE.
	Code codes.Code
	// Hang leaves calls without an answer until their callers leave.
	Hang bool
}

// A Server plays the services of a Config until it is closed.
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
	due       float64   // failures owed, a part of one; guarded by mu
}

// Start listens and answers.
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
			_ = one.grpc.Serve(one.listener) // ends with nil when it is closed, and fails only then
		})
	}
	return s, nil
}

// Addr returns where a service listens, as gRPC names it: host:port, or unix:PATH. It is ""
// for one that is not played.
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

// Behave changes how a service answers from its next call on. Calls that hang go on hanging.
func (s *Server) Behave(name Service, how Behaviour) {
	if one, ok := s.services[name]; ok {
		one.mu.Lock()
		defer one.mu.Unlock()
		one.behaviour, one.due = how, 0
	}
}

// Counts is what a service has seen since it was started or reset.
type Counts struct {
	Accepted int64 `json:"accepted"` // connections, all of them
	Open     int64 `json:"open"`     // connections, now
	Calls    int64 `json:"calls"`
}

// Counts returns the counts of every service that is played.
func (s *Server) Counts() map[Service]Counts {
	all := make(map[Service]Counts, len(s.services))
	for name, one := range s.services {
		all[name] = Counts{one.listener.accepted.Load(), one.listener.open.Load(), one.calls.Load()}
	}
	return all
}

// Reset makes Accepted and Calls of every service 0. Open stays what it is.
func (s *Server) Reset() {
	for _, one := range s.services {
		one.listener.accepted.Store(0)
		one.calls.Store(0)
	}
}

// Close ends as a process that is killed: calls and connections break. It returns when
// nothing of it runs any more.
func (s *Server) Close() {
	for _, one := range s.services {
		one.grpc.Stop()
	}
	s.running.Wait()
}

// Drain lets calls end, for as long as ctx lives, and then closes.
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
