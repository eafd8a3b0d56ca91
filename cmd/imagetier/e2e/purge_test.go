package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

type receipt struct {
	Variants, Originals int
	Bytes               int64
}

// ask posts to the private listener and returns the receipt.
func (x *tier) ask(method, path, body string) (int, receipt) {
	x.t.Helper()
	req, err := http.NewRequestWithContext(x.t.Context(), method, x.private+path, strings.NewReader(body))
	if err != nil {
		x.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer a-token-of-these-tests")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		x.t.Fatal(err)
	}
	defer resp.Body.Close()
	var r receipt
	if resp.StatusCode == http.StatusOK {
		if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
			x.t.Fatal(err)
		}
	}
	return resp.StatusCode, r
}

const token = "a-token-of-these-tests"

func TestTier_Takedown_SurvivesKill(t *testing.T) {
	t.Parallel()
	dir, cache := t.TempDir(), t.TempDir()
	copyPhoto(t, dir, "phone-srgb.jpg")
	flags := []string{"--keys", key, "--source", "posts=dir://" + dir, "--cache-dir", cache, "--admin-token", token}
	paths := []string{
		sign(t, "phone-srgb.jpg", "v.1", "200x", "jpg"),
		sign(t, "phone-srgb.jpg", "live", "100x", "webp"),
	}
	x := start(t, flags...)
	for _, path := range paths {
		if got := x.get(path); got.StatusCode != 200 {
			t.Fatal(got.Status)
		}
	}
	const target = `{"source":"posts","name":"phone-srgb.jpg"}`
	status, r := x.ask("POST", "/v1/takedown", target)
	if status != 200 || r.Variants < 2 || r.Originals < 1 || r.Bytes == 0 {
		t.Fatalf("%d %+v", status, r)
	}
	down := func() {
		t.Helper()
		for _, path := range append(paths, sign(t, "phone-srgb.jpg", "v.2", "64x", "png")) {
			if got := x.get(path); got.StatusCode != 451 || got.Header.Get("Cache-Control") != "public, max-age=300" {
				t.Errorf("%s: %s %s", path, got.Status, got.Header.Get("Cache-Control"))
			}
		}
	}
	down()
	x.kill() // must not lose what was acknowledged
	x = start(t, flags...)
	down()
	if status, _ := x.ask("DELETE", "/v1/takedown", target); status != 200 {
		t.Fatal(status)
	}
	x.get(paths[0]).want(t, 200, "origin")
}

// Under load, no request that begins after the receipt gets the old bytes from any tier, and they
// do not return later.
func TestTier_Purge_LiveImageNeverServedAgain(t *testing.T) {
	load := purgeLoad{rounds: 20, each: 40, readers: 4}
	load.layOut(t, "now.jpg")
	// Little memory, so that images move between memory and disk.
	x := start(
		t,
		"--keys", key, "--source", "posts=dir://"+load.dir, "--cache-dir", t.TempDir(), "--admin-token", token,
		"--cache-memory-size", "8MiB",
	)
	load.request(t, x, "60x", "80x", "100x", "120x")
	load.purge = func() {
		if status, _ := x.ask("POST", "/v1/purge", `{"source":"posts","name":"now.jpg"}`); status != http.StatusOK {
			t.Fatal(status)
		}
	}
	load.run(t)
}
