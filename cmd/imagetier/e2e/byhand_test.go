package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The example of docs/warming/README.md, run in a shell, makes the variants that its answer lists.
// A size outside the plan then needs no request to the origin.
func TestWarm_DocumentedExample(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/warming/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, script, _ := strings.Cut(string(text), "```sh\n")
	script, _, found := strings.Cut(script, "```")
	if !found || !strings.Contains(script, "curl -i http://127.0.0.1:8081/v1/events") {
		t.Fatalf("no example with curl and /v1/events in %s", script)
	}
	o, origin := newCountingOrigin(t, "phone-android.jpg")
	x := start(t, warmFlags(origin, "--cache-dir", t.TempDir())...)
	script = strings.ReplaceAll(script, "http://127.0.0.1:8081", x.private)
	for _, audience := range []string{"120000", "3"} {
		name := "2026/11/abc" + audience + ".jpg"
		one := strings.NewReplacer(`"audience":120000`, `"audience":`+audience, "2026/11/abc.jpg", name).Replace(script)
		shell := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", one)
		shell.Env = append(os.Environ(), "SECRET="+hookSecret)
		out, err := shell.CombinedOutput()
		_, answer, _ := strings.Cut(string(out), "\r\n\r\n")
		var taken struct {
			Accepted int
			Posts    []struct{ Specs []string }
		}
		if err != nil || json.Unmarshal([]byte(answer), &taken) != nil || len(taken.Posts) != 1 ||
			len(taken.Posts[0].Specs) == 0 {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, spec := range taken.Posts[0].Specs {
			shape, format := strings.TrimSuffix(spec, filepath.Ext(spec)), filepath.Ext(spec)
			path := signedPath(t, "/"+shape+"/v.1/posts/"+name+format)
			eventually(t, 30*time.Second, spec+" is held", func() bool {
				return x.explainHeld("/" + shape + "/v.1/posts/" + name + format)
			})
			x.get(path).want(t, 200, "memory")
		}
		before := o.gets.Load()
		x.get(signedPath(t, "/333x/v.1/posts/"+name+".webp")).want(t, 200, "original")
		x.get(signedPath(t, "/info/v.1/posts/"+name+".json")).want(t, 200, "memory")
		if n := o.gets.Load() - before; n != 0 {
			t.Errorf("a size that was not warmed cost %d requests to the origin, want 0", n)
		}
	}
}
