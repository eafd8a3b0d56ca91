package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// SIGHUP replaces keys and profiles, for requests and ETags alike, and an invalid file keeps what
// was there.
func TestProxy_SIGHUP_ReloadsFiles(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("ETag", `"v1"`)
		_, _ = io.WriteString(w, `{"imageUrl":"https://cdn.app.example/a.jpg"}`)
	}))
	defer service.Close()
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	newKey := "k2=" + strings.Repeat("ab", 32)
	p := start(t, "imagetier-gateway", "proxy", "--upstream="+service.URL, "--image-base=https://img.example.com",
		"--image-prefix=https://cdn.app.example/=posts",
		"--keys-file="+file("keys", key), "--profiles="+file("profiles", "feed: [100x.jpg]"))
	reload := func(outcome string, n string) {
		t.Helper()
		if err := p.process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		line := `imagetier_gateway_reloads_total{outcome="` + outcome + `"} ` + n + "\n"
		until(t, "a reload: "+outcome, func() bool {
			_, _, metrics := get(t, p.private+"/metrics")
			return strings.Contains(metrics, line)
		})
	}
	want := func(text string) (tag string) {
		t.Helper()
		_, header, body := get(t, p.public+"/")
		if !strings.Contains(body, text) {
			t.Errorf("the answer is %s, want %s", body, text)
		}
		return header.Get("ETag")
	}
	first := want("/i/k1.")
	want("/100x/")

	file("keys", newKey)
	file("profiles", "feed: [0x.jpg]")
	reload("failure", "1")
	second := want("/i/k2.")
	want("/100x/")
	if first == second || first == "" {
		t.Errorf("ETag %s, then %s", first, second)
	}
	if log := p.output(); !strings.Contains(log, "profile feed") || strings.Contains(log, newKey[3:]) {
		t.Error("the log does not name the invalid profile, or shows a key")
	}
	file("profiles", "feed: [200x.jpg]")
	reload("success", "1")
	want("/200x/")
}
