package upstream

import (
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

// polling is a resolver that resolves again every resolveEvery.
type polling struct{ resolver.Builder }

// Build implements resolver.Builder.
func (p polling) Build(
	target resolver.Target,
	conn resolver.ClientConn,
	options resolver.BuildOptions,
) (resolver.Resolver, error) {
	r, err := p.Builder.Build(target, conn, options)
	if err != nil {
		return nil, err
	}
	polled := &polledResolver{Resolver: r, closed: make(chan struct{})}
	go polled.poll()
	return polled, nil
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
