package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
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
	return programtest.Run(t, imagetier(), programtest.Command{Args: args, Environ: environ})
}

func TestImagetier_Help(t *testing.T) {
	programtest.Help(t, imagetier, "serve", "sign", "verify", "explain", "purge", "takedown", "warm", "doctor")
}

func TestImagetier_SettingSpellings(t *testing.T) {
	programtest.Spellings(t, imagetier, config.Prefix)
}

const heldPath = "/i/_/640x.webp"

func TestExplainAsksTheTier(t *testing.T) {
	answer := `{"url":"u","path":"/i/_/640x/live/posts/a.jpg.webp","signature":{"verdict":"development","detail":"It is _."},
		"ref":{"source":"posts","name":"a.jpg","version":"live","pinned":false,"shape":"640x","format":"webp"},"status":200,
		"variants":[{"key":"k","held":[{"where":"memory","bytes":2048,"content_type":"image/webp","etag":"\"e\"","freshness":"fresh","ttl_seconds":60,"age_seconds":5}]}],
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
	for _, says := range []string{"It is _.", "posts", "live (whatever is there now)", "640x.webp", "memory: 2048 bytes, image/webp, ETag \"e\", fresh, 5s old, fresh for 1m0s", "asked at 2026-11-24T10:00:00Z: 200"} {
		if !strings.Contains(out, says) {
			t.Errorf("does not say %q:\n%s", says, out)
		}
	}
	code, out, _ = command(t, environ, "explain", "--json", url)
	if code != 0 || !json.Valid([]byte(out)) || strings.Count(out, "\n") != 1 || !strings.Contains(out, `"last_origin"`) {
		t.Errorf("%d %s", code, out)
	}
	answer = `{"url":"u","path":"/x","signature":{"verdict":"missing","detail":"There is none."},"error":"not an image URL"}`
	if code, out, _ := command(t, environ, "explain", "/x"); code != 1 || !strings.Contains(out, "not an image URL") {
		t.Errorf("%d %s", code, out)
	}
	asked = ""
	if code, out, _ := command(t, environ, "explain", "--local", heldPath); code != 1 || asked != "" || !strings.Contains(out, "BAD") {
		t.Errorf("%d %s, asked %q", code, out, asked)
	}
}

// doctorFindings runs doctor and returns its findings by what they are of.
func doctorFindings(t *testing.T, args ...string) (code int, found map[string]finding) {
	t.Helper()
	environ := []string{ // flags go before these
		"IMAGETIER_DEV=true", "IMAGETIER_LISTEN=127.0.0.1:0", "IMAGETIER_PRIVATE_LISTEN=127.0.0.1:0", "IMAGETIER_CACHE_DIR=" + t.TempDir(),
		"IMAGETIER_CACHE_DISK_SIZE=16MiB", "IMAGETIER_CACHE_ORIGINALS_SIZE=16MiB", "IMAGETIER_RESIZE_COMMAND=/nowhere/imagetier-resize",
	}
	code, out, errs := command(t, environ, append([]string{"doctor", "--json"}, args...)...)
	var said struct {
		Worst    severity
		Findings []finding
	}
	if err := json.Unmarshal([]byte(out), &said); err != nil {
		t.Fatalf("%v: %d %s %s", err, code, out, errs)
	}
	found = map[string]finding{}
	for _, f := range said.Findings {
		if f.Severity != good && f.Mend == "" {
			t.Errorf("%+v does not say how to mend it", f)
		}
		found[f.What] = f
	}
	if want := map[severity]program.Exit{good: 0, warning: program.Warnings, fault: program.Failed}[said.Worst]; code != int(want) {
		t.Errorf("exit code %d, worst %s", code, said.Worst)
	}
	return code, found
}

func TestTheDoctorAsksEverySourceForWhatCannotBeThere(t *testing.T) {
	status := http.StatusNotFound
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) }))
	defer origin.Close()
	dir := t.TempDir()
	sources := []string{"--source", "dir=dir://" + dir, "--source", "gone=dir://" + dir + "/gone", "--source", "web=" + origin.URL + "/x"}
	private := append(sources, "--allow-private-origins")

	_, found := doctorFindings(t, private...)
	for what, want := range map[string]severity{"source dir": good, "source gone": fault, "source web": good, "clock against source web": good} {
		if found[what].Severity != want {
			t.Errorf("%s: %+v, want %s", what, found[what], want)
		}
	}
	_, found = doctorFindings(t, sources...)
	if f := found["source web"]; f.Severity != fault || !strings.Contains(f.Mend, "--allow-private-origins") {
		t.Errorf("a private address: %+v", f)
	}
	for code, mend := range map[int]string{200: "404", 403: "404", 500: "network"} {
		status = code
		if _, found = doctorFindings(t, private...); found["source web"].Severity != fault || !strings.Contains(found["source web"].Mend, mend) {
			t.Errorf("an origin that answers %d: %+v", code, found["source web"])
		}
	}
}

func TestTheDoctorKnowsABucketThatHidesWhatIsMissing(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "a")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "b")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>`)
	}))
	defer server.Close()
	source := "s=s3://bucket/prefix?region=us-east-1&path-style=true&endpoint=" + server.URL
	_, found := doctorFindings(t, "--source", source)
	if f := found["source s"]; f.Severity != fault || !strings.Contains(f.Mend, "?missing=403") {
		t.Errorf("%+v", f)
	}
	_, found = doctorFindings(t, "--source", source+"&missing=403")
	if f := found["source s"]; f.Severity != good {
		t.Errorf("%+v", f)
	}
}

