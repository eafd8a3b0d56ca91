package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/novasocial/imagetier/"

// owners lists, by prefix of its import path, each third-party package and the packages of this
// module that may import it. A third-party package that is not listed may not be imported.
var owners = map[string][]string{
	"C":                              {"resize/vips"},
	"github.com/h2non/bimg":          {"resize/vips"},
	"github.com/allegro/bigcache/v3": {"imagecache/memtier"},
	"github.com/google/renameio/v2":  {"internal/durable"},
	"github.com/aws/aws-sdk-go-v2": {"origin/s3origin", "origin/origintest/s3server",
		"imagecache/sharedstore/s3store", "internal/s3client"},
	"github.com/aws/smithy-go":        {"origin/s3origin", "internal/s3client"},
	"github.com/dunglas/httpsfv":      {"origin/rfc9111"},
	"github.com/sony/gobreaker/v2":    {"internal/circuit"},
	"github.com/go-chi/chi/v5":        {"internal/httpapi/admin"},
	"github.com/valyala/fasthttp":     {"internal/httpserver", "deploy/peers/bare"},
	"github.com/prometheus/":          {"internal/metrics", "internal/telemetry"},
	"go.opentelemetry.io/":            {"internal/metrics", "internal/telemetry", "internal/tracing"},
	"github.com/alecthomas/kong":      {"internal/program"},
	"github.com/willabides/kongplete": {"internal/program"},
	"github.com/posener/complete":     {"internal/program"},
	"github.com/agnivade/levenshtein": {"internal/settings"},
	"github.com/goccy/go-yaml":        {"internal/settings", "internal/config"},
	"github.com/nats-io/":             {"internal/jetstream"},
	"golang.org/x/sys": {"origin/dirorigin", "imagecache/disktier",
		"resize/workers", "cmd/imagetier-resize", "internal/doctor", "internal/config", "internal/httpserver"},
	"github.com/getkin/kin-openapi":       {"internal/httpapi/apitest"},
	"github.com/klauspost/compress":       {"internal/warmlist"},
	"github.com/chromedp/chromedp":        {"internal/testutil/chromium"},
	"golang.org/x/sync":                   {""},
	"golang.org/x/image":                  {"resize/resizetest"},
	"go.n16f.net/thumbhash":               {"resize/vips", "resize/resizetest"},
	"github.com/esimov/pigo":              {"resize/vips"},
	"github.com/bbrks/go-blurhash":        {"resize/vips", "resize/resizetest"},
	"github.com/landlock-lsm/go-landlock": {"cmd/imagetier-resize"},
	"github.com/elastic/go-seccomp-bpf":   {"cmd/imagetier-resize"},
	"kernel.org/pub/linux/libs/security":  {"cmd/imagetier-resize"},
}

// allowed lists what the packages below a directory may import of this module: imports
// point down. The innermost directory that is listed counts.
var allowed = map[string][]string{
	"resize":               {},
	"resize/resizetest":    {"resize", "internal/testutil"},
	"resize/vips":          {"resize"},
	"resize/workers":       {"resize", "resize/workers"},
	"cmd/imagetier-resize": {"resize"},
	"origin": {
		"origin/internal", "origin/objectname", "internal/boundedcache", "internal/circuit", "internal/inflight",
		"internal/s3client",
	},
	"origin/origintest":   {"internal/testutil"},
	"imagecache/imageurl": {"resize"},
	"imagecache":          {"resize", "origin", "imagecache/imageurl", "internal/inflight"},
	"imagecache/memtier":  {"imagecache", "imagecache/imageurl"},
	"imagecache/disktier": {"imagecache", "imagecache/imageurl", "internal/inflight"},
	"imagecache/sharedstore": {"imagecache", "imagecache/imageurl", "internal/boundedcache", "internal/circuit",
		"internal/s3client"},
	"imagecache/tiertest": {"imagecache", "imagecache/imageurl", "resize"},
	"imagecache/fill":     {"resize", "origin", "imagecache", "imagecache/imageurl", "internal/inflight"},
	"origin/objectname":   {},
	"prefetch/profile":    {"resize", "imagecache/imageurl", "origin/objectname"},
	"prefetch":            {"resize", "origin", "imagecache", "prefetch/profile", "internal/jsoncheck"},
	"prefetch/warmer":     {"resize", "origin", "imagecache", "prefetch/profile", "prefetch/events"},
	"prefetch/service": {"resize", "origin", "imagecache", "prefetch",
		"internal/jetstream", "internal/durable", "internal/webhook"},
	"internal/httpapi": {"resize", "origin", "imagecache", "internal/httpapi",
		"internal/boundedcache", "internal/guard", "internal/httpserver", "internal/metrics", "internal/fleet",
		"internal/jsoncheck",
		"internal/inflight", "prefetch/service"},
	"internal/guard":               {},
	"internal/settings":            {},
	"internal/testutil":            {"internal/testutil"},
	"internal/adminclient":         {},
	"internal/program":             {"internal/program", "internal/settings", "internal/adminclient"},
	"internal/program/programtest": {"internal/program", "internal/settings", "internal/testutil"},
	"internal/tracing":             {},
	"internal/durable":             {},
	"internal/jsoncheck":           {},
	"cmd/imagetier":                forCommands,
	"internal/server":              {"resize", "origin", "imagecache", "prefetch", "internal"},
	"internal/doctor/finding":      {"internal/httpserver"},
	"internal/doctor": {"internal/doctor/finding", "resize/workers", "origin", "imagecache/disktier",
		"internal/adminclient", "internal/jetstream",
		"internal/config", "internal/settings", "internal/sources"},
	"internal/warmlist":     {"imagecache/imageurl", "internal/durable"},
	"internal/webhook":      {},
	"internal/migrate":      {"resize"},
	"docs":                  {"imagecache/imageurl"},
	"internal/circuit":      {},
	"internal/s3client":     {"origin"},
	"internal/boundedcache": {},
	"internal/sources":      {"origin", "internal/circuit", "internal/config", "internal/metrics"},
	"internal/jsonlog":      {"internal/durable", "internal/jsonlog"},
	"internal/fleet": {"imagecache", "internal/boundedcache", "internal/durable", "internal/jetstream",
		"internal/jsonlog", "internal/webhook"},
	"internal": {"resize", "origin", "imagecache", "prefetch",
		"internal/settings", "internal/tracing", "internal/durable", "internal/webhook", "internal/circuit"},
}

