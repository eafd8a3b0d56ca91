package main

import (
	"github.com/novasocial/imagetier/imagecache/imageurl"
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

// loadSigner also returns the signer of the configured keys.
func (s *settingsOf) loadSigner(p *program.Process) (config.Config, *imageurl.Signer, error) {
	cfg, _, err := s.load(p)
	if err != nil {
		return cfg, nil, err
	}
	signer, err := cfg.Signer()
	if err != nil {
		return cfg, nil, program.UsageError{Err: err}
	}
	return cfg, signer, nil
}
