package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/novasocial/imagetier/internal/adminclient"
	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/program"
)

// warmCmd has a running tier make images before they are asked for.
type warmCmd struct {
	What    []string      `arg:"" optional:"" name:"file" help:"What to warm; - is standard input. With --dead: the numbers of dead letters, none for all."`
	Profile string        `default:"feed" placeholder:"NAME" help:"The profile whose Specs are made of lines that name an image and no Spec (${default})."`
	State   string        `placeholder:"FILE" help:"Note there how far it came, and go on from there if it exists. It is removed when all is done."`
	Dead    bool          `help:"List the jobs of the queue that failed for good."`
	Retry   bool          `help:"With --dead: queue them again."`
	Discard bool          `help:"With --dead: forget them."`
	Timeout time.Duration `default:"2m" placeholder:"TIME" help:"How long the tier may be silent (${default})."`
	JSON    bool          `name:"json" help:"Print an object for each image as the tier answers, and one of the sums at the end."`

	settingsOf
}

// Help teaches by example.
func (warmCmd) Help() string {
	return `Asks the tier that runs with the same settings (its private listener, --admin-token) for every image that FILE names, behind whatever is asked of it live, and counts what was there (hit), what was made, and what failed. A line is

    /i/k1.Jf3kPq0u2mVbXyWc8tRz1A/880x/v.1/posts/abc.jpg.webp    a path or URL; signatures are not looked at
    https://cdn.app.example/abc.jpg                             a plain URL, by the tier's --image-prefix
    {"source":"posts","name":"abc.jpg","version":"v.1"}         an image, optionally with "profile"
    an access log, common or combined format, or this program's own: what was answered with an image

Empty lines, those that begin with # and repetitions are left out. Exits with 0 if all images are there now, 1 if some are not or the tier does not answer, 2 for wrong usage.

    imagetier warm yesterday.log
    zcat access.log.*.gz | imagetier warm --state warm.state -
    imagetier warm --dead
    imagetier warm --dead --retry`
}

// warmBatch is how many images are asked for at once: what is done again when a run that was
// ended goes on.
const warmBatch = 256

// Run warms.
func (c *warmCmd) Run(ctx context.Context, p *program.Process) error {
	if c.Dead {
		return c.dead(ctx, p)
	}
	if c.Retry || c.Discard {
		return program.UsageError{Err: errors.New("--retry and --discard go with --dead")}
	}
	if len(c.What) != 1 {
		return program.UsageError{Err: errors.New("what is to be warmed? Name one file, or - for standard input")}
	}
	cfg, _, err := c.load(p)
	if err != nil {
		return err
	}
	in, size, err := c.open(p)
	if err != nil {
		return program.UsageError{Err: err}
	}
	defer in.Close()
	w := &warming{
		cmd: c, p: p, cfg: cfg, progress: newProgress(p.Stderr, size), began: time.Now(),
		// No proxy: the private listener is near.
		client: &http.Client{Transport: &http.Transport{}},
	}
	defer w.client.CloseIdleConnections()
	return w.run(ctx, in)
}

// open returns the input and its size, 0 if that is not known.
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
	if !info.Mode().IsRegular() {
		return f, 0, nil
	}
	return f, info.Size(), nil
}

// warmSums are what a run came to, and what --json prints last.
type warmSums struct {
	Images  int64   `json:"images"`
	Hit     int64   `json:"hit"`
	Made    int64   `json:"made"`
	Failed  int64   `json:"failed"`
	Wrong   int64   `json:"wrong_lines"`
	Skipped int64   `json:"skipped_lines"`
	Again   int64   `json:"repetitions"`
	Seconds float64 `json:"seconds"`
}

// warming is one run.
type warming struct {
	cmd      *warmCmd
	p        *program.Process
	cfg      config.Config
	client   *http.Client
	progress *progress
	began    time.Time
	sums     warmSums
	shown    int // failures on stderr
}

