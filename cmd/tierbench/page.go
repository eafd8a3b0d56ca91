package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/novasocial/imagetier/cmd/tierbench/internal/link"
	"github.com/novasocial/imagetier/cmd/tierbench/internal/phone"
	"github.com/novasocial/imagetier/cmd/tierbench/internal/stack"
)

// pageCmd simulates an iPhone that opens the feed.
type pageCmd struct {
	Before    string            `help:"URL of /graphql of the backends without a gateway: a connection per call, originals as images." placeholder:"URL"`
	Gateway   string            `help:"URL of /graphql of a running gateway; without it, everything is started on this machine." placeholder:"URL"`
	Tokens    []string          `default:"test-token" help:"Bearer tokens of users; each phone takes the next one."`
	Originals string            `help:"Directory to serve under the prefix of --at, as the CDN of the app without gateway." type:"existingdir" placeholder:"DIR"`
	At        string            `default:"https://cdn.app.example/" help:"Prefix of the URLs of originals." placeholder:"URL"`
	Resolve   map[string]string `help:"Connect to another address for a host: https://img.example.com=http://127.0.0.1:8090." placeholder:"FROM=TO"`
	RTT       time.Duration     `default:"50ms" help:"Round-trip time of the modelled network."`
	Bandwidth float64           `default:"20" help:"Downlink bandwidth in Mbit/s."`
	Setup     int               `default:"2" help:"Round trips to open a connection; TCP and TLS 1.3 take 2."`
	Limit     int               `default:"20" help:"Posts of the page."`
	Rounds    int               `default:"3" help:"Phones of each kind; the median is reported."`
	Others    int               `default:"200" help:"Users who load their feeds before all phones but the first, if everything is started on this machine."`
	SVG       string            `help:"Also draw the results into this file." placeholder:"FILE" type:"path"`

	stackFlags
	settle func(context.Context) error // called between the first phone and the others; may be nil
}

// Help implements kong.HelpProvider.
func (pageCmd) Help() string {
	return `An iPhone with SDWebImage opens the feed: one query, then the images of the two rows on the screen, then
those of the rows below, six downloads at once. Servers and bytes are real. The network is modelled: round trips, one
link that all responses share packet by packet, and one connection per host. Slow start, loss, DNS, header bytes,
decoding and drawing are not modelled.

"before" calls the services as the app did without a gateway. "first phone" finds the caches of gateway and tier empty.
Then the feed service announces its posts, and --others users load their feeds: "just started" is a user who has not
used the app for a while, "running" one with open connections, "cached" that phone again.`
}

// network returns the configuration of the modelled network.
func (c *pageCmd) network(open bool) link.Config {
	cfg := link.Config{RTT: c.RTT, Bandwidth: c.Bandwidth * 1e6, SetupRTTs: c.Setup}
	if open {
		cfg.SetupRTTs = 0
	}
	return cfg
}

// load has the results of one kind of load.
type load struct {
	name  string
	cfg   link.Config
	views []phone.View
}

// Run runs the benchmark and prints the results.
func (c *pageCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	if c.Gateway == "" {
		s, closeStack, err := c.start(ctx)
		if err != nil {
			return err
		}
		defer closeStack()
		if err := c.ask(s); err != nil {
			return err
		}
	}
	base, closeBase, err := c.servers(ctx)
	if err != nil {
		return err
	}
	defer closeBase()
	loads, err := c.play(ctx, base)
	if err != nil {
		return err
	}
	report := c.reportOf(loads)
	report.print(os.Stdout)
	if c.SVG == "" {
		return nil
	}
	return os.WriteFile(c.SVG, report.picture(), 0o644)
}

// ask makes the phones use s, each as a different user.
func (c *pageCmd) ask(s *stack.Stack) error {
	c.Before, c.Gateway, c.Originals, c.At, c.Tokens = s.Before, s.Gateway, s.Originals, stack.Prefix, nil
	for i := range 3*c.Rounds + 1 {
		token, err := s.Users.Token(fmt.Sprintf("phone%d", i))
		if err != nil {
			return err
		}
		c.Tokens = append(c.Tokens, token)
	}
	c.settle = func(ctx context.Context) error {
		if err := s.Warm(ctx); err != nil {
			return err
		}
		return c.others(ctx, s)
	}
	return nil
}

