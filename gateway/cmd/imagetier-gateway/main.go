// Command imagetier-gateway turns the image URLs of posts into signed thumbnail URLs of an
// imagetier: as a proxy in front of a GraphQL or REST service (proxy), or as the GraphQL service
// of a feed (serve). Start reading at proxy.go or serve.go; live.go has what both share.
//
// It exits with
//
//	0  success
//	1  the command failed, or health or doctor found a problem
//	2  invalid arguments or settings
//	3  doctor found warnings only
package main

import (
	"context"

	"github.com/novasocial/imagetier/gateway/cmd/imagetier-gateway/internal/config"
	"github.com/novasocial/imagetier/internal/program"
	"github.com/novasocial/imagetier/internal/settings"
)

func main() { gatewayProgram().Main() }

// cli are the commands, each in the file of its name. Package program adds the common ones.
type cli struct {
	Proxy  proxyCmd  `cmd:"" help:"Proxy a GraphQL or REST service and rewrite the image URLs in its answers."`
	Serve  serveCmd  `cmd:"" help:"Answer GraphQL feed queries from the feed, content and user services."`
	Sign   signCmd   `cmd:"" help:"Print the signed URLs that a client gets for plain image URLs."`
	Doctor doctorCmd `cmd:"" help:"Check the services that the settings name, and say how to fix faults."`
}

// Help returns the introduction of imagetier-gateway --help.
func (cli) Help() string {
	return `Proxy a service that answers with image URLs below https://cdn.app.example/, which an imagetier at https://img.example.com serves from its source "posts":

    export IMAGETIER_GATEWAY_KEYS=k1=HEX   # a key of the tier
    imagetier-gateway proxy --upstream http://graphql:8080 --image-base https://img.example.com ` +
		`--image-prefix https://cdn.app.example/=posts

A setting is a flag (--image-base), an environment variable (IMAGETIER_GATEWAY_IMAGE_BASE) ` +
		`or a key of the YAML file given by --config (image.base).

Exit codes: 0 success; 1 the command failed, or health or doctor found a problem; 2 invalid arguments or settings; ` +
		`3 doctor found warnings only.`
}

// gatewayProgram returns the program.
func gatewayProgram() program.Program {
	return program.Program{
		Name:        "imagetier-gateway",
		Description: "Turns the image URLs of posts into signed thumbnail URLs of an imagetier.",
		Schema:      config.Schema(),
		Commands: &cli{
			Proxy:  proxyCmd{settingsFor(config.ForProxy)},
			Serve:  serveCmd{settingsFor(config.ForServe)},
			Sign:   signCmd{commandSettings: settingsFor(config.ForSign)},
			Doctor: doctorCmd{commandSettings: settingsFor(config.ForAny)},
		},
		Load: func(in settings.Input, _ bool) (*settings.Resolved, error) {
			// The commands require different settings, so none is required here.
			_, resolved, err := config.Load(config.ForAny, in)
			return resolved, err
		},
	}
}

// commandSettings are the settings that a command reads.
type commandSettings struct {
	program.Settings
	purpose config.Purpose
}

func settingsFor(purpose config.Purpose) commandSettings {
	return commandSettings{program.Reads(config.Schema(), purpose.Names()...), purpose}
}

// open loads the settings and creates the gateway of the command.
func (s *commandSettings) open(ctx context.Context, p *program.Process) (*gateway, error) {
	hangups := program.Hangups() // from here on, so that a reload during the start does not end it
	cfg, resolved, err := config.Load(s.purpose, s.Input(p))
	if err != nil {
		return nil, err
	}
	g, err := openGateway(ctx, cfg, string(s.purpose), p.Stderr)
	if err != nil {
		return nil, err
	}
	g.reloader = newReloader(g.registry, hangups)
	g.reloader.reread = func() (config.Config, *settings.Resolved, settings.Reload) {
		return config.Reload(s.purpose, s.Input(p), resolved)
	}
	return g, nil
}
