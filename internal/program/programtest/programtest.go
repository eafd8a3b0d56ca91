// Package programtest runs commands of a [program.Program] in the process of a test.
package programtest

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/internal/program"
)

// Command is a command line to run.
type Command struct {
	Args    []string
	Environ []string // KEY=VALUE
	Stdin   string
}

// Run runs a command to its end and returns its exit code and output.
func Run(t testing.TB, p program.Program, c Command) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = p.Run(t.Context(), &program.Process{
		Args: c.Args, Environ: c.Environ, Stdin: strings.NewReader(c.Stdin), Stdout: &out, Stderr: &errs,
	})
	return code, out.String(), errs.String()
}

// Flags returns the values of flags, as settings.Input has them, each written --name, --name=value or --name value.
func Flags(args []string) map[string][]string {
	flags := map[string][]string{}
	for i := 0; i < len(args); i++ {
		name, value, ok := strings.Cut(strings.TrimPrefix(args[i], "--"), "=")
		switch {
		case ok:
		case i+1 < len(args) && !strings.HasPrefix(args[i+1], "--"):
			i++
			value = args[i]
		default:
			value = "true"
		}
		flags[name] = append(flags[name], value)
	}
	return flags
}

// Help compares the help of commands, and of the program itself, with the files of
// testdata/help, and requires an example in that of each command. With UPDATE=1 in the environment it writes them.
func Help(t *testing.T, newProgram func() program.Program, commands ...string) {
	name := newProgram().Name
	common := []string{"", "config", "config print", "config check", "health", "version", "completion"}
	for _, command := range append(common, commands...) {
		t.Run(strings.TrimSpace(name+" "+command), func(t *testing.T) {
			code, got, stderr := Run(t, newProgram(), Command{Args: append(strings.Fields(command), "--help")})
			if code != 0 || stderr != "" {
				t.Errorf("exit code %d: %s", code, stderr)
			}
			page := strings.ReplaceAll(strings.TrimSpace(name+" "+command), " ", "-")
			file := filepath.Join("testdata/help", page+".txt")
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil || got != string(want) {
				t.Errorf("differs from %s (UPDATE=1 writes it): %v\n%s", file, err, got)
			}
			example := "\n    (.* )?" + regexp.QuoteMeta(strings.TrimSpace(name+" "+command)) + "\\b"
			if !strings.Contains(got, "\nCommands:\n") && !regexp.MustCompile(example).MatchString(got) {
				t.Error("the help text has no example")
			}
			args := append([]string{"help"}, strings.Fields(command)...)
			if _, alias, _ := Run(t, newProgram(), Command{Args: args}); alias != got {
				t.Errorf("help %s prints\n%s", command, alias)
			}
		})
	}
}

// Spellings checks that a setting can be given by flag, environment and file, in this order of
// precedence, with the same result. prefix begins the program's environment variables.
func Spellings(t *testing.T, newProgram func() program.Program, prefix string) {
	file := filepath.Join(t.TempDir(), "settings.yaml")
	if err := os.WriteFile(file, []byte("drain:\n  timeout: 7s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	inFile := []string{"--config", file}
	environ := []string{prefix + "DRAIN_TIMEOUT=8s"}
	for _, c := range []struct {
		name string
		Command
		want string // in the output of config print
	}{
		{"Default", Command{}, "25s"},
		{"File", Command{Args: inFile}, "7s"},
		{"Environment", Command{Args: inFile, Environ: environ}, "8s"},
		{"Flag", Command{Args: append(inFile, "--drain-timeout=9s"), Environ: environ}, "9s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.Args = append([]string{"config", "print"}, c.Args...)
			code, stdout, stderr := Run(t, newProgram(), c.Command)
			if code != 0 || !strings.Contains(stdout, "drain.timeout: "+c.want+" ") {
				t.Errorf("exit code %d, %s\n%s", code, stderr, stdout)
			}
		})
	}
}
