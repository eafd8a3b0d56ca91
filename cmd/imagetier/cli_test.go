package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/program"
	"github.com/novasocial/imagetier/internal/program/programtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"imagetier": main})
}

// Each file of testdata/script is a session at a shell.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE") != "",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("KEY", strings.Repeat("0123456789abcdef", 4))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// exits CODE PROGRAM ARG...: as exec, and the exit code is CODE.
			"exits": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) < 2 {
					ts.Fatalf("usage: exits CODE PROGRAM ARG...")
				}
				code := "0"
				if err := ts.Exec(args[1], args[2:]...); err != nil {
					code = strings.TrimPrefix(err.Error(), "exit status ")
				}
				if code != args[0] {
					ts.Fatalf("exit code %s, want %s", code, args[0])
				}
			},
		},
	})
}

// command runs a command in this process.
func command(t *testing.T, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return programtest.Run(t, newProgram(), programtest.Command{Args: args, Environ: environ})
}

func TestImagetier_Help(t *testing.T) {
	programtest.Help(
		t, newProgram, "serve", "sign", "verify", "explain", "purge", "takedown", "warm", "migrate-url", "doctor",
	)
}

func TestImagetier_SettingSpellings(t *testing.T) {
	programtest.Spellings(t, newProgram, config.Prefix)
}

func TestImagetier_Documents(t *testing.T) {
	programtest.Document(t, config.Schema, "../../docs/operate/configuration.md", "../../deploy/imagetier.yaml",
		"# Every setting of imagetier, with its default: imagetier serve --config imagetier.yaml\n"+
			"# imagetier config check --config FILE reports everything that is wrong.\n")
}

const heldPath = "/i/_/640x.webp"

func TestExplain_AsksTheTier(t *testing.T) {
	answer := `{"url":"u","path":"/i/_/640x/live/posts/a.jpg.webp","signature":{"verdict":"development","detail":"It is _."},
		"ref":{"source":"posts","name":"a.jpg","version":"live","pinned":false,"shape":"640x","format":"webp"},
		"status":200,
		"variants":[{"key":"k","held":[{"where":"memory","bytes":2048,"content_type":"image/webp","etag":"\"e\"",
			"freshness":"fresh","ttl_seconds":60,"age_seconds":5}]}],
		"last_origin":{"at":"2026-11-24T10:00:00Z","status":200}}`
	var asked string
	tier := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Path + " " + r.URL.Query().Get("url")
		fmt.Fprintln(w, answer)
	}))
	defer tier.Close()
	environ := []string{"IMAGETIER_PRIVATE_LISTEN=" + strings.TrimPrefix(tier.URL, "http://")}
	url := "https://img.example.com/i/_/640x/live/posts/a.jpg.webp?x=1&y#z"
	code, out, errs := command(t, environ, "explain", url)
	if code != 0 || errs != "" || asked != "/v1/explain "+url {
		t.Errorf("%d %s, asked %s", code, errs, asked)
	}
	for _, says := range []string{
		"It is _.", "posts", "live (the current original)", "640x.webp",
		"memory: 2048 bytes, image/webp, ETag \"e\", fresh, 5s old, fresh for 1m0s",
		"requested at 2026-11-24T10:00:00Z: 200",
	} {
		if !strings.Contains(out, says) {
			t.Errorf("the output lacks %q:\n%s", says, out)
		}
	}
	code, out, _ = command(t, environ, "explain", "--json", url)
	if code != 0 || !json.Valid([]byte(out)) || strings.Count(out, "\n") != 1 ||
		!strings.Contains(out, `"last_origin"`) {
		t.Errorf("%d %s", code, out)
	}
	answer = `{"url":"u","path":"/x","signature":{"verdict":"missing","detail":"No signature."},"error":"not an image URL"}`
	if code, out, _ := command(t, environ, "explain", "/x"); code != 1 || !strings.Contains(out, "not an image URL") {
		t.Errorf("%d %s", code, out)
	}
	asked = ""
	if code, out, _ := command(t, environ, "explain", "--local", heldPath); code != 1 || asked != "" ||
		!strings.Contains(out, "BAD") {
		t.Errorf("%d %s, asked %q", code, out, asked)
	}
}

func TestDoctor_Interrupted_GivesNoVerdict(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	code := newProgram().Run(ctx, &program.Process{
		Args: []string{"doctor", "--dev"}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
	})
	if code != int(program.Failed) || out.Len() > 0 {
		t.Errorf("%d %s %s", code, &out, &errs)
	}
}