func (w *warming) run(ctx context.Context, in io.Reader) error {
	state, in, err := openWarmState(w.cmd.State, in)
	if err != nil {
		return err
	}
	w.sums = state.Sums
	if state.Lines > 0 {
		w.progress.say(fmt.Sprintf("imagetier: %d lines were done before\n", state.Lines))
	}
	lines := newWarmReader(in, w.cmd.Profile, func(line int64, err error) {
		w.sums.Wrong++
		w.fault(fmt.Sprintf("line %d", line), err.Error())
	})
	stopped := w.all(ctx, lines, state)
	w.sums.Skipped, w.sums.Again = lines.skipped, lines.again
	w.sums.Seconds = time.Since(w.began).Seconds()
	w.progress.end()
	if stopped == nil {
		stopped = state.remove()
	} else if err := state.write(); err != nil {
		stopped = errors.Join(stopped, err)
	} else if w.cmd.State != "" {
		stopped = fmt.Errorf("%w (the same command goes on behind line %d)", stopped, state.Lines)
	}
	if err := w.print(); err != nil {
		return err
	}
	if stopped != nil {
		return stopped
	}
	if w.sums.Failed > 0 || w.sums.Wrong > 0 {
		return program.Failed
	}
	return nil
}

// all warms batch after batch.
func (w *warming) all(ctx context.Context, lines *warmReader, state *warmState) error {
	for {
		batch, last, err := w.fill(lines, state.Lines)
		if err != nil {
			return err
		}
		if err := w.send(ctx, batch, lines); err != nil {
			return err
		}
		if last {
			return nil
		}
		if err := state.advance(lines.line, w.sums); err != nil {
			return err
		}
	}
}

// fill reads a batch. Images of one profile go together, so it may be shorter than it could be.
func (w *warming) fill(lines *warmReader, done int64) (batch map[string][]warmItem, last bool, err error) {
	batch = make(map[string][]warmItem)
	for range warmBatch {
		item, err := lines.next(done)
		if errors.Is(err, io.EOF) {
			return batch, true, nil
		}
		if err != nil {
			return nil, false, err
		}
		batch[item.profile] = append(batch[item.profile], item)
	}
	return batch, false, nil
}

// warmOrder is the body of POST /v1/warm.
type warmOrder struct {
	Paths   []string          `json:"paths,omitempty"`
	Profile string            `json:"profile,omitempty"`
	Images  []json.RawMessage `json:"images,omitempty"`
	Wait    bool              `json:"wait"`
}

func (w *warming) send(ctx context.Context, batch map[string][]warmItem, lines *warmReader) error {
	for profile, items := range batch {
		order := warmOrder{Profile: profile, Wait: true}
		for _, item := range items {
			if item.path != "" {
				order.Paths = append(order.Paths, item.path)
			} else {
				order.Images = append(order.Images, item.image)
			}
		}
		if err := w.ask(ctx, order, lines); err != nil {
			return err
		}
	}
	return nil
}

// warmAnswer is a line of what the tier answers.
type warmAnswer struct {
	Path    string `json:"path"`
	Outcome string `json:"outcome"` // hit, made, failed
	Error   struct {
		Status int    `json:"status"`
		Title  string `json:"title"`
	} `json:"error"`
}

// askTries is how often the tier is asked that has no room.
const askTries = 6

// ask tells the tier, and does so again where it says that it has no room now.
func (w *warming) ask(ctx context.Context, order warmOrder, lines *warmReader) error {
	for try := 1; ; try++ {
		after, err := w.askOnce(ctx, order, lines)
		if after == 0 || try == askTries {
			return err
		}
		select {
		case <-time.After(after):
		case <-ctx.Done():
			return err
		}
	}
}

