package upstream_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/novasocial/imagetier/gateway/feed"
	"github.com/novasocial/imagetier/gateway/upstream"
	"github.com/novasocial/imagetier/gateway/upstream/fakeservices"
)

func TestServices_SharedConnections(t *testing.T) {
	fakes := play(t, fakeservices.Config{
		ConnectLatency: 20 * time.Millisecond,
		Behaviour: map[fakeservices.Service]fakeservices.Behaviour{
			fakeservices.Feed: {Latency: 5 * time.Millisecond}, fakeservices.Content: {Latency: 5 * time.Millisecond},
		},
	})
	s := reach(t, at(fakes, upstream.Config{ConnectTimeout: soon, CallTimeout: soon, Wait: soon}))
	ctx := t.Context()
	const queries = 300 // all at once, the first of them before there is a connection
	var asking sync.WaitGroup
	for range queries {
		asking.Go(func() {
			page, err := s.Feeds.Slice(ctx, firstPage)
			if err != nil {
				t.Error(err)
				return
			}
			posts, err := s.Contents.Posts(ctx, page.IDs)
			if err != nil || len(posts) != 20 {
				t.Error(len(posts), err)
				return
			}
			if _, err := s.Users.Profiles(ctx, []string{posts[0].UserID}); err != nil {
				t.Error(err)
			}
		})
	}
	asking.Wait()
	for name, n := range fakes.Counts() {
		if n.Accepted != 1 || n.Open != 1 || n.Calls != queries {
			t.Errorf("%s: %+v, want one connection and %d calls", name, n, queries)
		}
	}
}

func TestServices_Run_Connects(t *testing.T) {
	fakes := play(t, fakeservices.Config{})
	s := reach(t, at(fakes, upstream.Config{}))
	untilReady(t, s)
	for name, n := range fakes.Counts() {
		if n.Accepted != 1 || n.Calls != 0 {
			t.Errorf("%s: %+v", name, n)
		}
	}
}

func TestServices_Run_ServicesStartLater(t *testing.T) {
	addrs := sockets(t)
	s := reach(t, upstream.Config{
		Feed: addrs[fakeservices.Feed], Content: addrs[fakeservices.Content], User: addrs[fakeservices.User],
		Wait: -1, CallTimeout: soon,
	})
	for name, ready := range s.Ready() {
		if ready {
			t.Errorf("%s is ready, and is not there", name)
		}
	}
	if err := getFeed(s); !errors.Is(err, feed.ErrUnavailable) {
		t.Errorf("a call without a server: %v, want ErrUnavailable", err)
	}
	play(t, fakeservices.Config{Listen: addrs})
	untilReady(t, s)
	if err := getFeed(s); err != nil {
		t.Error(err)
	}
}

// Ready reports each service independently of the others.
func TestServices_Ready(t *testing.T) {
	addrs := sockets(t)
	two := map[fakeservices.Service]string{
		fakeservices.Feed: addrs[fakeservices.Feed], fakeservices.User: addrs[fakeservices.User],
	}
	play(t, fakeservices.Config{Listen: two})
	s := reach(t, upstream.Config{
		Feed: addrs[fakeservices.Feed], Content: addrs[fakeservices.Content], User: addrs[fakeservices.User],
	})
	until(t, "feed and user are ready, content is not", func() bool {
		r := s.Ready()
		return r[upstream.Feed] && !r[upstream.Content] && r[upstream.User]
	})
}

