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
	began, applied := make(chan LogState, 9), make(chan Numbered, 9)
	ended := make(chan error, 1)
	follow := func(ctx context.Context, from uint64, before Applied) {
		ended <- b.Follow(ctx, Purges, Follower{
			Applied: before,
			Begin: func(state LogState) (uint64, error) {
				began <- state
				return from, nil
			},
			Apply: func(_ context.Context, some []Numbered) error {
				for _, one := range some {
					applied <- one
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
	following, stop := context.WithCancel(ctx)
	go follow(following, 1, Applied{})
	for i := range 3 {
		add(fmt.Sprint("lost", i))
	}
	arrived := func(number uint64) (one Numbered) {
		for one.Number < number {
			select {
			case one = <-applied:
			case <-ctx.Done():
				t.Fatalf("entry %d did not arrive", number)
			}
		}
		return one
	}
	lost := arrived(6)
	for len(began) > 0 {
		<-began
	}
	end(srv)
	serve(older)
	if number := add("new"); number != 4 {
		t.Fatalf("the new entry has number %d", number)
	}
	var state LogState
	select {
	case state = <-began:
		if state.Last != 4 || !state.Reset {
			t.Errorf("begun with %+v", state)
		}
	case <-ctx.Done():
		t.Error("the follower goes on behind entry 6")
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	// A follower that was down meanwhile finds other entries under the numbers that it has applied.
	for i := range 3 {
		add(fmt.Sprint("new", i))
	}
	for len(applied) > 0 {
		<-applied
	}
	following, stop = context.WithCancel(ctx)
	go follow(following, 1, Applied{})
	<-began
	held := arrived(7)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for name, test := range map[string]struct {
		before Applied
		reset  bool
	}{
		"a lost entry":                  {Applied{state.ID, lost.Number, lost.At}, true},
		"an entry that the log has":     {Applied{state.ID, held.Number, held.At}, false},
		"an entry behind the end":       {Applied{Log: state.ID, Number: 8}, true},
		"an entry of unknown time":      {Applied{Log: state.ID, Number: 6}, false},
		"an entry of a log before that": {Applied{state.ID - 1, lost.Number, lost.At}, false},
	} {
		following, stop := context.WithCancel(ctx)
		go follow(following, 8, test.before)
		if begun := <-began; begun.Last != 7 || begun.Reset != test.reset {
			t.Errorf("%s: begun with %+v, want reset: %v", name, begun, test.reset)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
