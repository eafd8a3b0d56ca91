package upstream_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/novasocial/imagetier/gateway/feed"
	"github.com/novasocial/imagetier/gateway/upstream"
	"github.com/novasocial/imagetier/gateway/upstream/fakeservices"
	"github.com/novasocial/imagetier/internal/circuit"
)

// moves records the state changes of breakers.
type moves struct {
	mu  sync.Mutex
	all []string
}

func (m *moves) moved(service string, to circuit.State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, service+" "+to.String())
}

func (m *moves) seen() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.all)
}

// broken fails every call.
var broken = fakeservices.Behaviour{ErrorRate: 1, Code: codes.Internal}

// The breaker opens on consecutive failures, and answers at once from then on.
func TestBreaker_OpensAfterFiveFailures(t *testing.T) {
	fakes := play(t, fakeservices.Config{
		Behaviour: map[fakeservices.Service]fakeservices.Behaviour{fakeservices.Feed: broken},
	})
	var m moves
	s := reach(t, at(fakes, upstream.Config{
		Wait: soon, CallTimeout: soon, Breaker: circuit.Config{Pause: time.Hour, Changed: m.moved},
	}))
	untilReady(t, s)
	for range 8 {
		if err := getFeed(s); !errors.Is(err, feed.ErrUnavailable) {
			t.Fatalf("%v, want ErrUnavailable", err)
		}
	}
	if n := fakes.Counts()[fakeservices.Feed].Calls; n != 5 {
		t.Errorf("the service was asked %d times, want 5", n)
	}
	if want := []string{"feed open"}; !slices.Equal(m.seen(), want) {
		t.Errorf("breakers moved %q, want %q", m.seen(), want)
	}
	if r := s.Ready(); r[upstream.Feed] || !r[upstream.Content] || !r[upstream.User] {
		t.Errorf("ready: %v, want all but feed", r)
	}
	if _, err := s.Contents.Posts(t.Context(), []string{"p000001"}); err != nil {
		t.Error("another service: ", err)
	}
}

// The half-open breaker closes again by itself after a pause.
func TestBreaker_Closes(t *testing.T) {
	fakes := play(t, fakeservices.Config{
		Behaviour: map[fakeservices.Service]fakeservices.Behaviour{fakeservices.User: broken},
	})
	var m moves
	s := reach(t, at(fakes, upstream.Config{
		Wait: soon, CallTimeout: soon, Breaker: circuit.Config{Pause: 50 * time.Millisecond, Changed: m.moved},
	}))
	untilReady(t, s)
	profiles := func() error {
		_, err := s.Users.Profiles(context.Background(), []string{"u00001"})
		return err
	}
	until(t, "a try has failed", func() bool { return profiles() != nil && len(m.seen()) >= 3 })
	if want := []string{"user open", "user half-open", "user open"}; !slices.Equal(m.seen()[:3], want) {
		t.Errorf("breaker moved %q, want %q", m.seen(), want)
	}
	fakes.Behave(fakeservices.User, fakeservices.Behaviour{})
	until(t, "a call succeeds again", func() bool { return profiles() == nil })
	if all := m.seen(); all[len(all)-1] != "user closed" || s.States()[upstream.User] != circuit.Closed {
		t.Errorf("breaker moved %q and is %v, want closed", all, s.States())
	}
}

// The breaker opens at a failure rate, too.
func TestBreaker_OpensAtHalfFailing(t *testing.T) {
	fakes := play(t, fakeservices.Config{Behaviour: map[fakeservices.Service]fakeservices.Behaviour{
		fakeservices.Feed: {ErrorRate: 0.5, Code: codes.Internal}, // every second one: never two in a row
	}})
	s := reach(t, at(fakes, upstream.Config{
		Wait: soon, CallTimeout: soon, Breaker: circuit.Config{Pause: time.Hour, Window: time.Hour},
	}))
	for i := range 20 {
		if s.States()[upstream.Feed] != circuit.Closed {
			t.Fatalf("open after %d calls, want 20", i)
		}
		_ = getFeed(s)
	}
	if state := s.States()[upstream.Feed]; state != circuit.Open {
		t.Errorf("the breaker is %v after 10 failures of 20 calls, want open", state)
	}
}

// NotFound, Canceled, InvalidArgument and other errors that are about the request do not count.
func TestBreaker_RequestErrors(t *testing.T) {
	for _, code := range []codes.Code{
		codes.NotFound, codes.Canceled, codes.InvalidArgument,
		codes.OutOfRange, codes.FailedPrecondition, codes.AlreadyExists, codes.PermissionDenied,
	} {
		t.Run(code.String(), func(t *testing.T) {
			fakes := play(t, fakeservices.Config{Behaviour: map[fakeservices.Service]fakeservices.Behaviour{
				fakeservices.Feed: {ErrorRate: 1, Code: code},
			}})
			s := reach(t, at(fakes, upstream.Config{Wait: soon, CallTimeout: soon}))
			for range 30 {
				_ = getFeed(s)
			}
			if n := fakes.Counts()[fakeservices.Feed].Calls; n != 30 || s.States()[upstream.Feed] != circuit.Closed {
				t.Errorf("%d calls reached the service, want 30; breaker %v, want closed", n, s.States()[upstream.Feed])
			}
		})
	}
}

func TestBreaker_CancelledCalls_DoNotOpenIt(t *testing.T) {
	asked := make(chan struct{})
	fakes := play(t, fakeservices.Config{
		Behaviour: map[fakeservices.Service]fakeservices.Behaviour{fakeservices.Feed: {Hang: true}},
		OnCall:    func(string, any) { asked <- struct{}{} },
	})
	s := reach(t, at(fakes, upstream.Config{Wait: soon, CallTimeout: soon}))
	for range 10 {
		ctx, leave := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			_, err := s.Feeds.Slice(ctx, firstPage)
			ended <- err
		}()
		<-asked
		leave()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if state := s.States()[upstream.Feed]; state != circuit.Closed {
		t.Errorf("the breaker is %v", state)
	}
}

func TestBreaker_UnreachableService(t *testing.T) {
	addrs := sockets(t)
	s := reach(t, upstream.Config{
		Feed: addrs[fakeservices.Feed], Content: addrs[fakeservices.Content], User: addrs[fakeservices.User],
		Wait: -1, Breaker: circuit.Config{Pause: time.Hour},
	})
	for range 5 {
		if err := getFeed(s); !errors.Is(err, feed.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	if state := s.States()[upstream.Feed]; state != circuit.Open {
		t.Errorf("the breaker is %v, want open", state)
	}
}
