// Command fakebackends runs fake feed, content and user services for the gateway: the same data in
// every run, with configurable latency and faults. Package fakeservices implements them.
//
//	fakebackends --feed-latency 100ms --content-latency 100ms --user-latency 130ms --connect-latency 80ms
//
// prints a line for each listener, then "ready", and runs until SIGINT or SIGTERM. To freeze or
// kill a single service, run it in its own process: --services content.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/novasocial/imagetier/gateway/upstream/fakeservices"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "fakebackends:", err)
		os.Exit(1)
	}
}

// drainFor is how long calls in flight may take after a signal to stop.
const drainFor = 5 * time.Second

// run serves until ctx is done.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	s, err := fakeservices.Start(o.config)
	if err != nil {
		return err
	}
	defer s.Close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	addrs := map[fakeservices.Service]string{}
	for _, name := range fakeservices.Services {
		if addrs[name] = s.Addr(name); addrs[name] != "" {
			fmt.Fprintf(stdout, "%s\t%s\n", name, addrs[name])
		} else {
			addrs[name] = o.addrs[name]
		}
	}
	for _, door := range []struct {
		name, addr string
		handler    http.Handler
	}{{"http", o.http, s.Handler()}, {"before", o.before, fakeservices.Before(addrs)}} {
		if door.addr == "" {
			continue
		}
		l, err := net.Listen("tcp", door.addr)
		if err != nil {
			stop()
			return errors.Join(fmt.Errorf("--%s: %w", door.name, err), group.Wait())
		}
		fmt.Fprintf(stdout, "%s\thttp://%s\n", door.name, l.Addr())
		group.Go(func() error { return serve(ctx, l, door.handler) })
	}
	fmt.Fprintln(stdout, "ready")
	<-ctx.Done()
	draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainFor)
	defer cancel()
	s.Drain(draining)
	return group.Wait()
}

func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainFor)
	defer cancel()
	if err := server.Shutdown(draining); err != nil {
		return errors.Join(err, server.Close())
	}
	return nil
}
