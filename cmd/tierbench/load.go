package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/novasocial/imagetier/cmd/tierbench/internal/stack"
)

// stackFlags configure the processes and the latencies of the services.
type stackFlags struct {
	Bin     string        `default:"../../bin" help:"Directory of imagetier, imagetier-resize, imagetier-gateway and fakebackends." type:"path"`
	Photos  string        `default:"../../deploy/photos" help:"Directory of JPEGs." type:"path"`
	Feed    time.Duration `default:"100ms" help:"Latency of the feed service."`
	Content time.Duration `default:"100ms" help:"Latency of the content service."`
	User    time.Duration `default:"130ms" help:"Latency of the user service."`
	Connect time.Duration `default:"80ms" help:"Latency of opening a connection to a service."`
}

// start runs the stack in a temporary directory. The returned function stops it and removes the directory.
func (f stackFlags) start(ctx context.Context) (*stack.Stack, func(), error) {
	dir, err := os.MkdirTemp("", "imagetier-stack-")
	if err != nil {
		return nil, nil, err
	}
	remove := func() { _ = os.RemoveAll(dir) } // leftovers are in the temporary directory
	s, err := stack.Start(
		ctx,
		stack.Config{
			Bin:     f.Bin,
			Dir:     dir,
			Photos:  f.Photos,
			Feed:    f.Feed,
			Content: f.Content,
			User:    f.User,
			Connect: f.Connect,
		},
	)
	if err != nil {
		remove()
		return nil, nil, err
	}
	return s, func() { s.Close(); remove() }, nil
}

// loadCmd runs k6 scenarios against the gateway and injects faults.
type loadCmd struct {
	stackFlags
	K6      string   `name:"k6" required:"" help:"Path of the k6 program." type:"existingfile"`
	Scripts string   `default:"../../deploy/k6" help:"Directory of its scripts." type:"existingdir"`
	Minutes float64  `default:"1" help:"Minutes per scenario."`
	Full    bool     `help:"Full length: 5 minutes per scenario, 10 for the spike, 2 hours for endurance."`
	Only    []string `help:"Run only these scenarios: before, normal, distinct, open, spike, endurance, redis, restart, content, user, feed."`
}

// Help implements kong.HelpProvider.
func (loadCmd) Help() string {
	return `Starts the three services, Redis if it is installed, tier and gateway on free ports, runs each scenario,
prints a table and which targets were met, and stops everything. Exits with 1 if a target was missed.

redis, restart, content, user and feed are the normal scenario with a fault: Redis is killed and restarted; each
service is killed and restarted; a service is frozen for 8 s while new users load their feeds.`
}

