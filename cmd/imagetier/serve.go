package main

import (
	"context"
	"errors"

	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/program"
	"github.com/novasocial/imagetier/internal/server"
	"github.com/novasocial/imagetier/internal/settings"
)

// serveCmd runs the tier.
type serveCmd struct{ settingsOf }

// Help implements kong.HelpProvider.
func (serveCmd) Help() string {
	return `Without keys, to try it; with flags; with a file of settings:

    imagetier serve --dev --source posts=dir:///home/me/photos
    imagetier serve --keys-file keys.txt --source 'posts=s3://bucket/prefix?region=eu-central-1'
    imagetier serve --config imagetier.yaml

SIGHUP reads the settings and their files again: it replaces keys, the admin token, webhook secrets, the ` +
		`token of S3 events, profiles, watermarks, certificates and the list of takedowns. If one is invalid, its old value stays, which is logged and counted by ` +
		`imagetier_reloads_total{outcome="failure"}. Other settings need a restart.

SIGTERM drains: readiness fails first, and requests in flight finish within --drain-timeout.`
}

// Run serves until ctx is done.
func (c *serveCmd) Run(ctx context.Context, p *program.Process) (err error) {
	hangup := program.Hangups() // from here on, so that a reload during the start does not end it
	cfg, resolved, err := c.load(p)
	if err != nil {
		return err
	}
	b := program.Build()
	s, err := server.New(ctx, server.Config{
		Config: cfg, Resolved: resolved, Terminal: p.Stderr,
		Build:  server.Build{Version: b.Version, Commit: b.Commit, Go: b.Go},
		Hangup: hangup,
		Reread: func() (config.Config, *settings.Resolved, settings.Reload) {
			return config.Reload(config.Input{Input: c.Input(p)}, resolved)
		},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.Run(ctx)
}
