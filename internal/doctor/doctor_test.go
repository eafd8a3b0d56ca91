package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/novasocial/imagetier/imagecache/disktier"
	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/program/programtest"
	"github.com/novasocial/imagetier/internal/settings"
)

// run runs all checks with flags and returns the findings by name.
func run(t *testing.T, flags ...string) map[string]Finding {
	t.Helper()
	cfg, resolved, err := config.Load(config.Input{Input: settings.Input{
		Flags: programtest.Flags(flags),
		Environ: []string{
			"IMAGETIER_DEV=true",
			"IMAGETIER_LISTEN=127.0.0.1:0",
			"IMAGETIER_PRIVATE_LISTEN=127.0.0.1:0",
			"IMAGETIER_CACHE_DIR=" + t.TempDir(),
			"IMAGETIER_CACHE_DISK_SIZE=16MiB",
			"IMAGETIER_CACHE_ORIGINALS_SIZE=16MiB",
			"IMAGETIER_RESIZE_COMMAND=/nowhere/imagetier-resize",
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	report, err := Run(t.Context(), Input{Config: cfg, Resolved: resolved}, All()...)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]Finding)
	for _, f := range report {
		if (f.Level == OK) != (f.Fix == "") {
			t.Errorf("%+v: want a Fix if and only if the level is not OK", f)
		}
		found[f.Name] = f
	}
	return found
}

func TestRun_Canceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	report, err := Run(ctx, Input{}, Memory)
	if !errors.Is(err, context.Canceled) || report != nil {
		t.Errorf("%v, %v; want no report", report, err)
	}
}

func TestReport_Worst(t *testing.T) {
	for _, c := range []struct {
		levels []Level
		want   Level
	}{
		{nil, OK},
		{[]Level{OK, OK}, OK},
		{[]Level{OK, Warning}, Warning},
		{[]Level{Fault, Warning}, Fault},
	} {
		var r Report
		for _, level := range c.levels {
			r = append(r, Finding{Level: level})
		}
		if got := r.Worst(); got != c.want {
			t.Errorf("%v: %s, want %s", c.levels, got, c.want)
		}
	}
}

func TestSources_RandomName(t *testing.T) {
	status := http.StatusNotFound
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
	}))
	defer origin.Close()
	dir := t.TempDir()
	sources := []string{
		"--source", "dir=dir://" + dir,
		"--source", "gone=dir://" + dir + "/gone",
		"--source", "web=" + origin.URL + "/x",
	}
	private := append(sources, "--allow-private-origins")

	found := run(t, private...)
	for name, want := range map[string]Level{
		"source dir": OK, "source gone": Fault, "source web": OK, "clock against source web": OK,
	} {
		if found[name].Level != want {
			t.Errorf("%s: %+v, want %s", name, found[name], want)
		}
	}
	found = run(t, sources...)
	if f := found["source web"]; f.Level != Fault || !strings.Contains(f.Fix, "--allow-private-origins") {
		t.Errorf("a private address: %+v", f)
	}
	for code, fix := range map[int]string{200: "404", 403: "404", 500: "network"} {
		status = code
		found = run(t, private...)
		if found["source web"].Level != Fault || !strings.Contains(found["source web"].Fix, fix) {
			t.Errorf("an origin that answers %d: %+v", code, found["source web"])
		}
	}
}

