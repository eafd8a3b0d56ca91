package main

import (
	"encoding/json"
	"fmt"
	"io"
)

// configCmd is about the settings.
type configCmd struct {
	Print configPrintCmd `cmd:"" help:"Print every setting, and where its value came from."`
	Check configCheckCmd `cmd:"" help:"Say everything that is wrong with the settings."`
}

type configPrintCmd struct {
	JSON bool `name:"json" help:"Print an object."`

	settingsOf
}

// Help teaches by example.
func (configPrintCmd) Help() string {
	return `Prints the settings of both commands, as a file that --config reads. Secrets are left out, and the names of their files kept.

    imagetier-gateway config print > gateway.yaml`
}

// Run prints.
func (c *configPrintCmd) Run(p *program) error {
	_, resolved, err := c.load(p)
	if err != nil {
		return err
	}
	if c.JSON {
		enc := json.NewEncoder(p.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(map[string]any{"settings": resolved.Report()})
	}
	_, err = io.WriteString(p.stdout, resolved.YAML())
	return err
}

type configCheckCmd struct{ settingsOf }

// Help teaches by example.
func (configCheckCmd) Help() string {
	return `Reads the settings and says everything that is wrong with them at once; what only one of proxy and serve needs may be absent. Starts nothing. Exits with 2 if anything is wrong.

    imagetier-gateway config check --config gateway.yaml`
}

// Run checks.
func (c *configCheckCmd) Run(p *program) error {
	_, _, err := c.load(p)
	if err == nil {
		_, err = fmt.Fprintln(p.stdout, "ok")
	}
	return err
}
