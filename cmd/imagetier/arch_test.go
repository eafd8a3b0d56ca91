package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/novasocial/imagetier/"

// owners are the rooms that may import what is foreign, by the beginning of its import
// path: each foreign thing has one address. What is not named here has none.
var owners = map[string][]string{
	"C":                                   {"resize/vips"},
	"github.com/h2non/bimg":               {"resize/vips"},
	"github.com/allegro/bigcache/v3":      {"imagecache/memtier"},
	"github.com/google/renameio/v2":       {"internal/durable"},
	"github.com/aws/aws-sdk-go-v2":        {"origin/s3origin", "origin/origintest/s3server", "imagecache/sharedstore/s3store"},
	"github.com/aws/smithy-go":            {"origin/s3origin"},
	"github.com/dunglas/httpsfv":          {"origin/rfc9111"},
	"github.com/sony/gobreaker/v2":        {"origin/breaker"},
	"github.com/go-chi/chi/v5":            {"internal/edge"},
	"github.com/prometheus/":              {"internal/metrics", "internal/telemetry"},
	"go.opentelemetry.io/":                {"internal/metrics", "internal/telemetry", "internal/tracing"},
	"github.com/alecthomas/kong":          {"internal/program"},
	"github.com/willabides/kongplete":     {"internal/program"},
	"github.com/posener/complete":         {"internal/program"},
	"github.com/agnivade/levenshtein":     {"internal/settings"},
	"github.com/goccy/go-yaml":            {"internal/settings", "internal/config"},
	"github.com/nats-io/":                 {"internal/jetstream"},
	"golang.org/x/time":                   {"origin/breaker"},
	"golang.org/x/sys":                    {"origin/dirorigin", "imagecache/disktier", "resize/workers", "cmd/imagetier-resize", "cmd/imagetier", "internal/config"},
	"golang.org/x/sync":                   {""},
	"golang.org/x/image":                  {"resize/resizetest"},
	"go.n16f.net/thumbhash":               {"resize/vips", "resize/resizetest"},
	"github.com/esimov/pigo":              {"resize/vips"},
	"github.com/bbrks/go-blurhash":        {"resize/vips", "resize/resizetest"},
	"github.com/landlock-lsm/go-landlock": {"cmd/imagetier-resize"},
	"github.com/elastic/go-seccomp-bpf":   {"cmd/imagetier-resize"},
	"kernel.org/pub/linux/libs/security":  {"cmd/imagetier-resize"},
}

// walls are what a room may import of this module: imports point down. A room that is not
// here may import nothing of it; "" is the module's root, and stands for all.
var walls = map[string][]string{
	"resize":                 {},
	"resize/resizetest":      {"resize"},
	"resize/vips":            {"resize"},
	"resize/workers":         {"resize", "resize/workers"},
	"cmd/imagetier-resize":   {"resize"},
	"origin":                 {"origin/internal"},
	"imagecache/imageurl":    {"resize"},
	"imagecache":             {"resize", "origin", "imagecache/imageurl"},
	"imagecache/memtier":     {"imagecache", "imagecache/imageurl"},
	"imagecache/disktier":    {"imagecache", "imagecache/imageurl"},
	"imagecache/sharedstore": {"imagecache", "imagecache/imageurl"},
	"imagecache/tiertest":    {"imagecache", "imagecache/imageurl", "resize"},
	"imagecache/takedown":    {"imagecache"},
	"imagecache/fill":        {"resize", "origin", "imagecache", "imagecache/imageurl"},
	"prefetch/profile":       {"resize", "imagecache/imageurl"},
	"prefetch":               {"resize", "origin", "imagecache", "prefetch/profile"},
	"prefetch/warmer":        {"resize", "origin", "imagecache", "prefetch/profile", "prefetch/events", "prefetch/tags"},
	"internal/settings":      {},
	"internal/adminclient":   {},
	"internal/program":       {"internal/program", "internal/settings", "internal/adminclient"},
	"internal/tracing":       {},
	"internal/durable":       {},
	"internal/webhook":       {},
	"cmd/imagetier":          {""},
	"internal/server":        {""},
	"internal/sources":       {"origin", "internal/config", "internal/metrics"},
	"internal/purgelog":      {"imagecache", "internal/jetstream"},
	"internal":               {"resize", "origin", "imagecache", "prefetch", "internal/settings", "internal/tracing", "internal/durable", "internal/webhook"},
}

type listed struct {
	ImportPath string
	Imports    []string
	Standard   bool
}

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

// under reports whether path is room or lies in it.
func under(path, room string) bool {
	return room == "" || path == room || strings.HasPrefix(path, strings.TrimSuffix(room, "/")+"/")
}

func underAny(path string, rooms []string) bool {
	return slices.ContainsFunc(rooms, func(room string) bool { return under(path, room) })
}

// wallOf returns the rule of the innermost room that has one.
func wallOf(room string) []string {
	for {
		if allowed, ok := walls[room]; ok {
			return allowed
		}
		at := strings.LastIndexByte(room, '/')
		if at < 0 {
			return nil
		}
		room = room[:at]
	}
}

func TestEveryRoomImportsOnlyWhatItMay(t *testing.T) {
	std := map[string]bool{"C": false}
	for _, p := range list(t, "-deps", "./...") {
		std[p.ImportPath] = p.Standard
	}
	for _, p := range list(t, "./...") {
		room := strings.TrimPrefix(p.ImportPath, module)
		for _, imported := range p.Imports {
			switch own, ok := strings.CutPrefix(imported, module); {
			case ok:
				if own != room && !underAny(own, wallOf(room)) && !under(own, room) && !sameHouse(own, room) {
					t.Errorf("%s imports %s, which does not lie below it", room, own)
				}
			case std[imported]:
			default:
				if !owned(imported, room) {
					t.Errorf("%s imports %s, whose address is another", room, imported)
				}
			}
		}
	}
}

// sameHouse: rooms of origin know origin and what is internal to it.
func sameHouse(own, room string) bool {
	return under(room, "origin") && (own == "origin" || under(own, "origin/internal") || under(own, "origin/rfc9111") || under(room, "origin/origintest") && under(own, "origin"))
}

func owned(imported, room string) bool {
	for prefix, rooms := range owners {
		if strings.HasSuffix(prefix, "/") && strings.HasPrefix(imported, prefix) || under(imported, prefix) {
			if underAny(room, rooms) {
				return true
			}
		}
	}
	return false
}

func TestTheTierHasNoC(t *testing.T) {
	for _, p := range list(t, "-deps", "./cmd/imagetier") {
		if !p.Standard && (slices.Contains(p.Imports, "C") || under(p.ImportPath, module+"resize/vips")) {
			t.Errorf("imagetier depends on %s, which has C in it", p.ImportPath)
		}
	}
}
