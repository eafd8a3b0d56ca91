package main

import (
	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/program"
	"github.com/novasocial/imagetier/internal/settings"
)

// settingsOf are the settings that a command reads.
type settingsOf struct{ program.Settings }

// reads returns the flags of the named settings, or of all of them.
func reads(only ...string) settingsOf { return settingsOf{program.Reads(config.Schema(), only...)} }

func (s *settingsOf) load(p *program.Process) (config.Config, *settings.Resolved, error) {
	return config.Load(config.Input{Input: s.Input(p)})
}
