package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/novasocial/imagetier/internal/adminclient"
	"github.com/novasocial/imagetier/internal/program"
)

// purgeCmd removes images from a running tier.
type purgeCmd struct {
	URL     []string      `arg:"" optional:"" name:"url" help:"Whole URLs, or paths from /i/ on; signatures are not looked at."`
	Source  string        `placeholder:"NAME" help:"The source of an original; with --name."`
	Name    string        `placeholder:"NAME" help:"The original's name in its source, as it is: nothing in it is decoded."`
	Tag     string        `placeholder:"TAG" help:"All originals with this tag, as post:p1."`
	Soft    bool          `help:"Only make it stale: it is served until it has been made anew."`
	Timeout time.Duration `default:"30s" placeholder:"TIME" help:"How long to wait for the tier (${default})."`
	JSON    bool          `name:"json" help:"Print the receipt, an object for each purge."`

	settingsOf
}

// Help teaches by example.
func (purgeCmd) Help() string {
	return `Asks the tier that runs with the same settings (its private listener, --admin-token). When it answers, nothing of what was named is served any more, and the receipt says how much was removed. Exits with 0 then, 1 if the tier refuses or does not answer, 2 if the settings are wrong.

An original and all that was made of it:

    imagetier purge --source posts --name 2026/11/abc.jpg

One variant; of a live URL, its original too:

    imagetier purge https://img.example.com/i/k1.Jf3kPq0u2mVbXyWc8tRz1A/640x640-cover/v.1/posts/abc.jpg.webp`
}

// Run purges.
func (c *purgeCmd) Run(ctx context.Context, p *program.Process) error {
	whats, err := c.targets()
	if err != nil {
		return program.UsageError{Err: err}
	}
	return c.orders(ctx, p, removal{http.MethodPost, "/v1/purge", "purged", c.Timeout, c.JSON}, whats)
}

func (c *purgeCmd) targets() (whats []target, err error) {
	for _, url := range c.URL {
		path, err := pathOf(url)
		if err != nil {
			return nil, err
		}
		whats = append(whats, target{Path: path, Soft: c.Soft})
	}
	one, err := original(c.Source, c.Name, c.Tag)
	switch {
	case err != nil:
		return nil, err
	case one != (target{}):
		one.Soft = c.Soft
		whats = append(whats, one)
	case len(whats) == 0:
		return nil, errors.New("what is to be purged? Name URLs, --source and --name, or --tag")
	}
	return whats, nil
}

// takedownCmd takes originals down, or lifts that.
type takedownCmd struct {
	Source  string        `placeholder:"NAME" help:"The source of the original; with --name."`
	Name    string        `placeholder:"NAME" help:"The original's name in its source, as it is: nothing in it is decoded."`
	Tag     string        `placeholder:"TAG" help:"All originals with this tag, as post:p1."`
	Lift    bool          `help:"End a takedown."`
	Timeout time.Duration `default:"30s" placeholder:"TIME" help:"How long to wait for the tier (${default})."`
	JSON    bool          `name:"json" help:"Print the receipt as an object."`

	settingsOf
}

// Help teaches by example.
func (takedownCmd) Help() string {
	return `As purge of an original, and from then on every URL of it is answered with 451, across restarts, until that is lifted. Exit codes as those of purge.

    imagetier takedown --source posts --name 2026/11/abc.jpg
    imagetier takedown --source posts --name 2026/11/abc.jpg --lift`
}

// Run takes down, or lifts.
func (c *takedownCmd) Run(ctx context.Context, p *program.Process) error {
	what, err := original(c.Source, c.Name, c.Tag)
	if err == nil && what == (target{}) {
		err = errors.New("what is to be taken down? Name --source and --name, or --tag")
	}
	if err != nil {
		return program.UsageError{Err: err}
	}
	how := removal{http.MethodPost, "/v1/takedown", "taken down", c.Timeout, c.JSON}
	if c.Lift {
		how.method, how.done = http.MethodDelete, "lifted"
	}
	return c.orders(ctx, p, how, []target{what})
}

