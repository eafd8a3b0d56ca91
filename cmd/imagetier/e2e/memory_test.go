package e2e

import (
	"bytes"
	"image"
	"image/jpeg"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A resize process that reaches its memory limit is a failure of the tier, which is not
// remembered; an image that certainly needs more is refused with the limit and its setting.
func TestTier_ResizeMemory_IsServerError(t *testing.T) {
	var photo bytes.Buffer
	if err := jpeg.Encode(&photo, image.NewGray(image.Rect(0, 0, 1600, 1200)), nil); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.jpg"), photo.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	x := start(t, "--listen", freePort(t), "--private-listen", freePort(t), "--keys", key,
		"--source", "posts=dir://"+dir, "--cache-dir", t.TempDir(), "--cache-memory-size", "16MiB",
		"--mezzanine", "0", "--resize-memory", "300MiB")
	for range 2 {
		got := x.get(signedPath(t, "/1600x/v.1/posts/a.jpg.jxl"))
		if got.StatusCode != http.StatusInternalServerError || got.Header.Get("Cache-Control") != "no-store" ||
			!strings.Contains(string(got.body), `"resize_failed"`) {
			t.Fatalf("%d, Cache-Control %q: %s", got.StatusCode, got.Header.Get("Cache-Control"), got.body)
		}
	}
	if n := metric(t, x, `imagetier_resize_worker_restarts_total{reason="memory"}`); n != "4" {
		t.Errorf("%s resize processes reached their limit, want 4: two for each request", n)
	}
	got := x.get(signedPath(t, "/4000x3000-up/v.1/posts/a.jpg.jxl"))
	if got.StatusCode != http.StatusRequestEntityTooLarge ||
		!strings.Contains(string(got.body), "the limit is 300 MiB (--resize-memory)") {
		t.Errorf("%d: %s", got.StatusCode, got.body)
	}
	x.get(signedPath(t, "/640x/v.1/posts/a.jpg.jpg")).want(t, http.StatusOK, "origin")
}
