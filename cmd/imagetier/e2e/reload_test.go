package e2e

import (
	"bytes"
	"image/color"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// SIGHUP replaces keys, tokens, profiles and watermarks without interruption; with an invalid file
// the old values stay.
func TestTier_SIGHUP_ReloadsFiles(t *testing.T) {
	t.Parallel()
	_, origin := newCountingOrigin(t, "phone-srgb.jpg")
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	file := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const newKey = "k2=202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"
	const plain, marked = "/300x300-cover/v.1/posts/a.jpg.png", "/300x300-cover-wm.logo/v.1/posts/a.jpg.png"
	file("keys", key)
	file("profiles", "feed: [100x.webp]\n")
	file("token", "0123456789abcdef")
	writePlain(t, at("logo.png"), color.NRGBA{250, 0, 0, 255})
	x := start(t, "--keys-file", at("keys"), "--profiles", at("profiles"), "--watermark", "logo="+at("logo.png"),
		"--source", "posts="+origin, "--allow-private-origins", "--cache-dir", t.TempDir(),
		"--admin-token-file", at("token"))
	x.get(signedPath(t, plain)).want(t, 200, "origin")
	red := x.get(signedPath(t, marked))

	reloaded := func(outcome string) {
		t.Helper()
		series := `imagetier_reloads_total{outcome="` + outcome + `"}`
		before := metric(t, x, series)
		if err := x.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, 20*time.Second, "a reload: "+outcome, func() bool { return metric(t, x, series) != before })
	}
	file("keys", newKey)
	file("profiles", "feed: [0x.webp]\n")
	file("token", token)
	writePlain(t, at("logo.png"), color.NRGBA{0, 0, 250, 255})
	reloaded("failure")
	if log := x.log.String(); !strings.Contains(log, "profile feed") || strings.Contains(log, newKey[3:]) {
		t.Error("the log does not name the invalid profile, or shows a key")
	}
	if old := x.get(signedPath(t, plain)); old.StatusCode != 403 {
		t.Errorf("a URL of the retired key: %s", old.Status)
	}
	x.get(signedWith(t, newKey, plain)).want(t, 200, "memory")
	blue := x.get(signedWith(t, newKey, marked))
	if blue.StatusCode != 200 || red.StatusCode != 200 || bytes.Equal(blue.body, red.body) {
		t.Errorf("the variant still has the old watermark: %s, then %s", red.Status, blue.Status)
	}
	if value := metric(t, x, "imagetier_last_reload_success_timestamp_seconds"); value != "0" {
		t.Errorf("the last successful reload was at %s", value)
	}
	if status, _ := x.ask("POST", "/v1/purge", `{"source":"posts","name":"b.jpg"}`); status != 200 {
		t.Errorf("a purge with the new token: %d", status)
	}
	file("profiles", "feed: [200x.webp]\n")
	reloaded("success")
	if value := metric(t, x, "imagetier_last_reload_success_timestamp_seconds"); value == "0" {
		t.Error("no successful reload is recorded")
	}
	x.stop()
	if log := x.log.String(); !strings.Contains(log, `"msg":"draining"`) || !strings.Contains(log, `"requests":0`) ||
		!strings.Contains(log, "terminated") {
		t.Error("the log mentions neither SIGTERM nor the requests in flight")
	}
}
