package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/adminclient"
	"github.com/novasocial/imagetier/internal/program"
)

// purgeCmd removes images from a running tier.
type purgeCmd struct {
	URL     []string      `arg:"" optional:"" name:"url" help:"URLs, or paths from /i/ on; signatures are not checked."`
	Source  string        `placeholder:"NAME" help:"Source of an original; with --name."`
	Name    string        `placeholder:"NAME" help:"Name of the original in its source; nothing in it is decoded."`
	Tag     string        `placeholder:"TAG" help:"All originals with this tag, such as post:p1."`
	Soft    bool          `help:"Only mark it stale: it is served until it has been refilled."`
	DryRun  bool          `name:"dry-run" help:"Remove nothing: print what would be removed."`
	Timeout time.Duration `default:"30s" placeholder:"TIME" help:"How long to wait for the tier (default: ${default})."`
	JSON    bool          `name:"json" help:"Print the receipts as JSON, one object a line."`

	settingsOf
}

// Help implements kong.HelpProvider.
func (purgeCmd) Help() string {
	return `Sends purges to the tier that runs with the same settings (its private listener, --admin-token), and ` +
		`prints a receipt: how much was removed, and how many nodes have applied the purge. Nodes that have not ` +
		`confirmed it apply it later. Exits with 0 for a receipt, 1 if the tier refuses or does not answer, 2 if the ` +
		`settings are wrong.

An original and everything made of it:

    imagetier purge --source posts --name 2026/11/abc.jpg

One variant, and for a live URL its original too:

    imagetier purge https://img.example.com/i/k1.Jf3kPq0u2mVbXyWc8tRz1A/640x640-cover/v.1/posts/abc.jpg.webp

What a purge of a post would remove, on all nodes:

    imagetier purge --tag post:p1 --dry-run`
}

// Run purges.
func (c *purgeCmd) Run(ctx context.Context, p *program.Process) error {
	targets, err := c.targets()
	if err != nil {
		return program.UsageError{Err: err}
	}
	done := "purged"
	if c.DryRun {
		done = "would be purged"
	}
	return c.remove(ctx, p, removal{adminclient.Client.Purge, done, c.Timeout, c.JSON}, targets...)
}

func (c *purgeCmd) targets() (targets []adminclient.Target, err error) {
	for _, url := range c.URL {
		path := imageurl.PathOf(url)
		if !strings.HasPrefix(path, imageurl.Prefix) {
			return nil, fmt.Errorf("%s is not an image URL: its path does not begin with %s",
				printable(url), imageurl.Prefix)
		}
		targets = append(targets, adminclient.Target{Path: path, Soft: c.Soft, DryRun: c.DryRun})
	}
	original, err := originalTarget(c.Source, c.Name, c.Tag)
	if err != nil {
		return nil, err
	}
	if original != (adminclient.Target{}) {
		original.Soft, original.DryRun = c.Soft, c.DryRun
		targets = append(targets, original)
	}
	if len(targets) == 0 {
		return nil, errors.New("nothing to purge: give URLs, --source and --name, or --tag")
	}
	return targets, nil
}

// originalTarget returns the target that flags name; the zero Target if they name none.
func originalTarget(source, name, tag string) (adminclient.Target, error) {
	switch {
	case (source == "") != (name == ""):
		return adminclient.Target{}, errors.New("an original needs both --source and --name")
	case source != "" && tag != "":
		return adminclient.Target{}, errors.New("--tag cannot be used with --source and --name")
	}
	return adminclient.Target{Source: source, Name: name, Tag: tag}, nil
}

// removal is how to ask the tier and what to print.
type removal struct {
	call    func(adminclient.Client, context.Context, adminclient.Target) (adminclient.Receipt, error)
	done    string // what call has done, in past tense
	timeout time.Duration
	json    bool
}

// remove asks the tier for one target after the other and prints the receipts. A failure
// does not stop the rest.
func (s *settingsOf) remove(ctx context.Context, p *program.Process, how removal, targets ...adminclient.Target) error {
	cfg, _, err := s.load(p)
	if err != nil {
		return err
	}
	tier := adminclient.Client{Listen: cfg.PrivateListen, Token: cfg.AdminToken, Timeout: how.timeout}
	failed := false
	for _, target := range targets {
		receipt, err := how.call(tier, ctx, target)
		if err == nil {
			err = how.print(p, target, receipt)
		}
		if err != nil {
			failed = true
			fmt.Fprintf(p.Stderr, "imagetier: %s: %v\n", targetText(target), err)
		}
	}
	if failed {
		return program.Failed
	}
	return nil
}

func (how removal) print(p *program.Process, target adminclient.Target, r adminclient.Receipt) error {
	if how.json {
		return printCompact(p, r.JSON)
	}
	text := fmt.Sprintf("%s: %s: %d variants, %d originals, %d bytes; %d of %d nodes",
		targetText(target), how.done, r.Variants, r.Originals, r.Bytes, r.Nodes.Applied, r.Nodes.Known)
	if r.Superseded {
		text += "; superseded: a newer takedown or lift holds"
	}
	if r.Waiting != "" {
		text += "; waiting: " + r.Waiting
	}
	_, err := fmt.Fprintln(p.Stdout, text)
	return err
}

func targetText(t adminclient.Target) string {
	switch {
	case t.Path != "":
		return printable(t.Path)
	case t.Tag != "":
		return printable(t.Tag)
	}
	return printable(t.Source + " " + t.Name)
}
