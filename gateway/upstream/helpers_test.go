package upstream_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/novasocial/imagetier/gateway/feed"
	"github.com/novasocial/imagetier/gateway/upstream"
	"github.com/novasocial/imagetier/gateway/upstream/fakeservices"
)

// soon is how long a test waits for an expected event; the machine may be busy.
const soon = 30 * time.Second

// play starts the three fake services, and closes them with the test.
func play(t *testing.T, cfg fakeservices.Config) *fakeservices.Server {
	t.Helper()
	fakes, err := fakeservices.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fakes.Close)
	return fakes
}

// at sets the addresses of the services.
func at(fakes *fakeservices.Server, cfg upstream.Config) upstream.Config {
	cfg.Feed = fakes.Addr(fakeservices.Feed)
	cfg.Content = fakes.Addr(fakeservices.Content)
	cfg.User = fakes.Addr(fakeservices.User)
	return cfg
}

// reach returns Services that run as long as the test.
func reach(t *testing.T, cfg upstream.Config) *upstream.Services {
	t.Helper()
	s, err := upstream.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = s.Run(ctx) })
	t.Cleanup(func() {
		stop()
		running.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// until polls a condition.
func until(t *testing.T, condition string, holds func() bool) {
	t.Helper()
	deadline := time.After(soon)
	for again := time.NewTicker(5 * time.Millisecond); ; {
		if holds() {
			again.Stop()
			return
		}
		select {
		case <-again.C:
		case <-deadline:
			t.Fatalf("waited %v for: %s", soon, condition)
		}
	}
}

func untilReady(t *testing.T, s *upstream.Services) {
	t.Helper()
	until(t, "all three services are ready", func() bool {
		r := s.Ready()
		return r[upstream.Feed] && r[upstream.Content] && r[upstream.User]
	})
}

// sockets returns addresses at which nothing listens yet, and that no other test uses.
func sockets(t *testing.T) map[fakeservices.Service]string {
	t.Helper()
	dir, err := os.MkdirTemp("", "up") // t.TempDir is too long a name for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	addrs := map[fakeservices.Service]string{}
	for _, name := range fakeservices.Services {
		addrs[name] = "unix:" + filepath.Join(dir, string(name))
	}
	return addrs
}

// serve runs a gRPC server, and returns its address.
func serve(t *testing.T, register func(*grpc.Server), options ...grpc.ServerOption) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(options...)
	register(server)
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() {
		server.Stop()
		running.Wait()
	})
	return l.Addr().String()
}

var firstPage = feed.Query{User: "u", Limit: 20, Algorithm: "ch"}

func getFeed(s *upstream.Services) error {
	_, err := s.Feeds.Slice(context.Background(), firstPage)
	return err
}
