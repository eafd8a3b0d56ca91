package program_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/internal/program"
	"github.com/novasocial/imagetier/internal/program/programtest"
	"github.com/novasocial/imagetier/internal/settings"
)

// runCmd returns an error or waits for the end of its context.
type runCmd struct {
	Fail  string `help:"How to fail."`
	Count int    `required:"" help:"A number."`

	program.Settings
	seen *settings.Resolved
	load func(settings.Input) *settings.Resolved
}

func (c *runCmd) Run(ctx context.Context, proc *program.Process) error {
	c.seen = c.load(c.Input(proc))
	if err := c.seen.Err(); err != nil {
		return err
	}
	switch c.Fail {
	case "":
		return nil
	case "usage":
		return program.UsageError{Err: errors.New("bad argument")}
	case "silent":
		return program.Warnings
	}
	return errors.New(c.Fail)
}

func app() program.Program {
	var config, listen, token string
	var size int64
	var wait time.Duration
	schema := &settings.Schema{Prefix: "APP_", Settings: []settings.Setting{
		{Name: "config", Placeholder: "FILE", Help: "A file.", Value: settings.String(&config)},
		{
			Name: "private-listen", Placeholder: "ADDR", Default: "127.0.0.1:1", Help: "An address.",
			Value: settings.String(&listen),
		},
		{
			Name: "size", Placeholder: "SIZE", Required: "required", Help: "A size of ${x}.",
			Value: settings.Size(&size, 1),
		},
		{
			Name: "wait", Placeholder: "TIME", Default: "5s", Help: "A time.",
			Value: settings.Duration(&wait, 0, time.Hour),
		},
		{Name: "token", Placeholder: "TOKEN", Secret: true, Help: "A secret.", Value: settings.String(&token)},
	}}
	load := func(in settings.Input, complete bool) (*settings.Resolved, error) {
		r := schema.Resolve(in)
		if complete && size == 0 {
			r.FaultOf("size", errors.New("required"))
		}
		return r, r.Err()
	}
	return program.Program{
		Name: "app", Description: "Does things.", Schema: schema, Load: load,
		Commands: &struct {
			Run runCmd `cmd:"" help:"Run."`
		}{runCmd{
			Settings: program.Reads(schema),
			load:     func(in settings.Input) *settings.Resolved { return schema.Resolve(in) },
		}},
	}
}

func run(t *testing.T, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return programtest.Run(t, app(), programtest.Command{Args: args, Environ: environ})
}

func TestProgram_Run_ExitCodes(t *testing.T) {
	for _, c := range []struct {
		args   string
		code   int
		stderr string
	}{
		{"run --count=1", 0, ""},
		{"run --count=1 --fail=x", 1, "app: x\n"},
		{"run --count=1 --fail=usage", 2, "app: bad argument\n"},
		{"run --count=1 --fail=silent", 3, ""},
		{"run --count=1 --wait=soon", 2, "app: --wait: \"soon\": want a time from 0s to 1h, like 200ms, 5s or 1h30m\n"},
		{"run", 2, "app: missing flags: --count=INT\nRun \"app run --help\" for more.\n"},
		{"nothing", 2, "app: unexpected argument nothing\nRun \"app --help\" for more.\n"},
		{"help nothing", 2, "app: unexpected argument nothing\nRun \"app --help\" for more.\n"},
		{"version extra", 2, "app: unexpected argument extra\nRun \"app version --help\" for more.\n"},
		{"config check", 2, "app: --size: required\n"},
		{"config print", 0, ""},
	} {
		t.Run(c.args, func(t *testing.T) {
			if code, _, stderr := run(t, nil, strings.Fields(c.args)...); code != c.code || stderr != c.stderr {
				t.Errorf("exit code %d: %q", code, stderr)
			}
		})
	}
}

