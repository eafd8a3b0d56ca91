package doctor

import (
	"context"

	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/doctor/finding"
	"github.com/novasocial/imagetier/internal/settings"
)

// Input is what checks look at.
type Input struct {
	Config   config.Config
	Resolved *settings.Resolved // where Config came from
}

// Check looks at one subject. If ctx ends first, its findings mean nothing.
type Check func(ctx context.Context, in Input) []Finding

// What checks report is shared with the gateway.
type (
	// Finding is the result of a check about one subject.
	Finding = finding.Finding
	// Report lists findings.
	Report = finding.Report
	// Level is how bad a finding is.
	Level = finding.Level
)

// Levels of findings.
const (
	OK      = finding.OK
	Warning = finding.Warning
	Fault   = finding.Fault
)

var ok, warning, fault = finding.Good, finding.Warn, finding.Bad
