package program

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/novasocial/imagetier/internal/settings"
)

// configCmd prints or checks the settings.
type configCmd struct {
	Print configPrintCmd `cmd:"" help:"Print every setting, and where its value came from."`
	Check configCheckCmd `cmd:"" help:"Report everything that is wrong with the settings."`
}

type configPrintCmd struct {
	JSON bool `name:"json" help:"Print JSON."`

	Settings
	program Program
}

// Help implements kong.HelpProvider.
func (c configPrintCmd) Help() string {
	return fmt.Sprintf("Prints the settings as a YAML file that --config reads. Required settings may be absent. "+
		"Secrets are left out; the names of their files are kept.\n\n"+
		"    %[1]s config print > %[1]s.yaml", c.program.Name)
}

// Run prints.
func (c *configPrintCmd) Run(proc *Process) error {
	resolved, err := c.program.Load(c.Input(proc), false)
	if err != nil {
		return err
	}
	if c.JSON {
		enc := json.NewEncoder(proc.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(map[string]any{"settings": resolved.Report()})
	}
	_, err = io.WriteString(proc.Stdout, resolved.YAML())
	return err
}

type configCheckCmd struct {
	JSON bool `name:"json" help:"Print JSON."`

	Settings
	program Program
}

// Help implements kong.HelpProvider.
func (c configCheckCmd) Help() string {
	return fmt.Sprintf("Reads the settings and reports everything that is wrong with them at once. "+
		"Starts nothing. Exits with 2 if there is a fault.\n\n"+
		"    %[1]s config check --config %[1]s.yaml", c.program.Name)
}

// checkResult is what check prints with --json.
type checkResult struct {
	Good   bool          `json:"good"`
	Faults []faultResult `json:"faults"`
}

type faultResult struct {
	Where string `json:"where,omitempty"`
	Fault string `json:"fault"`
}

// Run checks.
func (c *configCheckCmd) Run(proc *Process) error {
	_, err := c.program.Load(c.Input(proc), true)
	if !c.JSON {
		if err == nil {
			_, err = fmt.Fprintln(proc.Stdout, "ok")
		}
		return err
	}
	result := checkResult{Good: err == nil, Faults: []faultResult{}}
	var faults settings.Faults
	errors.As(err, &faults)
	for _, f := range faults {
		result.Faults = append(result.Faults, faultResult{f.Where, f.Err.Error()})
	}
	if err := json.NewEncoder(proc.Stdout).Encode(result); err != nil {
		return err
	}
	if !result.Good {
		return Usage
	}
	return nil
}
