package config

import "github.com/novasocial/imagetier/internal/settings"

// Serve is what only the command serve is told.
type Serve struct{}

var serveNames []string

func (s *Serve) settings(func(settings.Setting)) {}

// checkServe looks at what settings mean together for serve.
func (c *Config) checkServe(*settings.Resolved) {}
