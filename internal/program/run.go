package program

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// Main runs the program in this process and exits. The first SIGINT or SIGTERM cancels
// the command's context, the second ends the process at once.
func (p Program) Main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(p.Run(ctx, &Process{
		Args: os.Args[1:], Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}))
}

// Hangups returns a channel that has a value after SIGHUP, which then no longer ends the process. Signals that arrive
// before the value is taken count as one.
func Hangups() <-chan os.Signal {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	return hangups
}

// Run runs the command that proc.Args names and returns the exit code.
func (p Program) Run(ctx context.Context, proc *Process) (code int) {
	defer func() { // kong ends the program after --help and completion
		switch thrown := recover().(type) {
		case nil:
		case Exit:
			code = int(thrown)
		default:
			panic(thrown)
		}
	}()
	proc.name = p.Name
	parser, err := kong.New(p.Commands,
		kong.Name(p.Name),
		kong.Description(p.Description),
		kong.Embed(p.common()),
		kong.Writers(proc.Stdout, proc.Stderr),
		kong.Exit(func(code int) { panic(Exit(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, WrapUpperBound: 100}),
		kong.ValueFormatter(markRequired),
		kong.Help(helpWithUnits),
	)
	if err != nil {
		fmt.Fprintf(proc.Stderr, "%s: %v\n", p.Name, err)
		return int(Failed)
	}
	completeLine(parser)
	kctx, err := proc.parse(parser, p.Schema)
	if err != nil {
		proc.printUsage(parser, err)
		return int(Usage)
	}
	kctx.BindTo(ctx, (*context.Context)(nil))
	return proc.exitCode(kctx.Run(proc))
}

// common returns the commands that every program has.
func (p Program) common() any {
	return &struct {
		Config     configCmd     `cmd:"" help:"Print or check the settings."`
		Health     healthCmd     `cmd:"" help:"Check whether the running program is healthy, for container checks."`
		Version    versionCmd    `cmd:"" help:"Print the version."`
		Completion completionCmd `cmd:"" help:"Print a script that completes commands and flags in a shell."`
	}{
		Config: configCmd{
			Print: configPrintCmd{Settings: Reads(p.Schema), program: p},
			Check: configCheckCmd{Settings: Reads(p.Schema), program: p},
		},
		Health:     healthCmd{Settings: Reads(p.Schema, privateListen), program: p},
		Version:    versionCmd{program: p},
		Completion: completionCmd{program: p},
	}
}