func TestProgram_Run_ReportsUnknownFlagsWithAllOtherFaults(t *testing.T) {
	code, _, stderr := run(t, []string{"APP_WIAT=1s"}, "run", "--count=1", "--szie", "5GiB", "--tokn=x", "--size=many")
	want := `app: 4 faults in the settings
  --szie: unknown; the nearest is --size
  --tokn: unknown; the nearest is --token
  APP_WIAT: unknown; the nearest is APP_WAIT
  --size: "many": want a size like 50GiB, 512MiB or 1.5GB
`
	if code != 2 || stderr != want {
		t.Errorf("exit code %d:\n%s", code, stderr)
	}
	// A command without settings also reports them, and errors of the arguments that follow.
	if code, _, stderr := run(t, nil, "version", "--jsn"); code != 2 ||
		!strings.HasPrefix(stderr, "app: --jsn: unknown; the nearest is --json\n") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if code, _, stderr := run(t, nil, "health", "--szie=1", "--timeout=x"); code != 2 ||
		!strings.Contains(stderr, "--szie: ") || !strings.Contains(stderr, "--timeout: ") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if code, _, stderr := run(t, nil, "health", "--size=1GiB"); code != 2 ||
		!strings.Contains(stderr, "--size: this command does not have this flag") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestProgram_Run_HelpMarksRequiredFlagsAndExplainsUnits(t *testing.T) {
	_, help, _ := run(t, nil, "run", "--help")
	for _, want := range []string{
		"A number (required).", "A size of ${x} (required).", "A time (default: 5s).", "File that holds --token.",
		"\nUnits:\n  SIZE    bytes: 4096,", "\n  TIME    200ms,",
	} {
		if !strings.Contains(help, want) {
			t.Errorf("%q is not in\n%s", want, help)
		}
	}
	if _, help, _ := run(t, nil, "help", "version"); strings.Contains(help, "Units:") ||
		!strings.Contains(help, "Print the version.") {
		t.Errorf("help version:\n%s", help)
	}
}

func TestProgram_Run_Version(t *testing.T) {
	for _, spelling := range []string{"version", "--version"} {
		code, stdout, _ := run(t, nil, spelling)
		if code != 0 || !strings.HasPrefix(stdout, "app ") || !strings.Contains(stdout, ", go1.") {
			t.Errorf("%s: exit code %d: %s", spelling, code, stdout)
		}
	}
	if code, stdout, _ := run(t, nil, "version", "--json"); code != 0 || !strings.Contains(stdout, `"go":"go1.`) {
		t.Errorf("exit code %d: %s", code, stdout)
	}
}

func TestProgram_Run_Completion(t *testing.T) {
	for shell, want := range map[string]string{
		"bash": "complete -o", "zsh": "bashcompinit", "fish": "function __app_complete",
	} {
		if code, stdout, stderr := run(t, nil, "completion", shell); code != 0 || !strings.Contains(stdout, want) {
			t.Errorf("%s: exit code %d: %s%s", shell, code, stdout, stderr)
		}
	}
	if code, _, _ := run(t, nil, "completion", "tcsh"); code != 2 {
		t.Errorf("exit code %d of an unknown shell", code)
	}
}

func TestProgram_Run_CompletesCommandLine(t *testing.T) {
	t.Setenv("COMP_LINE", "app run --si")
	if code, stdout, _ := run(t, nil); code != 0 || stdout != "--size\n" {
		t.Errorf("exit code %d, %q", code, stdout)
	}
}

func TestProgram_Run_HealthReportsAnswer(t *testing.T) {
	ready := http.StatusServiceUnavailable
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/healthz":
			fmt.Fprintln(w, "ok")
		case "/readyz":
			w.WriteHeader(ready)
			fmt.Fprintln(w, `{"detail": "draining"}`)
		}
	}))
	defer server.Close()
	environ := []string{"APP_PRIVATE_LISTEN=" + strings.TrimPrefix(server.URL, "http://")}
	if code, stdout, stderr := run(t, environ, "health"); code != 0 || stdout != "ok\n" || stderr != "" {
		t.Errorf("exit code %d: %q %q", code, stdout, stderr)
	}
	want := "app: " + server.URL + `/readyz answers 503: {"detail": "draining"}` + "\n"
	if code, stdout, stderr := run(t, environ, "health", "--ready"); code != 1 || stdout != "" || stderr != want {
		t.Errorf("exit code %d: %q %q", code, stdout, stderr)
	}
	code, stdout, _ := run(t, environ, "health", "--ready", "--json")
	want = `{"url":"` + server.URL + `/readyz","well":false,"status":503,`
	if code != 1 || !strings.HasPrefix(stdout, want) {
		t.Errorf("exit code %d: %s", code, stdout)
	}
	ready = http.StatusOK
	if code, _, stderr := run(t, environ, "health", "--ready"); code != 0 {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	server.Close()
	if code, _, stderr := run(t, environ, "health"); code != 1 || !strings.Contains(stderr, "does not answer") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestProgram_Run_HealthTimesOut(t *testing.T) {
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(ended)
	}))
	defer server.Close()
	addr := strings.TrimPrefix(server.URL, "http://")
	code, _, stderr := run(t, nil, "health", "--timeout=30ms", "--private-listen="+addr)
	<-ended
	if code != 1 || !strings.Contains(stderr, "deadline") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}