// others loads the feeds of other users, several at a time, without a modelled network.
func (c *pageCmd) others(ctx context.Context, s *stack.Stack) error {
	const atOnce = 20
	faults := make([]error, c.Others)
	places := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i := range c.Others {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			token, err := s.Users.Token(fmt.Sprintf("other%d", i))
			if err == nil {
				_, _, err = phone.New(http.DefaultTransport).
					Feed(ctx, phone.Server{URL: s.Gateway, Token: token}, c.Limit)
			}
			faults[i] = err
		})
	}
	all.Wait()
	return errors.Join(faults...)
}

// play opens the feed on one phone after another.
func (c *pageCmd) play(ctx context.Context, base http.RoundTripper) ([]load, error) {
	if len(c.Tokens) == 0 || c.Rounds < 1 {
		return nil, errors.New("at least one of --tokens and one of --rounds are needed")
	}
	users := 0
	open := func(l *load, p *phone.Phone, at, token string) error {
		v, err := p.Open(ctx, phone.Server{URL: at, Token: token}, c.Limit)
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		l.views = append(l.views, v)
		return nil
	}
	next := func() string { users++; return c.Tokens[(users-1)%len(c.Tokens)] }
	before := load{name: "before", cfg: c.network(false)}
	first := load{name: "first phone", cfg: c.network(false)}
	started := load{name: "just started", cfg: c.network(false)}
	running := load{name: "running", cfg: c.network(true)}
	cached := load{name: "cached", cfg: c.network(true)}
	err := c.onPhone(ctx, base, first.cfg, func(p *phone.Phone) error { return open(&first, p, c.Gateway, next()) })
	if err == nil && c.settle != nil {
		err = c.settle(ctx)
	}
	for round := 0; err == nil && round < c.Rounds; round++ {
		if c.Before != "" {
			err = c.onPhone(
				ctx,
				base,
				before.cfg,
				func(p *phone.Phone) error { return open(&before, p, c.Before, next()) },
			)
		}
		err = errors.Join(
			err,
			c.onPhone(
				ctx,
				base,
				started.cfg,
				func(p *phone.Phone) error { return open(&started, p, c.Gateway, next()) },
			),
			c.onPhone(ctx, base, running.cfg, func(p *phone.Phone) error {
				token := next()
				return errors.Join(open(&running, p, c.Gateway, token), open(&cached, p, c.Gateway, token))
			}),
		)
	}
	loads := []load{first, started, running, cached}
	if c.Before != "" {
		loads = slices.Insert(loads, 0, before)
	}
	return loads, err
}

// onPhone calls do with a phone on its own network.
func (c *pageCmd) onPhone(
	ctx context.Context,
	base http.RoundTripper,
	cfg link.Config,
	do func(*phone.Phone) error,
) error {
	ctx, stop := context.WithCancel(ctx)
	network := link.New(cfg, base)
	var running sync.WaitGroup
	running.Go(func() { network.Run(ctx) })
	defer running.Wait()
	defer stop()
	return do(phone.New(network))
}

// servers returns the servers behind the modelled network.
func (c *pageCmd) servers(ctx context.Context) (http.RoundTripper, func(), error) {
	transport := &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true} // count the bytes as sent
	to := map[string]*url.URL{}
	for from, address := range c.Resolve {
		u, err := url.Parse(address)
		if err != nil {
			return nil, nil, fmt.Errorf("--resolve %s: %w", from, err)
		}
		to[strings.TrimSuffix(from, "/")] = u
	}
	if c.Originals == "" {
		return resolver{to, transport}, transport.CloseIdleConnections, nil
	}
	at, err := url.Parse(c.At)
	if err != nil {
		return nil, nil, fmt.Errorf("--at: %w", err)
	}
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	files := &http.Server{
		Handler:           http.StripPrefix(strings.TrimSuffix(at.Path, "/"), http.FileServerFS(os.DirFS(c.Originals))),
		ReadHeaderTimeout: 10 * time.Second,
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = files.Serve(l) }) // ends with Close
	to[at.Scheme+"://"+at.Host] = &url.URL{Scheme: "http", Host: l.Addr().String()}
	return resolver{to, transport}, func() {
		transport.CloseIdleConnections()
		_ = files.Close()
		serving.Wait()
	}, nil
}

// resolver sends requests for some hosts to other addresses.
type resolver struct {
	to   map[string]*url.URL // by scheme and host
	next http.RoundTripper
}

