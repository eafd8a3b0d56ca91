// Command imagetier-gateway turns the image URLs of posts into signed thumbnail URLs of an
// imagetier. It is a proxy in front of a GraphQL or REST service (proxy), or the GraphQL
// service of a feed itself (serve). imagetier-gateway --help lists its commands.
//
// It exits with
//
//	0  success
//	1  the command failed, or health found a fault
//	2  wrong arguments or settings
package main

import (
	"github.com/novasocial/imagetier/gateway/cmd/imagetier-gateway/internal/config"
	"github.com/novasocial/imagetier/internal/program"
	"github.com/novasocial/imagetier/internal/settings"
)

func main() { gatewayProgram().Main() }

// cli are the commands; each lives in the file of its name. Package program adds those
// that the tier has too.
type cli struct {
	Proxy proxyCmd `cmd:"" help:"Proxy a GraphQL or REST service and rewrite the image URLs in its answers."`
	Serve serveCmd `cmd:"" help:"Answer feed queries by GraphQL, from the feed, content and user services."`
}

// Help is what imagetier-gateway --help begins with.
func (cli) Help() string {
	return `In front of a service that answers with image URLs below https://cdn.app.example/, which an imagetier at https://img.example.com serves from its source posts:

    export IMAGETIER_GATEWAY_KEYS=k1=HEX   # the tier's
    imagetier-gateway proxy --upstream http://graphql:8080 --image-base https://img.example.com --image-prefix https://cdn.app.example/=posts

A setting has three spellings: the flag --image-base, the variable IMAGETIER_GATEWAY_IMAGE_BASE, and image.base in the YAML file that --config names.

Exit codes: 0 success; 1 the command failed; 2 wrong arguments or settings.`
}

// gatewayProgram returns the program.
func gatewayProgram() program.Program {
	return program.Program{
		Name:        "imagetier-gateway",
		Description: "Turns the image URLs of posts into signed thumbnail URLs of an imagetier.",
		Schema:      config.Schema(),
		Commands:    &cli{Proxy: proxyCmd{reads(config.ForProxy)}, Serve: serveCmd{reads(config.ForServe)}},
		Load: func(in settings.Input, _ bool) (*settings.Resolved, error) {
			// The commands require different settings: what is absent may be absent.
			_, resolved, err := config.Load(config.ForAny, in)
			return resolved, err
		},
	}
}

// settingsOf are the settings that a command reads.
type settingsOf struct {
	program.Settings
	purpose config.Purpose
}

func reads(purpose config.Purpose) settingsOf {
	return settingsOf{program.Reads(config.Schema(), purpose.Names()...), purpose}
}

func (s *settingsOf) load(p *program.Process) (config.Config, error) {
	cfg, _, err := config.Load(s.purpose, s.Input(p))
	return cfg, err
}
