package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/novasocial/imagetier/internal/adminclient"
	"github.com/novasocial/imagetier/internal/program"
)

// takedownCmd takes originals down, lifts takedowns, or lists them.
type takedownCmd struct {
	Source  string        `placeholder:"NAME" help:"Source of the original; with --name."`
	Name    string        `placeholder:"NAME" help:"Name of the original in its source; nothing in it is decoded."`
	Tag     string        `placeholder:"TAG" help:"All originals with this tag, such as post:p1."`
	Lift    bool          `help:"Lift a takedown."`
	List    bool          `help:"List the originals that are taken down, and since when."`
	Timeout time.Duration `default:"30s" placeholder:"TIME" help:"How long to wait for the tier (default: ${default})."`
	JSON    bool          `name:"json" help:"Print the receipt as JSON, or each listed takedown, one object a line."`

	settingsOf
}

// Help implements kong.HelpProvider.
func (takedownCmd) Help() string {
	return `Purges an original and answers 451 to all of its URLs from then on, across restarts, until the ` +
		`takedown is lifted. Exit codes are those of purge.

    imagetier takedown --source posts --name 2026/11/abc.jpg
    imagetier takedown --source posts --name 2026/11/abc.jpg --lift
    imagetier takedown --list`
}

// Run takes originals down, lifts a takedown, or lists them.
func (c *takedownCmd) Run(ctx context.Context, p *program.Process) error {
	target, err := originalTarget(c.Source, c.Name, c.Tag)
	if c.List {
		if err != nil || c.Lift || target != (adminclient.Target{}) {
			return program.UsageError{Err: errors.New("--list takes no --source, --name, --tag and --lift")}
		}
		return c.list(ctx, p)
	}
	if err == nil && target == (adminclient.Target{}) {
		err = errors.New("nothing to take down: give --source and --name, or --tag")
	}
	if err != nil {
		return program.UsageError{Err: err}
	}
	how := removal{adminclient.Client.Takedown, "taken down", c.Timeout, c.JSON}
	if c.Lift {
		how.call, how.done = adminclient.Client.Lift, "lifted"
	}
	return c.remove(ctx, p, how, target)
}

func (c *takedownCmd) list(ctx context.Context, p *program.Process) error {
	cfg, _, err := c.load(p)
	if err != nil {
		return err
	}
	tier := adminclient.Client{Listen: cfg.PrivateListen, Token: cfg.AdminToken, Timeout: c.Timeout}
	return tier.Takedowns(ctx, func(t adminclient.Takedown) error {
		if c.JSON {
			return json.NewEncoder(p.Stdout).Encode(t)
		}
		since := t.Since.Local().Format("2006-01-02 15:04:05")
		_, err := fmt.Fprintf(p.Stdout, "%s  %s\n", since, printable(t.Source+" "+t.Name))
		return err
	})
}