// Run runs the benchmark and prints the results.
func (c *loadCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	for _, name := range c.Only {
		if !slices.ContainsFunc(scenarios, func(sc scenario) bool { return sc.name == name }) {
			return fmt.Errorf("--only %s: there is no such scenario", name)
		}
	}
	s, closeStack, err := c.start(ctx)
	if err != nil {
		return err
	}
	defer closeStack()
	run := &loadRun{cmd: c, stack: s}
	for _, sc := range scenarios {
		if len(c.Only) == 0 && sc.asked || len(c.Only) > 0 && !slices.Contains(c.Only, sc.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s: %s\n", sc.name, sc.summary)
		if err := run.play(ctx, sc); err != nil {
			err = fmt.Errorf("%s: %w", sc.name, err)
			if ctx.Err() != nil {
				return err // interrupted
			}
			return errors.Join(err, s.Logs())
		}
	}
	return run.print(os.Stdout)
}

// scenario is one row of the table.
type scenario struct {
	name, summary, script string
	users                 int  // each with a token; 0: those of the script, which share one
	before                bool // sends requests to the baseline without a gateway
	fresh                 bool // starts with empty caches
	asked                 bool // only if selected
	env                   func(whole time.Duration) []string
	full                  time.Duration // full duration
	fault                 func(ctx context.Context, r *loadRun, whole time.Duration) error
	wants                 []want
}

func lasts(whole time.Duration) []string { return []string{"DURATION=" + whole.String()} }

// ramps returns a scenario with a ramp of a tenth of its duration.
func ramps(whole time.Duration) []string {
	ramp := (whole / 10).Round(time.Second)
	return []string{"RAMP=" + ramp.String(), "HOLD=" + (whole - ramp).String()}
}

var scenarios = []scenario{
	{
		name:    "before",
		summary: "100 users of the services without a gateway",
		script:  "normal.js",
		before:  true,
		env:     lasts,
		full:    5 * time.Minute,
	},
	{
		name:    "normal",
		summary: "the load test: 100 users, one token",
		script:  "normal.js",
		fresh:   true,
		env:     lasts,
		full:    5 * time.Minute,
		wants:   wantNormal,
	},
	{
		name:    "distinct",
		summary: "200 users with a token each",
		script:  "normal.js",
		users:   200,
		fresh:   true,
		env:     lasts,
		full:    5 * time.Minute,
		wants:   wantNormal,
	},
	{
		name:    "open",
		summary: "50 requests a second of 200 users",
		script:  "open.js",
		users:   200,
		env:     lasts,
		full:    5 * time.Minute,
		wants:   wantAlways,
	},
	{
		name:    "spike",
		summary: "0 to 500 users, 250 requests a second",
		script:  "spike.js",
		users:   500,
		env:     ramps,
		full:    10 * time.Minute,
		wants:   append(wantAlways, wantNoErrors),
	},
	{
		name:    "endurance",
		summary: "50 users",
		script:  "endurance.js",
		users:   50,
		asked:   true,
		env:     lasts,
		full:    2 * time.Hour,
		wants:   append(wantAlways, wantNoErrors, wantNoGrowth),
	},
	faulty("redis", "Redis is killed and comes back", killRedis, wantNoErrors),
	faulty("restart", "each service is killed and comes back", restartServices, wantNoErrors),
	faulty("content", "the content service is frozen for 8 s", freezeContent, wantNoErrors),
	faulty("user", "the user service is frozen for 8 s", freezeUser, wantNoErrors),
	faulty("feed", "the feed service is frozen for 8 s", freezeFeed),
}

// faulty returns the scenario of 100 users during which inject disturbs a service.
func faulty(
	name, summary string, inject func(ctx context.Context, r *loadRun, whole time.Duration) error, wants ...want,
) scenario {
	return scenario{
		name: name, summary: "100 users; " + summary, script: "normal.js", users: 100, env: lasts,
		full: 5 * time.Minute, fault: inject, wants: wants,
	}
}

// loadRow is the result of a scenario.
type loadRow struct {
	scenario
	k6           k6Summary
	rss, rssAt   int64 // of the gateway: at the end, and after a fifth of the duration
	made, open   int64 // connections to the services
	bytes        float64
	pause        time.Duration
	gatewayKnown bool // the four above are known
}

// k6Summary is the output of the scripts.
type k6Summary struct {
	Requests, Failed, Empty, Partial, Dropped int
	Rate, Avg, P95                            float64
	Crossed                                   []string
}

func (s k6Summary) errors() int { return max(s.Failed, s.Empty) }

// loadRun is one run of loadCmd.
type loadRun struct {
	cmd    *loadCmd
	stack  *stack.Stack
	rows   []loadRow
	probed []verdictOf
}

// play runs one scenario.
func (r *loadRun) play(ctx context.Context, sc scenario) error {
	if sc.fault != nil && sc.name == "redis" && r.stack.Redis == nil {
		fmt.Fprintln(os.Stderr, "redis: redis-server is not installed (Debian: apt-get install redis-server)")
		return nil
	}
	if sc.fresh {
		if err := r.stack.Forget(ctx); err != nil {
			return err
		}
	}
	whole := time.Duration(r.cmd.Minutes * float64(time.Minute)).Round(time.Second)
	if r.cmd.Full {
		whole = sc.full
	}
	o := loadRow{scenario: sc, gatewayKnown: !sc.before}
	connections, err := r.stack.Connections(ctx)
	if err != nil {
		return err
	}
	metrics, err := stack.Scrape(ctx, r.stack.Private)
	if err != nil {
		return err
	}
	pauses := len(r.stack.GatewayProgram.Pauses())
	ctx, cancel := context.WithTimeout(ctx, whole+2*time.Minute)
	defer cancel()
	faulty := make(chan error, 1)
	go func() {
		early := after(ctx, whole/5)
		o.rssAt = r.stack.GatewayProgram.RSS()
		if early != nil || sc.fault == nil {
			faulty <- early
			return
		}
		faulty <- sc.fault(ctx, r, whole)
	}()
	o.k6, err = r.k6(ctx, sc, whole)
	if err = errors.Join(err, <-faulty); err != nil {
		return err
	}
	o.rss = r.stack.GatewayProgram.RSS()
	now, err := stack.Scrape(ctx, r.stack.Private)
	if err != nil {
		return err
	}
	o.bytes = now.Since(metrics, "go_memstats_alloc_bytes_total") / float64(max(o.k6.Requests, 1))
	o.pause = quantile(r.stack.GatewayProgram.Pauses()[pauses:], 0.99).Round(time.Microsecond)
	then, err := r.stack.Connections(ctx)
	if err != nil {
		return err
	}
	// The counters of a restarted service start at 0.
	o.made, o.open = max(then.Accepted-connections.Accepted, 0), then.Open
	r.rows = append(r.rows, o)
	return nil
}

// after waits.
func after(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// k6 runs the scenario's script.
func (r *loadRun) k6(ctx context.Context, sc scenario, whole time.Duration) (s k6Summary, err error) {
	dir, err := os.MkdirTemp("", "imagetier-k6-")
	if err != nil {
		return s, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	url := r.stack.Gateway
	if sc.before {
		url = r.stack.Before
	}
	summary := filepath.Join(dir, "summary.json")
	env := append([]string{"URL=" + url, "SUMMARY=" + summary}, sc.env(whole)...)
	if sc.users > 0 {
		tokens, err := r.tokens(sc.users)
		if err != nil {
			return s, err
		}
		file := filepath.Join(dir, "tokens")
		if err := os.WriteFile(file, []byte(strings.Join(tokens, "\n")), 0o600); err != nil {
			return s, err
		}
		env = append(env, "TOKENS="+file)
		if sc.script != "open.js" {
			env = append(env, fmt.Sprintf("USERS=%d", sc.users))
		}
	}
	args := []string{"run", "--quiet", "--no-usage-report", "--address="}
	for _, e := range env {
		args = append(args, "-e", e)
	}
	cmd := exec.CommandContext(ctx, r.cmd.K6, append(args, filepath.Join(r.cmd.Scripts, sc.script))...)
	out, err := cmd.CombinedOutput()
	fmt.Fprintf(os.Stderr, "  %s\n", strings.TrimSpace(string(out)))
	const crossed = 99 // exit code for a missed threshold, which is in the summary
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != crossed) {
		return s, fmt.Errorf("k6: %w", err)
	}
	text, err := os.ReadFile(summary)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(text, &s)
}

// tokens returns the tokens of n users, the same in every scenario.
func (r *loadRun) tokens(n int) (tokens []string, err error) {
	for i := range n {
		token, err := r.stack.Users.Token(fmt.Sprintf("reader%d", i))
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, token)
	}
	return tokens, nil
}

func (r *loadRun) print(out io.Writer) error {
	fmt.Fprintf(
		out,
		"\n| scenario | requests/s | average ms | p95 ms | errors | partial | RSS MB | connections made / open | KB a request | GC pause p99 |\n|---|---|---|---|---|---|---|---|---|---|\n",
	)
	for _, o := range r.rows {
		fmt.Fprintf(out, "| %s | %.1f | %.1f | %.1f | %d | %d |",
			o.name, o.k6.Rate, o.k6.Avg, o.k6.P95, o.k6.errors(), o.k6.Partial)
		if o.gatewayKnown {
			fmt.Fprintf(out, " %.0f | %d / %d | %.1f | %s |\n",
				float64(o.rss)/1e6, o.made, o.open, o.bytes/1e3, o.pause)
		} else {
			fmt.Fprintf(out, " | %d | | |\n", o.made)
		}
	}
	fmt.Fprintln(out)
	failed := 0
	for _, v := range r.verdicts() {
		fmt.Fprintf(out, "%s: %s: %s\n", v.scenario, v.target, verdict(v.held))
		if !v.held {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d targets were missed", failed)
	}
	return nil
}
