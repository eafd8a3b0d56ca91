package e2e

import (
	"bytes"
	"fmt"
	"image/gif"
	"image/jpeg"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/novasocial/imagetier/resize"
)

// A request that is being filled gets a complete answer during shutdown.
func TestTier_Shutdown_FinishesRequests(t *testing.T) {
	photo, err := os.ReadFile(filepath.Join(photos(t), "phone-srgb.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	asked, release := make(chan struct{}), make(chan struct{})
	origin := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(photo)))
		w.Write(photo[:1000])
		w.(http.Flusher).Flush()
		close(asked)
		<-release
		w.Write(photo[1000:])
	}))
	x := start(t, "--keys", key, "--source", "posts="+origin+"/", "--allow-private-origins", "--cache-dir", t.TempDir())
	url := x.public + sign(t, "a.jpg", "v.1", "640x", "jpg")
	type result struct {
		status int
		body   []byte
		err    error
	}
	answered := make(chan result, 1)
	go func() {
		resp, err := http.Get(url)
		if err != nil {
			answered <- result{err: err}
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		answered <- result{resp.StatusCode, body, err}
	}()
	<-asked
	if err := x.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// Readiness fails first, while the request is still running.
	eventually(t, 5*time.Second, "/readyz to turn 503 after SIGTERM", func() bool {
		resp, err := http.Get(x.private + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusServiceUnavailable
	})
	close(release)
	got := <-answered
	if got.err != nil || got.status != 200 || !bytes.HasPrefix(got.body, []byte{0xff, 0xd8}) ||
		!bytes.HasSuffix(got.body, []byte{0xff, 0xd9}) {
		t.Errorf("the reader in flight got %d, %d bytes, %v", got.status, len(got.body), got.err)
	}
	x.waitEnded()
	if x.err != nil {
		t.Errorf("the tier ended with %v", x.err)
	}
}

// children returns the process ids of the resize children of x.
func children(t *testing.T, x *tier) []int {
	t.Helper()
	pids := childPIDs(x)
	if len(pids) == 0 {
		t.Fatal("the tier has no resize children, or this kernel does not list them in /proc")
	}
	return pids
}

func TestTier_Children_KilledOnesAreReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	copyPhoto(t, dir, "phone-srgb.jpg")
	x := start(t, "--keys", key, "--source", "posts=dir://"+dir, "--cache-dir", t.TempDir())
	for round := range 3 {
		// A process that is killed while it starts counts as one that cannot be started.
		eventually(t, 10*time.Second, "all children to be idle", func() bool {
			return metric(t, x, `imagetier_resize_workers{state="idle"}`) == strconv.Itoa(len(children(t, x))) &&
				metric(t, x, `imagetier_resize_workers{state="starting"}`) == "0"
		})
		for _, pid := range children(t, x) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		got := x.get(sign(t, "phone-srgb.jpg", "v."+strconv.Itoa(round), "640x", "webp"))
		if got.StatusCode != 200 {
			t.Fatalf("round %d: %s after the children were killed", round, got.Status)
		}
	}
}

func TestTier_Children_EndWithTheTier(t *testing.T) {
	x := start(t, "--keys", key, "--source", "posts=dir://"+t.TempDir(), "--cache-dir", t.TempDir())
	pids := children(t, x)
	x.kill()
	for _, pid := range pids {
		eventually(t, 5*time.Second, fmt.Sprintf("child %d to end", pid), func() bool {
			return syscall.Kill(pid, 0) != nil
		})
	}
}