func TestTheDoctorComparesClocks(t *testing.T) {
	date := "Mon, 23 Nov 2020 10:00:00 GMT"
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", date)
		w.WriteHeader(http.StatusNotFound)
	}))
	defer origin.Close()
	_, found := doctorFindings(t, "--allow-private-origins", "--source", "web="+origin.URL+"/")
	if f := found["clock against source web"]; f.Severity != fault || !strings.Contains(f.Mend, "NTP") {
		t.Errorf("%+v", f)
	}
}

func TestTheDoctorLooksAtCodecsDirectoriesAndPorts(t *testing.T) {
	resizer := filepath.Join(t.TempDir(), "imagetier-resize")
	script := func(text string) {
		if err := os.WriteFile(resizer, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script(`echo '{"libvips":"8.14.1","loads":["jpeg","png","webp","gif","avif"],"saves":["jpg","png","webp","avif"],"sandbox":["rlimits","landlock"]}'`)
	_, found := doctorFindings(t, "--resize-command", resizer)
	if found["codecs"].Severity != good || found["sandbox"].Severity != good || !strings.Contains(found["codecs"].Detail, "8.14.1") {
		t.Errorf("%+v %+v", found["codecs"], found["sandbox"])
	}
	script(`echo '{"libvips":"8.14.1","loads":["jpeg","png","webp","gif"],"saves":["jpg","png","webp"],"sandbox":["rlimits"],"missing":["landlock: not supported"]}'`)
	_, found = doctorFindings(t, "--resize-command", resizer)
	if found["codecs"].Severity != fault || found["sandbox"].Severity != warning || !strings.Contains(found["codecs"].Detail, "read avif or write avif") {
		t.Errorf("%+v %+v", found["codecs"], found["sandbox"])
	}
	script("echo libvips.so.42: no such file >&2; exit 127")
	if _, found = doctorFindings(t, "--resize-command", resizer); found["codecs"].Severity != fault || !strings.Contains(found["codecs"].Detail, "libvips.so.42") {
		t.Errorf("%+v", found["codecs"])
	}
	if _, found = doctorFindings(t, "--resize-command", resizer+"-gone"); found["codecs"].Severity != fault || !strings.Contains(found["codecs"].Mend, "make build") {
		t.Errorf("%+v", found["codecs"])
	}
	if _, found = doctorFindings(t, "--cache-dir", resizer+"/cache"); found["cache directory "+resizer+"/cache"].Severity != fault {
		t.Errorf("a cache below a file: %+v", found)
	}
	if _, found = doctorFindings(t, "--cache-disk-size", "4096TiB"); !anyOf(found, "cache directory", warning) {
		t.Errorf("a budget over the disk: %+v", found)
	}
	taken := httptest.NewServer(http.NotFoundHandler())
	defer taken.Close()
	// A tier that runs already is no fault: its private listener is well.
	tier := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer tier.Close()
	private := strings.TrimPrefix(tier.URL, "http://")
	addr := strings.TrimPrefix(taken.URL, "http://")
	if _, found = doctorFindings(t, "--listen", addr); found["--listen "+addr].Severity != fault {
		t.Errorf("%+v", found["--listen "+addr])
	}
	if _, found = doctorFindings(t, "--listen", addr, "--private-listen", private); found["--listen "+addr].Severity != good || found["--private-listen "+private].Severity != good {
		t.Errorf("%+v", found)
	}
	if _, found = doctorFindings(t, "--listen", "0.0.0.0:0"); found["settings"].Severity != warning {
		t.Errorf("--dev for all the world: %+v", found["settings"])
	}
}

func anyOf(found map[string]finding, what string, s severity) bool {
	for name, f := range found {
		if strings.HasPrefix(name, what) && f.Severity == s {
			return true
		}
	}
	return false
}

func TestWhoStopsTheDoctorGetsNoVerdict(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	code := imagetier().Run(ctx, &program.Process{Args: []string{"doctor", "--dev"}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs})
	if code != int(program.Failed) || out.Len() > 0 {
		t.Errorf("%d %s %s", code, &out, &errs)
	}
}
