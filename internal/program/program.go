// Package program is the command line of imagetier and imagetier-gateway: commands and
// flags, usage errors, exit codes, signals, and the commands that both programs have
// (config, health, version, completion).
//
// kong parses the command line, prints help and completes; package settings owns the
// values of settings. The two meet in [Settings], which gives a command the flags of some
// settings. Start reading at [Program.Run].
package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/novasocial/imagetier/internal/settings"
)

// Exit is an exit code. A command returns one as its error after it has printed
// everything there is to say.
type Exit int

const (
	Failed   Exit = 1 // the command failed, or what it checked is not good
	Usage    Exit = 2 // wrong arguments or settings
	Warnings Exit = 3 // nothing worse than warnings was found
)

func (e Exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// UsageError marks an error of the arguments that only the command could find.
type UsageError struct{ Err error }

func (e UsageError) Error() string { return e.Err.Error() }
func (e UsageError) Unwrap() error { return e.Err }

// Program is a program with its commands.
type Program struct {
	Name        string
	Description string
	// Commands is a pointer to a struct with a field for each command, as kong reads it.
	// Run binds a context.Context and a [*Process] for the Run methods of commands.
	Commands any
	Schema   *settings.Schema
	// Load reads and checks the settings, for the command config. If complete is false,
	// settings that are required to serve may be absent.
	Load func(in settings.Input, complete bool) (*settings.Resolved, error)
}

// Process is what a command sees of the process it runs in.
type Process struct {
	Args           []string // without the program's name
	Environ        []string // KEY=VALUE
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	name    string           // of the program
	unknown []settings.Fault // flags that the command does not have
}

// Main runs the program in this process and exits. The first SIGINT or SIGTERM cancels
// the command's context, the second ends the process at once.
func (p Program) Main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(p.Run(ctx, &Process{
		Args: os.Args[1:], Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}))
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
		Completion: completionCmd{program: p},
	}
}

// exitCode prints the error of a command and returns its exit code.
func (proc *Process) exitCode(err error) int {
	var silent Exit
	switch {
	case err == nil:
		return 0
	case errors.As(err, &silent):
		return int(silent)
	}
	fmt.Fprintf(proc.Stderr, "%s: %v\n", proc.name, err)
	var faults settings.Faults
	var usage UsageError
	if errors.As(err, &faults) || errors.As(err, &usage) {
		return int(Usage)
	}
	return int(Failed)
}

// conventional rewrites the spellings of other programs: "help COMMAND" is
// "COMMAND --help", "--version" is "version".
func conventional(args []string) []string {
	switch {
	case len(args) > 0 && args[0] == "help":
		return append(slices.Clone(args[1:]), "--help")
	case len(args) == 1 && args[0] == "--version":
		return []string{"version"}
	}
	return slices.Clone(args)
}
