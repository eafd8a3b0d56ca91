package main

import (
	"context"
	"errors"

	"github.com/novasocial/imagetier/internal/program"
	"github.com/novasocial/imagetier/internal/server"
)

// serveCmd runs the tier.
type serveCmd struct{ settingsOf }

// Run serves until ctx is done.
func (c *serveCmd) Run(ctx context.Context, p *program.Process) (err error) {
	cfg, _, err := c.load(p)
	if err != nil {
		return err
	}
	b := program.Build()
	s, err := server.New(ctx, server.Config{
		Config: cfg, Terminal: p.Stderr,
		Build: server.Build{Version: b.Version, Commit: b.Commit, Go: b.Go},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.Run(ctx)
}