func TestTier_TruncatedOriginal_RefusedUntilReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	photo, err := os.ReadFile(filepath.Join(photos(t), "phone-srgb.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "cut.jpg")
	if err := os.WriteFile(file, photo[:len(photo)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	x := start(t, "--keys", key, "--source", "posts=dir://"+dir, "--cache-dir", t.TempDir(), "--negative-ttl", "1s")
	path := sign(t, "cut.jpg", "v.1", "640x", "jpg")
	got := x.get(path)
	if got.StatusCode != 422 || got.Header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("%s %s, want 422 with a problem", got.Status, got.Header.Get("Content-Type"))
	}
	if err := os.WriteFile(file, photo, 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the original, which is whole now, to be served", func() bool {
		return x.get(path).StatusCode == 200
	})
}

func TestTier_HugeOriginal_RefusedAlone(t *testing.T) {
	dir := t.TempDir()
	copyPhoto(t, dir, "phone-srgb.jpg")
	hostile := map[string]struct {
		body string
		want int
	}{
		"page.jpg":    {"<!doctype html><title>no image</title>", 415},
		"picture.svg": {`<svg xmlns="http://www.w3.org/2000/svg"/>`, 415},
		"empty.jpg":   {"", 422},
		"huge.gif": {
			"GIF89a\xff\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02\x02D\x01\x00;",
			413,
		},
		"paper.pdf": {"%PDF-1.4\n%%EOF", 415},
	}
	for name, h := range hostile {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(h.body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	x := start(t, "--keys", key, "--source", "posts=dir://"+dir, "--cache-dir", t.TempDir())
	for name, h := range hostile {
		if got := x.get(sign(t, name, "v.1", "640x", "jpg")); got.StatusCode != h.want {
			t.Errorf("%s: %s, want %d", name, got.Status, h.want)
		}
	}
	x.get(sign(t, "phone-srgb.jpg", "v.1", "640x", "jpg")).want(t, 200, "origin")
}

// Metadata is kept only if requested, also for a photo with a mezzanine.
func TestTier_Spec_P3AndCredit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	copyPhoto(t, dir, "phone-p3-b.jpg")
	photo := filepath.Join(dir, "phone-p3-b.jpg")
	original, err := os.ReadFile(photo)
	if err != nil {
		t.Fatal(err)
	}
	const text = "(c) A. Photographer"
	block := resize.Credit{Copyright: text}.EXIF()
	segment := append([]byte{0xff, 0xe1, 0, byte(8 + len(block))}, "Exif\x00\x00"...)
	original = append(append(append([]byte("\xff\xd8"), segment...), block...), original[2:]...)
	if err := os.WriteFile(photo, original, 0o644); err != nil {
		t.Fatal(err)
	}
	x := start(t, "--keys", key, "--source", "posts=dir://"+dir, "--cache-dir", t.TempDir())
	for shape, holds := range map[string]struct{ profile, credit bool }{
		"64x": {false, false}, "64x-p3": {true, false}, "64x-credit": {false, true}, "64x-credit-p3": {true, true},
	} {
		got := x.get(sign(t, "phone-p3-b.jpg", "v.1", shape, "jpg"))
		if got.StatusCode != 200 {
			t.Errorf("%s: %s %s", shape, got.Status, firstBytes(got.body))
			continue
		}
		profile, credit := bytes.Contains(got.body, []byte("ICC_PROFILE")), bytes.Contains(got.body, []byte(text))
		if profile != holds.profile || credit != holds.credit {
			t.Errorf("%s: profile %v, credit %v", shape, profile, credit)
		}
		if m, err := jpeg.Decode(bytes.NewReader(got.body)); err != nil || m.Bounds().Dx() != 64 {
			t.Errorf("%s: %v", shape, err)
		}
	}
}

// Crops to faces, animations and GIFs are made, and decode completely in another decoder.
func TestTier_Spec_FacesAnimationsAndGIF(t *testing.T) {
	dir := t.TempDir()
	copyPhoto(t, dir, "phone-srgb.jpg")
	copyPhoto(t, dir, "animation-small.gif")
	original, err := os.ReadFile(filepath.Join(dir, "animation-small.gif"))
	if err != nil {
		t.Fatal(err)
	}
	before, err := gif.DecodeAll(bytes.NewReader(original))
	if err != nil {
		t.Fatal(err)
	}
	x := start(t, "--keys", key, "--source", "posts=dir://"+dir, "--cache-dir", t.TempDir())
	made := func(name, spec, format string) []byte {
		t.Helper()
		got := x.get(sign(t, name, "v.1", spec, format))
		if got.StatusCode != 200 {
			t.Fatalf("%s %s.%s: %s %s", name, spec, format, got.Status, firstBytes(got.body))
		}
		return got.body
	}
	if m, err := jpeg.Decode(bytes.NewReader(made("phone-srgb.jpg", "64x64-cover-face", "jpg"))); err != nil ||
		m.Bounds().Dx() != 64 ||
		m.Bounds().Dy() != 64 {
		t.Errorf("face: %v", err)
	}
	if m, err := gif.Decode(bytes.NewReader(made("phone-srgb.jpg", "64x", "gif"))); err != nil ||
		m.Bounds().Dx() != 64 {
		t.Errorf("gif: %v", err)
	}
	if after, err := gif.DecodeAll(bytes.NewReader(made("animation-small.gif", "64x", "gif"))); err != nil ||
		len(after.Image) != len(before.Image) ||
		after.LoopCount != before.LoopCount {
		t.Errorf("gif of a gif: %v", err)
	}
	if b := made("animation-small.gif", "64x", "webp"); bytes.Count(b, []byte("ANMF")) < 2 {
		t.Errorf("webp of a gif has %d frames", bytes.Count(b, []byte("ANMF")))
	}
	if b := made("animation-small.gif", "64x-still", "webp"); bytes.Contains(b, []byte("ANMF")) {
		t.Error("a still has frames")
	}
}