// One call is in flight when its service is killed, and another begins while it is down.
func TestServices_ServiceRestart(t *testing.T) {
	addrs := sockets(t)
	asked := make(chan struct{}, 10)
	first, err := fakeservices.Start(fakeservices.Config{
		Listen:    addrs,
		Behaviour: map[fakeservices.Service]fakeservices.Behaviour{fakeservices.Feed: {Hang: true}},
		OnCall:    func(string, any) { asked <- struct{}{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	s := reach(t, upstream.Config{
		Feed: addrs[fakeservices.Feed], Content: addrs[fakeservices.Content], User: addrs[fakeservices.User],
		CallTimeout: soon, Wait: soon,
	})
	untilReady(t, s)
	ended := make(chan error, 2)
	go func() { ended <- getFeed(s) }()
	<-asked
	first.Close()
	until(t, "the loss is seen", func() bool { return !s.Ready()[upstream.Feed] })
	go func() { ended <- getFeed(s) }()
	play(t, fakeservices.Config{Listen: addrs})
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func TestServices_UnreachableFailsFast(t *testing.T) {
	addrs := sockets(t)
	s := reach(t, upstream.Config{
		Feed: addrs[fakeservices.Feed], Content: addrs[fakeservices.Content], User: addrs[fakeservices.User],
		CallTimeout: time.Hour, Wait: 50 * time.Millisecond,
	})
	ended := make(chan error)
	go func() { ended <- getFeed(s) }()
	select {
	case err := <-ended:
		if !errors.Is(err, feed.ErrUnavailable) {
			t.Errorf("%v, want ErrUnavailable", err)
		}
	case <-time.After(soon):
		t.Fatal("still waiting")
	}
}

// A peer that accepts connections, as the kernel does for a frozen process, and never answers.
func TestServices_ConnectTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	reach(t, upstream.Config{
		Feed: l.Addr().String(), Content: "127.0.0.1:1", User: "127.0.0.1:1", ConnectTimeout: 200 * time.Millisecond,
	})
	for attempt := range 2 { // the second attempt
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetReadDeadline(time.Now().Add(15 * time.Second)) // gRPC's own timeout is 20 s
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Errorf("attempt %d was not given up: %v", attempt, err)
		}
	}
}

// With a timeout of 13 s instead of 40: grpc-go pings every 10 s at most.
func TestServices_FrozenPeer(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits 12 s for keepalive pings")
	}
	fakes := play(t, fakeservices.Config{})
	called, idle := relayTo(t, fakes.Addr(fakeservices.Feed)), relayTo(t, fakes.Addr(fakeservices.Content))
	s := reach(t, upstream.Config{
		Feed: called.addr(), Content: idle.addr(), User: fakes.Addr(fakeservices.User),
		KeepAlive: 10 * time.Second, KeepAliveTimeout: 3 * time.Second, CallTimeout: 2 * soon,
	})
	untilReady(t, s)
	called.freeze()
	idle.freeze()
	if err := getFeed(s); err != nil { // repeated on the new connection
		t.Error("the call that was under way: ", err)
	}
	if n := called.accepted.Load(); n < 2 {
		t.Errorf("%d connections to the service that is called, want another one", n)
	}
	until(t, "the idle connection is replaced", func() bool { return idle.accepted.Load() >= 2 })
	untilReady(t, s)
	if _, err := s.Contents.Posts(t.Context(), []string{"p000001"}); err != nil {
		t.Error(err)
	}
}

func TestServices_CancelledCaller(t *testing.T) {
	asked := make(chan struct{}, 2)
	fakes := play(t, fakeservices.Config{
		Behaviour: map[fakeservices.Service]fakeservices.Behaviour{
			fakeservices.Feed: {Latency: 300 * time.Millisecond},
		},
		OnCall: func(string, any) { asked <- struct{}{} },
	})
	s := reach(t, at(fakes, upstream.Config{CallTimeout: soon, Wait: soon}))
	ctx, leave := context.WithCancel(t.Context())
	left, stayed := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := s.Feeds.Slice(ctx, firstPage)
		left <- err
	}()
	go func() { stayed <- getFeed(s) }()
	<-asked
	<-asked
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) ||
		errors.Is(err, feed.ErrUnavailable) || errors.Is(err, feed.ErrTimeout) {
		t.Errorf("the caller that left: %v, want its own cancellation and nothing else", err)
	}
	if err := <-stayed; err != nil {
		t.Error("the other caller: ", err)
	}
	if n := fakes.Counts()[fakeservices.Feed]; n.Accepted != 1 {
		t.Errorf("%+v: its leaving cost a connection", n)
	}
}
