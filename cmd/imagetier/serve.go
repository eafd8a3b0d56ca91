package main

import (
	"context"
	"errors"
	"io"

	"github.com/novasocial/imagetier/cmd/imagetier/internal/config"
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

func serve(context.Context, config.Config, io.Writer) error {
	return errors.New("serve is not built yet")
}
