// Command imagetier is an image tier: it fetches originals from S3, a directory or HTTP,
// makes thumbnails of them, keeps them in memory and on disk, and serves them under
// signed URLs that never change. imagetier --help lists its commands.
//
// It exits with
//
//	0  done; what was asked about is good
//	1  it failed, or what was asked about is not good (verify, health, doctor)
//	2  wrong usage or settings
//	3  doctor found nothing worse than warnings
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

	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/settings"
)

// Exit codes.
const (
	exitFailed   = 1
	exitUsage    = 2
	exitWarnings = 3
)

func main() {
	// The first signal asks for an orderly end, the second ends at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, &program{args: os.Args[1:], environ: os.Environ(), stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}))
}

// program is what a command knows of the process it runs in.
type program struct {
	args           []string
	environ        []string
	stdin          io.Reader
	stdout, stderr io.Writer

	unknown []settings.Fault // flags that the command does not have
}

// cli are the commands; each lives in the file of its name.
type cli struct {
	Serve      serveCmd      `cmd:"" help:"Run the tier."`
	Sign       signCmd       `cmd:"" help:"Print a signed URL."`
	Verify     verifyCmd     `cmd:"" help:"Check signed URLs."`
	Explain    explainCmd    `cmd:"" help:"Tell what a URL means and where its image is held."`
	Purge      purgeCmd      `cmd:"" help:"Remove images from the running tier."`
	Takedown   takedownCmd   `cmd:"" help:"Take originals down, until that is lifted."`
	Warm       warmCmd       `cmd:"" help:"Have images made before they are asked for."`
	Config     configCmd     `cmd:"" help:"Print or check the settings."`
	Doctor     doctorCmd     `cmd:"" help:"Look for what is wrong on this machine, and say how to mend it."`
	Health     healthCmd     `cmd:"" help:"Ask the running tier whether it is well, for container checks."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
	Completion completionCmd `cmd:"" help:"Print a script that completes commands and flags in a shell."`
}

// Help is what imagetier --help begins with.
func (cli) Help() string {
	return `To try it, with photos of your own and no keys:

    imagetier serve --dev --source posts=dir:///home/me/photos
    curl -O http://127.0.0.1:8080/i/_/640x640-cover/live/posts/cat.jpg.webp

In earnest, with a key that signs every URL:

    export IMAGETIER_KEYS=k1=$(openssl rand -hex 32)
    imagetier serve --source 'posts=s3://bucket/prefix?region=eu-central-1'
    imagetier sign --source posts --name 2026/11/abc.jpg --version v.1 --spec 640x640-cover --format webp

A setting has three spellings: the flag --cache-disk-size 50GiB, the variable IMAGETIER_CACHE_DISK_SIZE=50GiB, and cache.disk.size in the YAML file that --config names.

Exit codes: 0 done; 1 failed, or what was asked about is not good; 2 wrong usage or settings; 3 doctor found nothing worse than warnings.`
}

// exit is the error of a command that has said everything already.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// run runs the command that p.args name, and returns the exit code.
func run(ctx context.Context, p *program) (code int) {
	defer func() { // --help and completion end the program from inside kong
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
		fmt.Fprintf(p.stderr, "imagetier: %v\n", err)
		return exitFailed
	}
	completeLine(parser)
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
		Serve:    serveCmd{settingsOf: newSettings()},
		Sign:     signCmd{settingsOf: newSettings("keys", "dev")},
		Verify:   verifyCmd{settingsOf: newSettings("keys", "dev")},
		Explain:  explainCmd{settingsOf: newSettings("keys", "dev", "private-listen")},
		Purge:    purgeCmd{settingsOf: newSettings("dev", "private-listen", "admin-token")},
		Takedown: takedownCmd{settingsOf: newSettings("dev", "private-listen", "admin-token")},
		Warm:     warmCmd{settingsOf: newSettings("dev", "private-listen", "admin-token")},
		Config: configCmd{
			Print: configPrintCmd{settingsOf: newSettings()},
			Check: configCheckCmd{settingsOf: newSettings()},
		},
		Doctor: doctorCmd{settingsOf: newSettings()},
		Health: healthCmd{settingsOf: newSettings("private-listen")},
	}
	return kong.New(commands,
		kong.Name("imagetier"),
		kong.Description("An image tier: thumbnails of originals in S3, a directory or HTTP, made once, kept in memory and on disk, served under signed URLs that never change."),
		kong.Writers(p.stdout, p.stderr),
		kong.Exit(func(code int) { panic(exit(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, WrapUpperBound: 100}),
	)
}

// settingsOf are the settings that a command reads, and their flags.
type settingsOf struct {
	Settings kong.Plugins `embed:""`
	flags    *settings.Flags
	only     []string
}

func newSettings(only ...string) settingsOf {
	flags := config.Flags(only...)
	return settingsOf{Settings: kong.Plugins{flags.Plugin()}, flags: flags, only: only}
}

func (s *settingsOf) load(p *program) (config.Config, *settings.Resolved, error) {
	return config.Load(s.input(p))
}

func (s *settingsOf) input(p *program) config.Input {
	return config.Input{Input: settings.Input{Flags: s.flags, Environ: p.environ, Only: s.only, Faults: p.unknown}}
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
	fmt.Fprintf(p.stderr, "imagetier: %v\n", err)
	name := parser.Model.Name
	var parsing *kong.ParseError
	if errors.As(err, &parsing) {
		if selected := parsing.Context.Selected(); selected != nil {
			name = selected.FullPath()
		}
	}
	fmt.Fprintf(p.stderr, "Run \"%s --help\" for more.\n", name)
}

// usageError marks an error of the arguments that only the command could find.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// exitCode prints what a command ended with.
func (p *program) exitCode(err error) int {
	if err == nil {
		return 0
	}
	var silent exit
	if errors.As(err, &silent) {
		return int(silent)
	}
	fmt.Fprintf(p.stderr, "imagetier: %v\n", err)
	var faults settings.Faults
	var wrong usageError
	if errors.As(err, &faults) || errors.As(err, &wrong) {
		return exitUsage
	}
	return exitFailed
}