// target is what the private listener is told to remove.
type target struct {
	Source string `json:"source,omitempty"`
	Name   string `json:"name,omitempty"`
	Path   string `json:"path,omitempty"`
	Tag    string `json:"tag,omitempty"`
	Soft   bool   `json:"soft,omitempty"`
}

func (t target) String() string {
	switch {
	case t.Path != "":
		return printable(t.Path)
	case t.Tag != "":
		return printable(t.Tag)
	}
	return printable(t.Source + " " + t.Name)
}

func original(source, name, tag string) (target, error) {
	switch {
	case (source == "") != (name == ""):
		return target{}, errors.New("an original is named by --source and --name, both")
	case source != "" && tag != "":
		return target{}, errors.New("--tag goes without --source and --name")
	}
	return target{Source: source, Name: name, Tag: tag}, nil
}

// pathOf cuts scheme, host and query from a URL.
func pathOf(text string) (string, error) {
	if _, rest, ok := strings.Cut(text, "://"); ok {
		slash := strings.IndexByte(rest, '/')
		if slash < 0 {
			return "", fmt.Errorf("%s has no path", printable(text))
		}
		text = rest[slash:]
	}
	path, _, _ := strings.Cut(text, "?")
	if !strings.HasPrefix(path, "/i/") {
		return "", fmt.Errorf("%s is no image URL: its path does not begin with /i/", printable(text))
	}
	return path, nil
}

// removal is how the tier is told, and what it has done then.
type removal struct {
	method, path string
	done         string
	timeout      time.Duration
	json         bool
}

// orders tells the tier, one target after the other, and prints what it says. All are
// tried, whatever becomes of the first.
func (s *settingsOf) orders(ctx context.Context, p *program.Process, how removal, whats []target) error {
	cfg, _, err := s.load(p)
	if err != nil {
		return err
	}
	failed := false
	tier := adminclient.Client{Listen: cfg.PrivateListen, Token: cfg.AdminToken, Timeout: how.timeout}
	for _, what := range whats {
		status, body, err := tier.Send(ctx, how.method, how.path, what)
		var unreached *url.Error
		switch {
		case errors.As(err, &unreached):
			err = fmt.Errorf("the tier does not answer: %w", unreached.Err)
		case err == nil && status == http.StatusUnauthorized:
			err = errors.New("the tier wants its --admin-token (IMAGETIER_ADMIN_TOKEN)")
		case err == nil && status != http.StatusOK && status != http.StatusAccepted:
			err = errors.New(problemOf(status, body))
		}
		if err == nil {
			err = how.print(p, what, body)
		}
		if err != nil {
			failed = true
			fmt.Fprintf(p.Stderr, "imagetier: %s: %v\n", what, err)
		}
	}
	if failed {
		return program.Failed
	}
	return nil
}

func (how removal) print(p *program.Process, what target, body []byte) error {
	if how.json {
		var line bytes.Buffer
		if err := json.Compact(&line, body); err != nil {
			return fmt.Errorf("read the receipt: %w", err)
		}
		_, err := fmt.Fprintln(p.Stdout, line.String())
		return err
	}
	var receipt struct {
		Variants, Originals int
		Bytes               int64
		Nodes               struct{ Applied, Known int }
	}
	if err := json.Unmarshal(body, &receipt); err != nil {
		return fmt.Errorf("read the receipt: %w", err)
	}
	_, err := fmt.Fprintf(p.Stdout, "%s: %s: %d variants, %d originals, %d bytes; %d of %d nodes\n",
		what, how.done, receipt.Variants, receipt.Originals, receipt.Bytes, receipt.Nodes.Applied, receipt.Nodes.Known)
	return err
}

// problemOf is what an application/problem+json says, in one line.
func problemOf(status int, body []byte) string {
	var problem struct{ Title, Detail string }
	if json.Unmarshal(body, &problem) == nil && problem.Detail != "" {
		return fmt.Sprintf("%d: %s", status, adminclient.OneLine([]byte(problem.Detail)))
	}
	return fmt.Sprintf("%d: %s", status, adminclient.OneLine(body))
}
