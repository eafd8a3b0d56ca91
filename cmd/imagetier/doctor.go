package main

import (
	"context"

	"github.com/novasocial/imagetier/internal/doctor"
	"github.com/novasocial/imagetier/internal/program"
)

// doctorCmd checks this machine.
type doctorCmd struct {
	JSON bool `name:"json" help:"Print JSON."`

	settingsOf
}

// Help implements kong.HelpProvider.
func (doctorCmd) Help() string {
	return `Checks what serve needs with the same settings: the settings themselves, codecs, memory, open files, ` +
		`the cache directory and its disk, ports, clocks, every source and the shared store, which it asks for a random ` +
		`name, and the NATS cluster, balancer and purge hook if they are configured. Says ` +
		`how to fix each fault. Changes nothing, and the tier may be running.

    imagetier doctor --config imagetier.yaml
    imagetier doctor --json

Exits with 0 if everything is fine, 3 if there are warnings, 1 if there are faults, 2 if the settings cannot be read.`
}

// Run runs every check and prints the findings.
func (c *doctorCmd) Run(ctx context.Context, p *program.Process) error {
	cfg, resolved, err := c.load(p)
	if err != nil {
		return err
	}
	report, err := doctor.Run(ctx, doctor.Input{Config: cfg, Resolved: resolved}, doctor.All()...)
	if err != nil {
		return err
	}
	if err := report.Write(p.Stdout, c.JSON); err != nil {
		return err
	}
	switch report.Worst() {
	case doctor.Fault:
		return program.Failed
	case doctor.Warning:
		return program.Warnings
	}
	return nil
}
