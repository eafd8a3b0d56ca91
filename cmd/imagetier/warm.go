package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/novasocial/imagetier/internal/adminclient"
	"github.com/novasocial/imagetier/internal/program"
	"github.com/novasocial/imagetier/internal/warmlist"
)

// warmCmd makes a running tier fill its cache from a list.
type warmCmd struct {
	What    []string      `arg:"" optional:"" name:"file" help:"What to warm; - is standard input. With --dead: numbers of dead letters; all if none is given."`
	Profile string        `default:"feed" placeholder:"NAME" help:"Profile whose variants are made of lines that name an image without a Spec (default: ${default})."`
	State   string        `placeholder:"FILE" help:"File that records progress, so that the same command continues where it stopped. It is removed at the end."`
	Dead    bool          `help:"List the queued jobs that failed for good."`
	Retry   bool          `help:"With --dead: queue them again."`
	Discard bool          `help:"With --dead: delete them."`
	Timeout time.Duration `default:"2m" placeholder:"TIME" help:"How long to wait for the next result (default: ${default})."`
	JSON    bool          `name:"json" help:"Print JSON: an object for each image, then one with the totals."`

	settingsOf
}

// Help implements kong.HelpProvider.
func (warmCmd) Help() string {
	return `Makes the tier that runs with the same settings (its private listener, --admin-token) fill its cache ` +
		`with every image that FILE names, at a lower priority than live requests, and counts images that were ` +
		`cached (hit), made, and failed. A line is

    /i/k1.Jf3kPq0u2mVbXyWc8tRz1A/880x/v.1/posts/abc.jpg.webp    a path or URL; signatures are not checked
    https://cdn.app.example/abc.jpg                             a plain URL, by the tier's --image-prefix
    {"source":"posts","name":"abc.jpg","version":"v.1"}         an image, optionally with "profile"
    a line of an access log of the tier, or in common, combined, ALB or CloudFront format, whose answer was an image

A file may be compressed with gzip or zstd. Empty lines, lines that begin with # and repetitions are skipped. ` +
		`Exits with 0 if all images are cached now, 1 if some are not, if FILE names none, or if the tier does not answer, 2 for wrong arguments.

    imagetier warm yesterday.log
    imagetier warm access.log.gz
    cat access.log.*.zst | imagetier warm --state warm.state -
    imagetier warm --dead
    imagetier warm --dead --retry`
}

// Run warms.
func (c *warmCmd) Run(ctx context.Context, p *program.Process) error {
	switch {
	case c.Dead:
		return deadLetters{
			numbers: c.What, retry: c.Retry, discard: c.Discard, json: c.JSON,
			client: func() (adminclient.Client, error) { return c.client(p) },
		}.run(ctx, p)
	case c.Retry || c.Discard:
		return program.UsageError{Err: errors.New("--retry and --discard go with --dead")}
	case len(c.What) != 1:
		return program.UsageError{Err: errors.New("nothing to warm: name one file, or - for standard input")}
	}
	tier, err := c.client(p)
	if err != nil {
		return err
	}
	in, size, err := c.open(p)
	if err != nil {
		return program.UsageError{Err: err}
	}
	defer in.Close()
	list, packed, err := warmlist.Unpack(in)
	if err != nil {
		return fmt.Errorf("%s: %w", c.What[0], err)
	}
	defer list.Close()
	if packed {
		size = 0
	}
	run := &warmRun{cmd: c, p: p, tier: tier, progress: newProgress(p.Stderr, size), start: time.Now()}
	return run.run(ctx, list)
}

func (c *warmCmd) client(p *program.Process) (adminclient.Client, error) {
	cfg, _, err := c.load(p)
	return adminclient.Client{Listen: cfg.PrivateListen, Token: cfg.AdminToken, Timeout: c.Timeout}, err
}

// open returns the input and its size, 0 if unknown.
func (c *warmCmd) open(p *program.Process) (io.ReadCloser, int64, error) {
	if c.What[0] == "-" {
		return io.NopCloser(p.Stdin), 0, nil
	}
	f, err := os.Open(c.What[0])
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil // 0 for pipes
}

// warmBatch is the number of items in one request: what an interrupted run repeats.
const warmBatch = 256

// warmRun is one run of the command.
type warmRun struct {
	cmd      *warmCmd
	p        *program.Process
	tier     adminclient.Client
	progress *progress
	start    time.Time
	list     *warmlist.Reader
	counts   warmlist.Counts
	problems int // printed
}

