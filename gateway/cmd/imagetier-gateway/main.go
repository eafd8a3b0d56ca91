// Command imagetier-gateway turns the image URLs of posts into signed thumbnail URLs of an
// imagetier. It stands before a GraphQL or REST service that is there already (proxy), or
// is the GraphQL service of a feed itself (serve). imagetier-gateway --help lists its
// commands.
//
// It exits with
//
//	0  done
//	1  it failed
//	2  wrong usage or settings
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/novasocial/imagetier/gateway/cmd/imagetier-gateway/internal/config"
	"github.com/novasocial/imagetier/internal/settings"
)

// Exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	// The first signal asks for an orderly end, the second ends at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, &program{args: os.Args[1:], environ: os.Environ(), stdout: os.Stdout, stderr: os.Stderr}))
}

// program is what a command knows of the process it runs in.
type program struct {
	args           []string
	environ        []string
	stdout, stderr io.Writer

	unknown []settings.Fault // flags that the command does not have
}

// cli are the commands; each lives in the file of its name.
type cli struct {
	Proxy   proxyCmd   `cmd:"" help:"Stand before a GraphQL or REST service and rewrite the image URLs in its answers."`
	Serve   serveCmd   `cmd:"" help:"Answer feed queries by GraphQL, from the feed, content and user services."`
	Config  configCmd  `cmd:"" help:"Print or check the settings."`
	Health  healthCmd  `cmd:"" help:"Ask the running gateway whether it is well, for container checks."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

// Help is what imagetier-gateway --help begins with.
func (cli) Help() string {
	return `Before a service that answers with image URLs below https://cdn.app.example/, which an imagetier at https://img.example.com serves from its source posts:

    export IMAGETIER_GATEWAY_KEYS=k1=HEX   # the tier's
    imagetier-gateway proxy --upstream http://graphql:8080 --image-base https://img.example.com --image-prefix https://cdn.app.example/=posts

A setting has three spellings: the flag --image-base, the variable IMAGETIER_GATEWAY_IMAGE_BASE, and image.base in the YAML file that --config names.

Exit codes: 0 done; 1 failed; 2 wrong usage or settings.`
}

// exit is the error of a command that has said everything already.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// run runs the command that p.args name, and returns the exit code.
func run(ctx context.Context, p *program) (code int) {
	defer func() { // --help ends the program from inside kong
		switch thrown := recover().(type) {
		case nil:
		case exit:
			code = int(thrown)
		default:
			panic(thrown)
		}
	}()
	parser, err := newParser(p)
	if err != nil {
		fmt.Fprintf(p.stderr, "imagetier-gateway: %v\n", err)
		return exitFailed
	}
	kctx, err := p.parse(parser)
	if err != nil {
		p.usage(parser, err)
		return exitUsage
	}
	kctx.BindTo(ctx, (*context.Context)(nil))
	return p.exitCode(kctx.Run(p))
}

func newParser(p *program) (*kong.Kong, error) {
	commands := &cli{
		Proxy: proxyCmd{newSettings(config.ForProxy)},
		Serve: serveCmd{newSettings(config.ForServe)},
		Config: configCmd{
			Print: configPrintCmd{settingsOf: newSettings(config.ForAny)},
			Check: configCheckCmd{settingsOf: newSettings(config.ForAny)},
		},
		Health: healthCmd{settingsOf: newSettings(config.ForHealth)},
	}
	return kong.New(commands,
		kong.Name("imagetier-gateway"),
		kong.Description("Turns the image URLs of posts into signed thumbnail URLs of an imagetier."),
		kong.Writers(p.stdout, p.stderr),
		kong.Exit(func(code int) { panic(exit(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, WrapUpperBound: 100}),
	)
}

// settingsOf are the settings that a command reads, and their flags.
type settingsOf struct {
	Settings kong.Plugins `embed:""`
	flags    *settings.Flags
	purpose  config.Purpose
}

func newSettings(purpose config.Purpose) settingsOf {
	flags := config.Flags(purpose)
	return settingsOf{Settings: kong.Plugins{flags.Plugin()}, flags: flags, purpose: purpose}
}

func (s *settingsOf) load(p *program) (config.Config, *settings.Resolved, error) {
	return config.Load(s.purpose, settings.Input{Flags: s.flags, Environ: p.environ, Faults: p.unknown})
}

func (s *settingsOf) loadsSettings() {}

var unknownFlag = regexp.MustCompile(`^unknown flag (--?[^\s,=]*)`)

// parse reads the arguments. Unknown flags are taken out and remembered, so that they can
// be reported together with everything else that is wrong with the settings.
func (p *program) parse(parser *kong.Kong) (*kong.Context, error) {
	args := slices.Clone(p.args)
	for {
		kctx, err := parser.Parse(args)
		if err == nil {
			if len(p.unknown) > 0 && !readsSettings(kctx) {
				return nil, settings.Faults(p.unknown)
			}
			return kctx, nil
		}
		match := unknownFlag.FindStringSubmatch(err.Error())
		if match == nil {
			return nil, p.withUnknown(err)
		}
		rest := without(args, match[1])
		if len(rest) == len(args) {
			return nil, p.withUnknown(err)
		}
		args = rest
		p.unknown = append(p.unknown, config.Schema().UnknownFlag(match[1], flagsOf(err)))
	}
}

func (p *program) withUnknown(err error) error {
	if len(p.unknown) == 0 {
		return err
	}
	return append(settings.Faults(p.unknown), settings.Fault{Err: err})
}

func readsSettings(kctx *kong.Context) bool {
	selected := kctx.Selected()
	if selected == nil || !selected.Target.CanAddr() {
		return false
	}
	_, ok := selected.Target.Addr().Interface().(interface{ loadsSettings() })
	return ok
}

// flagsOf returns the flags of the command that a parse error is about.
func flagsOf(err error) (flags []string) {
	var parsing *kong.ParseError
	if errors.As(err, &parsing) {
		for _, flag := range parsing.Context.Flags() {
			flags = append(flags, "--"+flag.Name)
		}
	}
	return flags
}

// without returns args without a flag that there is none of, and without its value where
// one seems to follow.
func without(args []string, flag string) []string {
	command := false
	for i, arg := range args {
		switch {
		case arg == "--":
			return args
		case arg == flag && command && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-"):
			return slices.Concat(args[:i], args[i+2:])
		case arg == flag, strings.HasPrefix(arg, flag+"="), len(flag) == 2 && strings.HasPrefix(arg, flag) && arg[1] != '-':
			return slices.Concat(args[:i], args[i+1:])
		}
		command = command || !strings.HasPrefix(arg, "-")
	}
	return args
}

// usage says what is wrong with the arguments, and where the help is.
func (p *program) usage(parser *kong.Kong, err error) {
	fmt.Fprintf(p.stderr, "imagetier-gateway: %v\n", err)
	name := parser.Model.Name
	var parsing *kong.ParseError
	if errors.As(err, &parsing) {
		if selected := parsing.Context.Selected(); selected != nil {
			name = selected.FullPath()
		}
	}
	fmt.Fprintf(p.stderr, "Run \"%s --help\" for more.\n", name)
}

// exitCode prints what a command ended with.
func (p *program) exitCode(err error) int {
	if err == nil {
		return 0
	}
	var silent exit
	if errors.As(err, &silent) {
		return int(silent)
	}
	fmt.Fprintf(p.stderr, "imagetier-gateway: %v\n", err)
	var faults settings.Faults
	if errors.As(err, &faults) {
		return exitUsage
	}
	return exitFailed
}