func TestSources_BucketHidesMissing(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "a")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "b")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>`)
	}))
	defer server.Close()
	source := "s=s3://bucket/prefix?region=us-east-1&path-style=true&endpoint=" + server.URL
	found := run(t, "--source", source)
	if f := found["source s"]; f.Level != Fault || !strings.Contains(f.Fix, "?missing=403") {
		t.Errorf("%+v", f)
	}
	found = run(t, "--source", source+"&missing=403")
	if f := found["source s"]; f.Level != OK {
		t.Errorf("%+v", f)
	}
}

func TestSources_Clock(t *testing.T) {
	date := "Mon, 23 Nov 2020 10:00:00 GMT"
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", date)
		w.WriteHeader(http.StatusNotFound)
	}))
	defer origin.Close()
	found := run(t, "--allow-private-origins", "--source", "web="+origin.URL+"/")
	if f := found["clock against source web"]; f.Level != Fault || !strings.Contains(f.Fix, "NTP") {
		t.Errorf("%+v", f)
	}
}

func TestAll_CodecsDirectoriesPorts(t *testing.T) {
	resizer := filepath.Join(t.TempDir(), "imagetier-resize")
	script := func(text string) {
		if err := os.WriteFile(resizer, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script(`echo '{"libvips":"8.14.1","loads":["jpeg","png","webp","gif","avif"],"saves":["jpg","png","webp","avif"],"sandbox":["rlimits","landlock"]}'`)
	found := run(t, "--resize-command", resizer)
	if found["codecs"].Level != OK || found["sandbox"].Level != OK ||
		!strings.Contains(found["codecs"].Text, "8.14.1") {
		t.Errorf("%+v %+v", found["codecs"], found["sandbox"])
	}
	script(`echo '{"libvips":"8.14.1","loads":["jpeg","png","webp","gif"],"saves":["jpg","png","webp"],"sandbox":["rlimits"],"missing":["landlock: not supported"]}'`)
	found = run(t, "--resize-command", resizer)
	if found["codecs"].Level != Fault || found["sandbox"].Level != Warning ||
		!strings.Contains(found["codecs"].Text, "read avif or write avif") {
		t.Errorf("%+v %+v", found["codecs"], found["sandbox"])
	}
	script("echo libvips.so.42: no such file >&2; exit 127")
	found = run(t, "--resize-command", resizer)
	if found["codecs"].Level != Fault || !strings.Contains(found["codecs"].Text, "libvips.so.42") {
		t.Errorf("%+v", found["codecs"])
	}
	found = run(t, "--resize-command", resizer+"-gone")
	if found["codecs"].Level != Fault || !strings.Contains(found["codecs"].Fix, "make build") {
		t.Errorf("%+v", found["codecs"])
	}
	if found = run(t, "--cache-dir", resizer+"/cache"); found["cache directory "+resizer+"/cache"].Level != Fault {
		t.Errorf("a cache below a file: %+v", found)
	}
	if found = run(t, "--cache-disk-size", "4096TiB"); !anyOf(found, "cache directory", Warning) {
		t.Errorf("a budget over the disk: %+v", found)
	}
	taken := httptest.NewServer(http.NotFoundHandler())
	defer taken.Close()
	// A tier that already runs is not a fault: its private listener is healthy.
	tier := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer tier.Close()
	private := strings.TrimPrefix(tier.URL, "http://")
	addr := strings.TrimPrefix(taken.URL, "http://")
	if found = run(t, "--listen", addr); found["--listen "+addr].Level != Fault {
		t.Errorf("%+v", found["--listen "+addr])
	}
	found = run(t, "--listen", addr, "--private-listen", private)
	if found["--listen "+addr].Level != OK || found["--private-listen "+private].Level != OK {
		t.Errorf("%+v", found)
	}
	if found = run(t, "--listen", "0.0.0.0:0"); found["settings"].Level != Warning {
		t.Errorf("--dev for all the world: %+v", found["settings"])
	}
}

func anyOf(found map[string]Finding, prefix string, s Level) bool {
	for name, f := range found {
		if strings.HasPrefix(name, prefix) && f.Level == s {
			return true
		}
	}
	return false
}

// Each S3 error is reported by name, with a specific remedy.
func TestSources_S3Causes(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "a")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "b")
	var status int
	var code, message string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>%s</Message></Error>`, code, message)
	}))
	defer server.Close()
	bucket := "s3://bucket/prefix?region=us-east-1&path-style=true&endpoint=" + server.URL
	for _, c := range []struct {
		status             int
		code, message, fix string
	}{
		{404, "NoSuchBucket", "", "bucket's name"},
		{403, "InvalidAccessKeyId", "", "AWS_ACCESS_KEY_ID"},
		{404, "InvalidAccessKeyId", "", "AWS_ACCESS_KEY_ID"}, // as versitygw answers
		{403, "SignatureDoesNotMatch", "", "AWS_SECRET_ACCESS_KEY"},
		{400, "ExpiredToken", "", "AWS_SESSION_TOKEN"},
		{403, "RequestTimeTooSkewed", "", "NTP"},
		{400, "AuthorizationHeaderMalformed", "expecting 'eu-central-1'", "?region=eu-central-1"},
		{403, "AccessDenied", "not authorized to perform: s3:ListBucket", "s3:ListBucket"},
	} {
		status, code, message = c.status, c.code, c.message
		found := run(t, "--source", "s="+bucket, "--derived", bucket)
		for _, name := range []string{"source s", "derived"} {
			if f := found[name]; f.Level != Fault || !strings.Contains(f.Fix, c.fix) {
				t.Errorf("%s, %s: %+v, want a cure with %q", c.code, name, f, c.fix)
			}
		}
	}
	found := run(t, "--source", "s=s3://bucket/?region=us-east-1&path-style=true&endpoint=http://127.0.0.1:1")
	if f := found["source s"]; f.Level != Fault || !strings.Contains(f.Fix, "nothing listens there") {
		t.Errorf("refused: %+v", f)
	}
	for _, unset := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		t.Setenv(unset, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", "/nowhere")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
	if f := run(t, "--source", "s="+bucket)["source s"]; f.Level != Fault || !strings.Contains(f.Fix, "AWS_PROFILE") {
		t.Errorf("without credentials: %+v", f)
	}
}