func (r *warmRun) run(ctx context.Context, in io.Reader) error {
	state, in, err := warmlist.OpenState(r.cmd.State, in)
	if err != nil {
		return err
	}
	r.counts = state.Counts
	if state.Lines > 0 {
		r.progress.print(fmt.Sprintf("imagetier: continuing after line %d\n", state.Lines))
	}
	r.list = warmlist.NewReader(in, warmlist.Config{
		Profile: r.cmd.Profile, Done: state.Lines,
		Invalid: func(line int64, err error) {
			r.counts.Invalid++
			r.printProblem(fmt.Sprintf("line %d", line), err.Error())
		},
	})
	err = r.warmAll(ctx, state)
	r.counts.Skipped, r.counts.Repeated = r.list.Skipped, r.list.Repeated
	r.counts.Seconds = time.Since(r.start).Seconds()
	r.progress.clear()
	switch {
	case err == nil:
		err = state.Remove()
	case r.cmd.State != "":
		if errSave := state.Save(); errSave != nil {
			err = errors.Join(err, errSave)
		} else {
			err = fmt.Errorf("%w (the same command continues after line %d)", err, state.Lines)
		}
	}
	if errPrint := r.printCounts(); errPrint != nil {
		return errPrint
	}
	switch {
	case err != nil:
		return err
	case r.counts.Images == 0:
		return errNoImage
	case r.counts.Failed+r.counts.Invalid > 0:
		return program.Failed
	}
	return nil
}

var errNoImage = errors.New("no line names an image that can be warmed: a line is a path (/i/…), a URL, JSON, " +
	"or of an access log in common, combined, ALB or CloudFront format (imagetier warm --help shows examples)")

// warmAll warms batch after batch.
func (r *warmRun) warmAll(ctx context.Context, state *warmlist.State) error {
	for last := false; !last; {
		batch, end, err := r.readBatch()
		if err != nil {
			return err
		}
		for _, req := range batch {
			if err := r.tier.Warm(ctx, *req, r.count); err != nil {
				return err
			}
		}
		if last = end; !last {
			if err := state.Advance(r.list.Line, r.counts); err != nil {
				return err
			}
		}
	}
	return nil
}

// readBatch returns the next requests, one for each profile.
func (r *warmRun) readBatch() (batch map[string]*adminclient.WarmRequest, last bool, err error) {
	batch = make(map[string]*adminclient.WarmRequest)
	for range warmBatch {
		item, err := r.list.Next()
		if errors.Is(err, io.EOF) {
			return batch, true, nil
		}
		if err != nil {
			return nil, false, err
		}
		req := batch[item.Profile]
		if req == nil {
			req = &adminclient.WarmRequest{Profile: item.Profile}
			batch[item.Profile] = req
		}
		if item.Path != "" {
			req.Paths = append(req.Paths, item.Path)
		} else {
			req.Images = append(req.Images, item.Image)
		}
	}
	return batch, false, nil
}

// count adds a result to the counts and prints it where it matters.
func (r *warmRun) count(result adminclient.WarmResult) error {
	r.counts.Images++
	switch result.Outcome {
	case "hit":
		r.counts.Hit++
	case "made":
		r.counts.Made++
	default:
		r.counts.Failed++
	}
	if r.cmd.JSON {
		if _, err := fmt.Fprintf(r.p.Stdout, "%s\n", result.JSON); err != nil {
			return err
		}
	} else if result.Outcome == "failed" {
		r.printProblem(printable(result.Path), fmt.Sprintf("%d %s", result.Error.Status, result.Error.Title))
	}
	r.progress.show(r.counts, r.list.Bytes)
	return nil
}

// maxProblems limits the failures that are printed: a whole source may be down.
const maxProblems = 20

func (r *warmRun) printProblem(subject, problem string) {
	if r.problems++; r.problems <= maxProblems {
		r.progress.print(fmt.Sprintf("imagetier: %s: %s\n", subject, problem))
	} else if r.problems == maxProblems+1 {
		r.progress.print("imagetier: more have failed; --json prints all of them\n")
	}
}

func (r *warmRun) printCounts() error {
	if r.cmd.JSON {
		return json.NewEncoder(r.p.Stdout).Encode(r.counts)
	}
	n := r.counts
	text := fmt.Sprintf("%d images: %d hit, %d made, %d failed", n.Images, n.Hit, n.Made, n.Failed)
	if n.Invalid > 0 {
		text += fmt.Sprintf("; %d invalid lines", n.Invalid)
	}
	_, err := fmt.Fprintf(r.p.Stdout, "%s; %.1f s, %.0f images/s\n",
		text, n.Seconds, float64(n.Images)/max(n.Seconds, 0.001))
	return err
}
