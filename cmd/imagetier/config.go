package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/settings"
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
	return `Prints the settings that serve would run with, as a file that --config reads; keys need not be there yet. Secrets are left out, and the names of their files kept.

    imagetier config print > imagetier.yaml
    imagetier config print --config imagetier.yaml --cache-disk-size 50GiB`
}

// Run prints.
func (c *configPrintCmd) Run(p *program) error {
	in := c.input(p)
	in.Unfinished = true
	_, resolved, err := config.Load(in)
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

type configCheckCmd struct {
	JSON bool `name:"json" help:"Print an object."`

	settingsOf
}

// Help teaches by example.
func (configCheckCmd) Help() string {
	return `Reads the settings as serve would and says everything that is wrong with them at once. Starts nothing. Exits with 2 if anything is.

    imagetier config check --config imagetier.yaml`
}

// checked is what check prints with --json.
type checked struct {
	Good   bool         `json:"good"`
	Faults []faultOfKey `json:"faults"`
}

type faultOfKey struct {
	Where string `json:"where,omitempty"`
	Fault string `json:"fault"`
}

// Run checks.
func (c *configCheckCmd) Run(p *program) error {
	_, _, err := c.load(p)
	if !c.JSON {
		if err == nil {
			_, err = fmt.Fprintln(p.stdout, "ok")
		}
		return err
	}
	said := checked{Good: err == nil, Faults: []faultOfKey{}}
	var faults settings.Faults
	errors.As(err, &faults)
	for _, f := range faults {
		said.Faults = append(said.Faults, faultOfKey{f.Where, f.Err.Error()})
	}
	if err := json.NewEncoder(p.stdout).Encode(said); err != nil {
		return err
	}
	if !said.Good {
		return exit(exitUsage)
	}
	return nil
}