// Every configured service is checked.
func TestServices(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
	}))
	defer server.Close()
	const secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
	at := func(url string) []string {
		return []string{"--balancer", url, "--purge-hook", url + "/purge", "--purge-secrets", secret}
	}
	found := run(t, at(server.URL)...)
	if found["balancer"].Level != OK || found["purge hook"].Level != OK {
		t.Errorf("%+v %+v", found["balancer"], found["purge hook"])
	}
	status = http.StatusBadGateway
	found = run(t, at(server.URL)...)
	if found["balancer"].Level != Fault || found["purge hook"].Level != Fault {
		t.Errorf("502: %+v %+v", found["balancer"], found["purge hook"])
	}
	found = run(t, append(at("http://127.0.0.1:1"), "--nats", "nats://127.0.0.1:1")...)
	for name, fix := range map[string]string{
		"balancer": "nothing listens", "purge hook": "nothing listens", "nats": "JetStream",
	} {
		if f := found[name]; f.Level != Fault || !strings.Contains(f.Fix, fix) {
			t.Errorf("%s that is down: %+v", name, f)
		}
	}
}

func TestCacheLock(t *testing.T) {
	dir := t.TempDir()
	if f := run(t, "--cache-dir", dir)["cache lock"]; f.Level != OK {
		t.Errorf("%+v", f)
	}
	tier, err := disktier.Open(disktier.Config{Dir: filepath.Join(dir, "variants"), MaxBytes: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if f := run(t, "--cache-dir", dir)["cache lock"]; f.Level != Fault || !strings.Contains(f.Fix, "--cache-dir") {
		t.Errorf("in use: %+v", f)
	}
	if err := tier.Close(); err != nil {
		t.Fatal(err)
	}
	if f := run(t, "--cache-dir", dir)["cache lock"]; f.Level != OK {
		t.Errorf("after its end: %+v", f)
	}
}

func TestMemory_Machine(t *testing.T) {
	machine := fstest.MapFS{"proc/meminfo": {Data: []byte("MemTotal:       16000000 kB\nMemFree:  100 kB\n")}}
	cfg := config.Config{MemorySize: 512 << 20, Workers: 2}
	if f := memory(cfg, machine); f.Level != OK || !strings.Contains(f.Text, "15625 MiB") {
		t.Errorf("%+v", f)
	}
	cfg.MemorySize = 900 << 30
	if f := memory(cfg, machine); f.Level != Fault || !strings.Contains(f.Fix, "--cache-memory-size") {
		t.Errorf("%+v", f)
	}
}