func (r resolver) RoundTrip(req *http.Request) (*http.Response, error) {
	if to, ok := r.to[req.URL.Scheme+"://"+req.URL.Host]; ok {
		at := *req.URL
		at.Scheme, at.Host = to.Scheme, to.Host
		req = req.Clone(req.Context())
		req.URL, req.Host = &at, ""
	}
	return r.next.RoundTrip(req)
}

// row has the results of one kind of view, of the phone with the median first screen.
type row struct {
	name                       string
	connections, query, images time.Duration // the parts of screen
	screen, whole, floor       time.Duration
	downloads                  int
	bytes, screenBytes         int64
	view                       phone.View
}

// report has the printed and drawn results.
type report struct {
	cmd  *pageCmd
	rows []row
}

func (c *pageCmd) reportOf(loads []load) report {
	r := report{cmd: c}
	for _, l := range loads {
		slices.SortFunc(l.views, func(a, b phone.View) int {
			return int(a.Screen.Sub(a.Asked) - b.Screen.Sub(b.Asked))
		})
		r.rows = append(r.rows, rowOf(l.name, l.cfg, l.views[len(l.views)/2]))
	}
	return r
}

// rowOf splits the times of a view. The time for opening connections is computed, not measured: one
// connection to the gateway before the query and, unless nothing was downloaded, one for the
// pictures.
func rowOf(name string, cfg link.Config, v phone.View) row {
	setup := time.Duration(cfg.SetupRTTs) * cfg.RTT
	r := row{
		name: name, view: v, downloads: v.Downloads(),
		query: v.Answered.Sub(v.Asked) - setup, images: v.Screen.Sub(v.Answered), connections: setup,
		screen: v.Screen.Sub(v.Asked), whole: v.Whole.Sub(v.Asked),
	}
	if r.downloads > 0 {
		r.images -= setup
		r.connections += setup
	}
	r.screenBytes, r.bytes = v.Bytes()
	r.floor = cfg.Takes(r.bytes)
	return r
}

// Target times.
const (
	wantScreen = 380 * time.Millisecond
	wantCached = 150 * time.Millisecond
)

func (r report) print(out io.Writer) {
	fmt.Fprintf(out, "A page of %d posts over %s and %g Mbit/s, milliseconds; the middle of %d phones of each kind\n\n",
		r.rows[0].view.Posts, r.cmd.RTT, r.cmd.Bandwidth, r.cmd.Rounds)
	line := func(label string, cell func(row) string) {
		fmt.Fprintf(out, "| %s |", label)
		for _, one := range r.rows {
			fmt.Fprintf(out, " %s |", cell(one))
		}
		fmt.Fprintln(out)
	}
	in := func(of func(row) time.Duration) func(row) string {
		return func(one row) string { return millis(of(one)) }
	}
	line("", func(one row) string { return one.name })
	fmt.Fprintln(out, "|---|"+strings.Repeat("---|", len(r.rows)))
	line("connections opened", in(func(one row) time.Duration { return one.connections }))
	line("feed query", in(func(one row) time.Duration { return one.query }))
	line("images of the first screen", in(func(one row) time.Duration { return one.images }))
	line("**first screen**", in(func(one row) time.Duration { return one.screen }))
	line("**whole page**", in(func(one row) time.Duration { return one.whole }))
	line("its floor: bytes over bandwidth", in(func(one row) time.Duration { return one.floor }))
	line("downloads", func(one row) string { return fmt.Sprint(one.downloads) })
	line(
		"KB of the first screen / page",
		func(one row) string { return fmt.Sprintf("%d / %d", one.screenBytes/1000, one.bytes/1000) },
	)
	fmt.Fprintln(out)
	for _, one := range r.rows {
		switch one.name {
		case "running":
			fmt.Fprintf(out, "first screen of a running app: %s ms, wanted %s: %s\n",
				millis(one.screen), millis(wantScreen), verdict(one.screen <= wantScreen))
		case "cached":
			fmt.Fprintf(out, "page that is cached: %s ms, wanted %s: %s\n",
				millis(one.whole), millis(wantCached), verdict(one.whole <= wantCached))
		}
	}
}

func millis(d time.Duration) string { return fmt.Sprint(d.Round(time.Millisecond).Milliseconds()) }

func verdict(held bool) string {
	if held {
		return "held"
	}
	return "NOT held"
}
