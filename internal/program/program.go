// Package program is the command line of imagetier and imagetier-gateway: commands and
// flags, usage errors, exit codes, signals, and the commands that both programs have
// (config, health, version, completion).
//
// kong parses the command line, prints help and completes; package settings owns the
// values of settings. The two meet in [Settings], which gives a command the flags of some
// settings. Start reading at [Program.Run], in run.go.
package program

import (
	"errors"
	"fmt"
	"io"

	"github.com/novasocial/imagetier/internal/settings"
)

// Exit is an exit code. A command returns one as its error after it has printed
// everything there is to say.
type Exit int

const (
	Failed   Exit = 1 // the command failed, or has found a fault (verify, health, doctor)
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

// Process is the view of a command on its process.
type Process struct {
	Args           []string // without the program's name
	Environ        []string // KEY=VALUE
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	name    string           // of the program
	unknown []settings.Fault // flags that the command does not have
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
