package jetstream

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// A server that is restored from an older copy of its files, or that has lost its last writes, gives the numbers
// of lost entries to new ones. A follower that goes on behind the lost entries would never get those.
func TestBus_Follow_BeginsAgain_WhenTheLogEndsEarlier(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds: the follower looks at the stream from time to time")
	}
	dir, older := t.TempDir(), filepath.Join(t.TempDir(), "older")
	port := server.RANDOM_PORT
	serve := func(dir string) *server.Server {
		srv := serverOn(t, &server.Options{JetStream: true, StoreDir: dir}, port)
		port = srv.Addr().(*net.TCPAddr).Port
		return srv
	}
	end := func(srv *server.Server) {
		srv.Shutdown()
		srv.WaitForShutdown()
	}
	srv := serve(dir)
	b, _ := run(t, Config{URL: srv.ClientURL(), Replicas: 1})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	began, applied := make(chan LogState, 9), make(chan uint64, 9)
	ended := make(chan error, 1)
	follow := func(from uint64) {
		ended <- b.Follow(ctx, Purges, Follower{
			Begin: func(state LogState) (uint64, error) {
				began <- state
				return from, nil
			},
			Apply: func(_ context.Context, some []Numbered) error {
				for _, one := range some {
					applied <- one.Number
				}
				return nil
			},
		})
	}
	add := func(id string) (number uint64) {
		for ctx.Err() == nil {
			var err error
			if number, err = b.Append(ctx, Purges, "x", id, []byte("entry")); err == nil {
				return number
			}
			time.Sleep(50 * time.Millisecond) // it connects again
		}
		t.Fatal("nothing can be appended")
		return 0
	}
	if _, err := b.stream(ctx, b.now.js, Purges.config()); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		add(fmt.Sprint(i))
	}
	end(srv)
	if err := os.CopyFS(older, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	srv = serve(dir)
	go follow(1)
	for i := range 3 {
		add(fmt.Sprint("lost", i))
	}
	for number := uint64(0); number < 6; {
		select {
		case number = <-applied:
		case <-ctx.Done():
			t.Fatal("entry 6 did not arrive")
		}
	}
	for len(began) > 0 {
		<-began
	}
	end(srv)
	serve(older)
	if number := add("new"); number != 4 {
		t.Fatalf("the new entry has number %d", number)
	}
	select {
	case state := <-began:
		if state.Last != 4 {
			t.Errorf("begun with %+v", state)
		}
	case <-ctx.Done():
		t.Error("the follower goes on behind entry 6")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
