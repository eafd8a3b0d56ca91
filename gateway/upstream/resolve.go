package upstream

import (
	"cmp"
	"slices"
	"time"

	"google.golang.org/grpc/resolver"
)

// roundRobin spreads the calls of a service over all addresses that its name has, with one
// connection to each. gRPC's default uses the first address only.
const roundRobin = `{"loadBalancingConfig":[{"round_robin":{}}]}`

// resolveEvery is how often names are resolved again: as often as gRPC's resolver does. By itself
// it does so only when a connection breaks, so an address that was added would get no calls, and
// one that was removed would keep them.
const resolveEvery = 30 * time.Second

// maxAddresses is how many addresses of a name are used. Each has a connection of about 100 KB, and an
// answer of DNS has room for 4,000.
const maxAddresses = 256

// polling is a resolver that resolves again every resolveEvery, and of many addresses uses maxAddresses.
type polling struct{ resolver.Builder }

// Build implements resolver.Builder.
func (p polling) Build(
	target resolver.Target,
	conn resolver.ClientConn,
	options resolver.BuildOptions,
) (resolver.Resolver, error) {
	r, err := p.Builder.Build(target, fewAddresses{conn}, options)
	if err != nil {
		return nil, err
	}
	polled := &polledResolver{Resolver: r, closed: make(chan struct{})}
	go polled.poll()
	return polled, nil
}

// fewAddresses drops the addresses beyond maxAddresses, in the order of their text: the same ones each time.
type fewAddresses struct{ resolver.ClientConn }

// UpdateState implements resolver.ClientConn.
func (f fewAddresses) UpdateState(s resolver.State) error {
	if len(s.Addresses) > maxAddresses {
		s.Addresses = slices.SortedFunc(slices.Values(s.Addresses), func(a, b resolver.Address) int {
			return cmp.Compare(a.Addr, b.Addr)
		})[:maxAddresses]
	}
	if len(s.Endpoints) > maxAddresses {
		s.Endpoints = slices.SortedFunc(slices.Values(s.Endpoints), func(a, b resolver.Endpoint) int {
			return slices.CompareFunc(a.Addresses, b.Addresses, func(a, b resolver.Address) int {
				return cmp.Compare(a.Addr, b.Addr)
			})
		})[:maxAddresses]
	}
	return f.ClientConn.UpdateState(s)
}

type polledResolver struct {
	resolver.Resolver
	closed chan struct{}
}

func (r *polledResolver) poll() {
	tick := time.NewTicker(resolveEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.ResolveNow(resolver.ResolveNowOptions{})
		case <-r.closed:
			return
		}
	}
}

// Close implements resolver.Resolver.
func (r *polledResolver) Close() {
	close(r.closed)
	r.Resolver.Close()
}
