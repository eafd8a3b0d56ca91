package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const (
	module = "github.com/novasocial/imagetier/gateway/"
	ofTier = "github.com/novasocial/imagetier/"
)

// owners are the packages that may import a third-party library, by import path prefix. A library
// that is not listed must not be imported.
var owners = map[string][]string{
	"github.com/goccy/go-yaml":       {"cmd/imagetier-gateway/internal/config"},
	"github.com/prometheus/":         {"cmd/imagetier-gateway"},
	"github.com/andybalholm/brotli":  {"proxy"},
	"github.com/klauspost/compress":  {"proxy"},
	"github.com/vektah/gqlparser/v2": {"proxy", "graph"},
	"github.com/golang-jwt/jwt/v5":   {"auth"},
	"github.com/MicahParks/":         {"auth"},
	"golang.org/x/sync":              {"tier", "feed", "cmd/imagetier-gateway", "cmd/fakebackends"},
	"github.com/redis/rueidis":       {"pagecache"},
	"github.com/maypok86/otter/v2":   {"pagecache"},
	"google.golang.org/grpc":         {"proto", "upstream"},
	"google.golang.org/protobuf":     {"proto", "upstream"},
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc": {"upstream"},
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp":               {"cmd/imagetier-gateway"},
	"go.opentelemetry.io/otel": {"upstream", "cmd/imagetier-gateway"},
}

// allowedImports are the packages that a package may import from the gateway, and, after a /, from the
// tier's module. A package that is not listed may import none.
var allowedImports = map[string][]string{
	"rewrite":   {},
	"imagelink": {"/resize", "/imagecache/imageurl", "/prefetch/profile"},
	"tier": {"/imagecache/imageurl", "/prefetch/profile",
		"/internal/boundedcache", "/internal/jsoncheck", "/internal/webhook"},
	"feed":                  {},
	"proto":                 {},
	"upstream":              {"feed", "proto", "/internal/circuit"},
	"upstream/fakeservices": {"proto"},
	"cmd/fakebackends":      {"upstream/fakeservices"},
	"proxy":                 {"budget", "rewrite", "imagelink", "/prefetch/profile", "/internal/boundedcache"},
	"loader":                {},
	"budget":                {},
	"pagecache":             {"feed", "/internal/circuit"},
	"graph":                 {"budget", "feed", "imagelink", "/prefetch/profile"},
	"auth":                  {"/internal/jsoncheck"},
	"events":                {"budget", "/prefetch/events", "/internal/boundedcache", "/internal/webhook"},
	"cmd/imagetier-gateway": {
		"proxy",
		"imagelink",
		"tier",
		"graph",
		"auth",
		"events",
		"feed",
		"loader",
		"pagecache",
		"upstream",
		"/internal/adminclient",
		"/internal/circuit",
		"/internal/doctor/finding",
		"/internal/guard",
		"/internal/httpserver",
		"/internal/settings",
		"/internal/program",
		"/internal/telemetry",
		"/internal/webhook",
		"/prefetch/profile",
		"/prefetch/events",
		"/imagecache/imageurl",
	},
}

type listed struct {
	ImportPath string
	Imports    []string
	Standard   bool
}

func list(t *testing.T, args ...string) (all []listed) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,Standard"}, args...)...)
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func under(path, pkg string) bool {
	return path == pkg || strings.HasPrefix(path, strings.TrimSuffix(pkg, "/")+"/")
}

// mostSpecific returns the entry of pkg, or of its closest parent.
func mostSpecific(table map[string][]string, pkg string) []string {
	for {
		if entry, ok := table[pkg]; ok {
			return entry
		}
		at := strings.LastIndexByte(pkg, '/')
		if at < 0 {
			return nil
		}
		pkg = pkg[:at]
	}
}

func TestImports(t *testing.T) {
	std := map[string]bool{}
	for _, p := range list(t, "-deps", "./...") {
		std[p.ImportPath] = p.Standard
	}
	for _, p := range list(t, "./...") {
		pkg := strings.TrimPrefix(p.ImportPath, module)
		allowed := mostSpecific(allowedImports, pkg)
		for _, imported := range p.Imports {
			own, isOwn := strings.CutPrefix(imported, module)
			below, isTier := strings.CutPrefix(imported, ofTier)
			switch {
			case std[imported]:
			case isOwn:
				if !under(own, pkg) && !slices.ContainsFunc(allowed, func(a string) bool { return under(own, a) }) {
					t.Errorf("%s must not import %s", pkg, own)
				}
			case isTier:
				has := func(a string) bool { return strings.HasPrefix(a, "/") && under(below, a[1:]) }
				if !slices.ContainsFunc(allowed, has) {
					t.Errorf("%s must not import the tier's %s", pkg, below)
				}
			default:
				if !slices.ContainsFunc(ownersOf(imported), func(owner string) bool { return under(pkg, owner) }) {
					t.Errorf("%s must not import %s, which belongs to another package", pkg, imported)
				}
			}
		}
	}
}

// fakeservices is below upstream, which the program may import.
func TestImports_NoFakes(t *testing.T) {
	for _, p := range list(t, "-deps", "./cmd/imagetier-gateway") {
		if under(p.ImportPath, module+"upstream/fakeservices") {
			t.Error("imagetier-gateway must not import ", p.ImportPath)
		}
	}
}

func ownersOf(imported string) (pkgs []string) {
	for prefix, owning := range owners {
		if under(imported, prefix) || strings.HasSuffix(prefix, "/") && strings.HasPrefix(imported, prefix) {
			pkgs = append(pkgs, owning...)
		}
	}
	return pkgs
}
