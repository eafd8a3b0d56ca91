package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/program"
	"github.com/novasocial/imagetier/internal/settings"
)

// doctorCmd looks at the machine.
type doctorCmd struct {
	JSON bool `name:"json" help:"Print an object."`

	settingsOf
}

// Help teaches by example.
func (doctorCmd) Help() string {
	return `Looks at what serve would meet with the same settings: the settings themselves, codecs, memory, open files, the cache's directory and its disk, ports, clocks, and every source, which it asks for an original that cannot be there. Says of each thing that is wrong how to mend it. Changes nothing; the tier may be running.

    imagetier doctor --config imagetier.yaml
    imagetier doctor --json

Exits with 0 if all is well, 3 if there are warnings, 1 if there are faults, 2 if the settings cannot be read.`
}

// severity is how bad a finding is.
type severity string

const (
	good    severity = "ok"
	warning severity = "warning"
	fault   severity = "fault"
)

// finding is what doctor found of one thing.
type finding struct {
	Severity severity `json:"severity"`
	What     string   `json:"what"`           // the thing: "source posts"
	Detail   string   `json:"detail"`         // what is so
	Mend     string   `json:"mend,omitempty"` // what to do, unless it is ok
}

// doctor collects findings.
type doctor struct {
	cfg      config.Config
	resolved *settings.Resolved
	findings []finding
}

func (d *doctor) ok(what, format string, args ...any) {
	d.findings = append(d.findings, finding{good, what, fmt.Sprintf(format, args...), ""})
}

func (d *doctor) warn(what, mend, format string, args ...any) {
	d.findings = append(d.findings, finding{warning, what, fmt.Sprintf(format, args...), mend})
}

func (d *doctor) fault(what, mend, format string, args ...any) {
	d.findings = append(d.findings, finding{fault, what, fmt.Sprintf(format, args...), mend})
}

// Run looks.
func (c *doctorCmd) Run(ctx context.Context, p *program.Process) error {
	cfg, resolved, err := c.load(p)
	if err != nil {
		return err
	}
	d := &doctor{cfg: cfg, resolved: resolved}
	d.settings()
	d.codecs(ctx)
	d.memory()
	d.files()
	d.disk()
	d.ports(ctx)
	d.sources(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := d.print(p, c.JSON); err != nil {
		return err
	}
	switch d.worst() {
	case fault:
		return program.Failed
	case warning:
		return program.Warnings
	}
	return nil
}

func (d *doctor) count(s severity) (n int) {
	for _, f := range d.findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

func (d *doctor) worst() severity {
	switch {
	case d.count(fault) > 0:
		return fault
	case d.count(warning) > 0:
		return warning
	}
	return good
}

func (d *doctor) print(p *program.Process, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(p.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(map[string]any{
			"worst": d.worst(), "faults": d.count(fault), "warnings": d.count(warning), "findings": d.findings,
		})
	}
	var b strings.Builder
	for _, f := range d.findings {
		fmt.Fprintf(&b, "%-8s %s: %s\n", f.Severity, f.What, f.Detail)
		if f.Mend != "" {
			fmt.Fprintf(&b, "         mend: %s\n", f.Mend)
		}
	}
	fmt.Fprintf(&b, "\nfaults: %d, warnings: %d\n", d.count(fault), d.count(warning))
	_, err := fmt.Fprint(p.Stdout, b.String())
	return err
}