// forCommands lists the packages that the commands of imagetier may import.
var forCommands = []string{
	"resize", "imagecache/imageurl", "internal/adminclient", "internal/config", "internal/doctor", "internal/migrate",
	"internal/program",
	"internal/server", "internal/settings", "internal/warmlist",
}

type listed struct {
	ImportPath string
	Imports    []string
	Standard   bool
}

// list returns the output of go list for some packages.
func list(t *testing.T, args ...string) []listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,Standard"}, args...)...)
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	var all []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// under reports whether path is dir or lies below it.
func under(path, dir string) bool {
	return dir == "" || path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

func underAny(path string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool { return under(path, dir) })
}

// allowedIn returns what a package may import.
func allowedIn(pkg string) []string {
	for dir := pkg; dir != "."; dir = path.Dir(dir) {
		if dirs, ok := allowed[dir]; ok {
			return dirs
		}
	}
	return nil
}

func TestPackages_ImportOnlyBelow(t *testing.T) {
	std := map[string]bool{"C": false}
	for _, p := range list(t, "-deps", "./...") {
		std[p.ImportPath] = p.Standard
	}
	for _, p := range list(t, "./...") {
		pkg := strings.TrimPrefix(p.ImportPath, module)
		for _, imported := range p.Imports {
			own, ok := strings.CutPrefix(imported, module)
			switch {
			case ok && own == "internal/server" && pkg != "cmd/imagetier":
				t.Errorf("%s imports %s, which is for cmd/imagetier only", pkg, own)
			case ok && !under(own, pkg) && !underAny(own, allowedIn(pkg)) && !withinOrigin(own, pkg):
				t.Errorf("%s imports %s, which is not below it", pkg, own)
			case !ok && !std[imported] && !owned(imported, pkg):
				t.Errorf("%s imports %s, which other packages own", pkg, imported)
			}
		}
	}
}

// withinOrigin reports whether an import is between packages of origin: all of them use
// origin, its internal packages and rfc9111, and the tests' servers use every source.
func withinOrigin(own, pkg string) bool {
	return under(pkg, "origin") && (own == "origin" || under(own, "origin/internal") || under(own, "origin/rfc9111") ||
		under(pkg, "origin/origintest") && under(own, "origin"))
}

func owned(imported, pkg string) bool {
	for prefix, pkgs := range owners {
		if (strings.HasSuffix(prefix, "/") && strings.HasPrefix(imported, prefix) || under(imported, prefix)) &&
			underAny(pkg, pkgs) {
			return true
		}
	}
	return false
}

func TestTier_ImportsNoC(t *testing.T) {
	for _, p := range list(t, "-deps", "./cmd/imagetier") {
		if !p.Standard && (slices.Contains(p.Imports, "C") || under(p.ImportPath, module+"resize/vips")) {
			t.Errorf("imagetier depends on %s, which uses C", p.ImportPath)
		}
	}
}