// askOnce tells the tier, and reads what it says while it works. after is not 0 if the tier
// has done nothing, and is to be asked again then.
func (w *warming) askOnce(ctx context.Context, order warmOrder, lines *warmReader) (after time.Duration, err error) {
	body, err := json.Marshal(order)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := time.AfterFunc(w.cmd.Timeout, func() { cancel(fmt.Errorf("it was silent for %s", w.cmd.Timeout)) })
	defer silent.Stop()
	req, err := w.cmd.tier(w.cfg).NewRequest(ctx, http.MethodPost, "/v1/warm", body)
	if err != nil {
		return 0, err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return 0, w.unanswered(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, err := io.ReadAll(io.LimitReader(resp.Body, adminclient.MaxAnswer))
		if err != nil {
			return 0, w.unanswered(ctx, err)
		}
		if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable {
			seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After")) // none is one
			after = time.Duration(min(max(seconds, 1), 60)) * time.Second
		}
		return after, refusalOf(resp.StatusCode, text)
	}
	answers := bufio.NewScanner(resp.Body)
	answers.Buffer(nil, 1<<20)
	for answers.Scan() {
		silent.Reset(w.cmd.Timeout)
		if len(bytes.TrimSpace(answers.Bytes())) == 0 {
			continue
		}
		var one warmAnswer
		if err := json.Unmarshal(answers.Bytes(), &one); err != nil {
			return 0, fmt.Errorf("the tier answers %q: %w", adminclient.OneLine(answers.Bytes()), err)
		}
		if err := w.count(one, answers.Bytes()); err != nil {
			return 0, err
		}
		w.progress.show(w.sums, lines.bytes)
	}
	if err := answers.Err(); err != nil { // also if the tier ended in the middle
		return 0, w.unanswered(ctx, err)
	}
	return 0, nil
}

func (w *warming) unanswered(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	var unreached *url.Error
	if errors.As(err, &unreached) {
		err = unreached.Err
	}
	return fmt.Errorf("the tier does not answer: %w", err)
}

// count adds an answer to the sums and prints it where it is to be seen.
func (w *warming) count(one warmAnswer, line []byte) error {
	w.sums.Images++
	switch one.Outcome {
	case "hit":
		w.sums.Hit++
	case "made":
		w.sums.Made++
	default:
		w.sums.Failed++
	}
	if w.cmd.JSON {
		_, err := fmt.Fprintf(w.p.Stdout, "%s\n", line)
		return err
	}
	if one.Outcome == "failed" {
		w.fault(printable(one.Path), fmt.Sprintf("%d %s", one.Error.Status, one.Error.Title))
	}
	return nil
}

// maxFaultsShown bounds what is printed of failures: a whole source may be down.
const maxFaultsShown = 20

func (w *warming) fault(what, why string) {
	if w.shown++; w.shown <= maxFaultsShown {
		w.progress.say(fmt.Sprintf("imagetier: %s: %s\n", what, why))
	} else if w.shown == maxFaultsShown+1 {
		w.progress.say("imagetier: there are more that failed; --json prints all\n")
	}
}

// print prints the sums.
func (w *warming) print() error {
	if w.cmd.JSON {
		return json.NewEncoder(w.p.Stdout).Encode(w.sums)
	}
	s := w.sums
	text := fmt.Sprintf("%d images: %d hit, %d made, %d failed", s.Images, s.Hit, s.Made, s.Failed)
	if s.Wrong > 0 {
		text += fmt.Sprintf("; %d lines are wrong", s.Wrong)
	}
	_, err := fmt.Fprintf(w.p.Stdout, "%s; %.1f s, %.0f images/s\n", text, s.Seconds, float64(s.Images)/max(s.Seconds, 0.001))
	return err
}

// refusalOf is an answer of the private listener that is no success, as an error.
func refusalOf(status int, body []byte) error {
	if status == http.StatusUnauthorized {
		return errors.New("the tier wants its --admin-token (IMAGETIER_ADMIN_TOKEN)")
	}
	return errors.New(problemOf(status, body))
}
