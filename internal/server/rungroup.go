package server

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
)

// runGroup runs the parts of a server and ends them in order: first the public listener
// and warming, then the private listener, which answers while the public one drains, and
// last the base that all of them use.
type runGroup struct {
	public, private func(context.Context) error
	warming         []func(context.Context) error // background work that a later run can resume
	base            []func(context.Context) error // queues, disks, resize processes
	drain           func()                        // called when ctx is done, before any part ends
}

// run runs all parts until ctx is done or one of them fails, and returns the first error.
func (g runGroup) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx) // done with the first failure too
	privateCtx, stopPrivate := context.WithCancel(context.WithoutCancel(ctx))
	baseCtx, stopBase := context.WithCancel(context.WithoutCancel(ctx))
	defer context.AfterFunc(ctx, g.drain)()

	var users sync.WaitGroup // parts that use the base
	use := func(ctx context.Context, part func(context.Context) error) {
		users.Add(1)
		group.Go(func() error {
			defer users.Done()
			return part(ctx)
		})
	}
	use(ctx, func(ctx context.Context) error {
		defer stopPrivate()
		return g.public(ctx)
	})
	use(privateCtx, g.private)
	for _, part := range g.warming {
		use(ctx, part)
	}
	for _, part := range g.base {
		group.Go(func() error { return part(baseCtx) })
	}
	group.Go(func() error {
		users.Wait()
		stopBase()
		return nil
	})
	return group.Wait()
}
