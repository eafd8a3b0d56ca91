package e2e

import (
	"bytes"
	"encoding/json"
	"image/color"
	"image/jpeg"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
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
	dir := t.TempDir()
	pictures := []string{"phone-srgb.jpg", "phone-android.jpg"}
	for _, name := range pictures {
		copyPhoto(t, dir, name)
	}
	replace := func(with int) {
		t.Helper()
		body, err := os.ReadFile(filepath.Join(dir, pictures[with]))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "new"), body, 0o644)
		}
		if err == nil {
			err = os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "now.jpg"))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	replace(0)
	// Little memory, so that images move between memory and disk.
	x := start(
		t,
		"--keys", key, "--source", "posts=dir://"+dir, "--cache-dir", t.TempDir(), "--admin-token", token,
		"--cache-memory-size", "8MiB",
	)
	specs := []string{"60x", "80x", "100x", "120x"}
	paths := make([]string, len(specs))
	var made [2][][]byte // of each picture, by Spec; bytes differ slightly with the other Specs of the job
	for i, spec := range specs {
		paths[i] = sign(t, "now.jpg", "live", spec, "jpg")
		for which, name := range pictures {
			made[which] = append(made[which], x.get(sign(t, name, "v.1", spec, "jpg")).body)
		}
	}
	// clock is even between a receipt and the next purge, and then identifies the current picture.
	var clock, acknowledged atomic.Int64
	var stop atomic.Bool
	var readers sync.WaitGroup
	for reader := range 4 {
		readers.Go(func() {
			for i := reader; !stop.Load(); i++ {
				began := clock.Load()
				resp, err := http.Get(x.public + paths[i%len(paths)])
				if err != nil {
					t.Error(err)
					return
				}
				var body bytes.Buffer
				_, err = body.ReadFrom(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Errorf("%s, %v", resp.Status, err)
					return
				}
				if began%2 != 0 || clock.Load() != began {
					continue // during a purge: either picture is right
				}
				acknowledged.Add(1)
				which := began / 2 % 2
				if !nearer(t, body.Bytes(), made[which][i%len(paths)], made[1-which][i%len(paths)]) {
					t.Errorf(
						"after purge %d: not the picture that it left, but %s",
						began/2,
						resp.Header.Get("Cache-Status"),
					)
				}
			}
		})
	}
	const rounds, each = 20, 40
	for round := range rounds {
		for late := time.Now().Add(20 * time.Second); acknowledged.Load() < int64((round+1)*each) &&
			time.Now().Before(late); {
			time.Sleep(time.Millisecond) // keep the load until enough answers had this picture
		}
		clock.Add(1)
		replace((round + 1) % 2)
		if status, _ := x.ask("POST", "/v1/purge", `{"source":"posts","name":"now.jpg"}`); status != http.StatusOK {
			t.Fatal(status)
		}
		clock.Add(1)
	}
	stop.Store(true)
	readers.Wait()
	if n := acknowledged.Load(); n < rounds*each {
		t.Errorf("%d requests: too few to tell", n)
	}
}

// nearer reports to which of two JPEGs a third is closer, by the mean difference of pixels.
func nearer(t *testing.T, body, one, other []byte) bool {
	t.Helper()
	var difference [2]int
	got, err := jpeg.Decode(bytes.NewReader(body))
	if err != nil {
		t.Error(err)
		return false
	}
	for i, b := range [][]byte{one, other} {
		img, err := jpeg.Decode(bytes.NewReader(b))
		if err != nil {
			t.Error(err)
			return false
		}
		if img.Bounds() != got.Bounds() {
			difference[i] = math.MaxInt
			continue
		}
		for y := range img.Bounds().Dy() {
			for x := range img.Bounds().Dx() {
				a := color.GrayModel.Convert(img.At(x, y)).(color.Gray).Y
				b := color.GrayModel.Convert(got.At(x, y)).(color.Gray).Y
				difference[i] += max(int(a), int(b)) - min(int(a), int(b))
			}
		}
	}
	return difference[0] < difference[1]
}
