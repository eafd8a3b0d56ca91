package main

import (
	"context"
)

// serveCmd runs the tier.
type serveCmd struct{ settingsOf }

// Run serves.
func (c *serveCmd) Run(ctx context.Context, p *program) error {
	cfg, _, err := c.load(p)
	if err != nil {
		return err
	}
	return serve(ctx, cfg, p.stderr)
}
