package upstream

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/novasocial/imagetier/gateway/feed"
	"github.com/novasocial/imagetier/gateway/proto/feedpb"
	"github.com/novasocial/imagetier/gateway/upstream/fakeservices"
)

// counting is a resolver that counts how often it is asked to resolve again.
type counting struct{ n atomic.Int32 }

func (c *counting) Scheme() string { return "dns" }

func (c *counting) Build(resolver.Target, resolver.ClientConn, resolver.BuildOptions) (resolver.Resolver, error) {
	return c, nil
}

func (c *counting) ResolveNow(resolver.ResolveNowOptions) { c.n.Add(1) }

func (c *counting) Close() {}

func TestPolling_ResolvesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c counting
		r, err := polling{&c}.Build(resolver.Target{}, nil, resolver.BuildOptions{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5*time.Minute + time.Second)
		if n := c.n.Load(); n != 10 {
			t.Errorf("resolved %d times in five minutes, want 10", n)
		}
		r.Close()
		time.Sleep(5 * time.Minute)
		if n := c.n.Load(); n != 10 {
			t.Errorf("resolved %d times after Close", n-10)
		}
	})
}

// stateOf is a resolver.ClientConn that keeps the last state.
type stateOf struct {
	resolver.ClientConn
	last resolver.State
}

func (s *stateOf) UpdateState(state resolver.State) error { s.last = state; return nil }

func TestPolling_BoundsAddresses(t *testing.T) {
	names := manual.NewBuilderWithScheme("dns")
	var state resolver.State
	for i := range 4000 {
		at := resolver.Address{Addr: fmt.Sprintf("10.0.%d.%d:9090", i>>8, i&255)}
		state.Addresses = append(state.Addresses, at)
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{at}})
	}
	names.InitialState(state)
	var conn stateOf
	r, err := polling{names}.Build(resolver.Target{}, &conn, resolver.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	first := conn.last
	if len(first.Addresses) != maxAddresses || len(first.Endpoints) != maxAddresses {
		t.Fatalf("%d addresses, %d endpoints", len(first.Addresses), len(first.Endpoints))
	}
	slices.Reverse(state.Addresses)
	names.UpdateState(state)
	if !slices.EqualFunc(first.Addresses, conn.last.Addresses, resolver.Address.Equal) {
		t.Error("another order of the records selects other addresses")
	}
}

// A service at two addresses gets calls at both, over one connection each, and at none that its
// name no longer has.
func TestServices_TwoAddresses(t *testing.T) {
	var fakes [2]*fakeservices.Server
	var at [2]resolver.Address
	for i := range fakes {
		var err error
		if fakes[i], err = fakeservices.Start(fakeservices.Config{}); err != nil {
			t.Fatal(err)
		}
		defer fakes[i].Close()
		at[i].Addr = fakes[i].Addr(fakeservices.Feed)
	}
	names := manual.NewBuilderWithScheme("dns")
	names.InitialState(resolver.State{Addresses: at[:1]})
	cfg := Config{CallTimeout: 30 * time.Second, Wait: 30 * time.Second, dns: names}.withDefaults()
	s, err := newService(Feed, "feed:9090", cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.conn.Close()
	client := feeds{s, feedpb.NewRecommendationServiceClient(s.conn)}
	counts := func(i int) fakeservices.Counts { return fakes[i].Counts()[fakeservices.Feed] }
	callUntil := func(condition string, holds func() bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !holds(); {
			if time.Now().After(deadline) {
				t.Fatalf("not within 30 s: %s", condition)
			}
			if _, err := client.Slice(t.Context(), feed.Query{User: "u", Limit: 1}); err != nil {
				t.Fatal(err)
			}
		}
	}
	callUntil("calls at the first address", func() bool { return counts(0).Calls >= 10 })
	if n := counts(1); n.Accepted != 0 {
		t.Errorf("the second address, which is not there yet: %+v", n)
	}
	names.UpdateState(resolver.State{Addresses: at[:]})
	callUntil("calls at the added address", func() bool { return counts(1).Calls >= 10 })
	before := counts(0).Calls
	callUntil("calls at both", func() bool { return counts(0).Calls >= before+10 })
	names.UpdateState(resolver.State{Addresses: at[1:]})
	callUntil("the removed address is left", func() bool { return counts(0).Open == 0 })
	for i := range fakes {
		if n := counts(i); n.Accepted != 1 {
			t.Errorf("address %d: %+v, want one connection", i, n)
		}
	}
}
