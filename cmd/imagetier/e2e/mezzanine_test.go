package e2e

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	_ "image/jpeg"
	"image/png"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// One fetch and one decode serve whatever size is asked for later, and what is kept for it
// is a fraction of the original.
func TestTier_Mezzanine_LaterSizesNeedNoFetch(t *testing.T) {
	o, origin := newCountingOrigin(t, "phone-android.jpg")
	flags := warmFlags(origin, "--cache-dir", t.TempDir())
	x := start(t, flags...)
	x.get(signedPath(t, "/880x/v.1/posts/a.jpg.webp")).want(t, 200, "origin")
	for _, path := range []string{
		"/440x/v.1/posts/a.jpg.jpg", "/200x200-cover/v.1/posts/a.jpg.webp",
		"/1080x/v.1/posts/a.jpg.jpg", "/info/v.1/posts/a.jpg.json",
	} {
		x.get(signedPath(t, path)).want(t, 200, "original")
	}
	kept, err := strconv.ParseFloat(metric(t, x, `imagetier_cache_bytes{tier="originals"}`), 64)
	if whole := float64(len(*o.photo.Load())); err != nil || kept < 10_000 || kept > whole/3 {
		t.Errorf("%.0f bytes are kept of an original of %.0f, %v", kept, whole, err)
	}
	x.stop()
	x = start(t, flags...)
	x.get(signedPath(t, "/640x/v.1/posts/a.jpg.webp")).want(t, 200, "original")
	if n := o.gets.Load(); n != 1 {
		t.Errorf("the origin was asked %d times", n)
	}
	// What has more pixels than the mezzanine can give is made of the original.
	x.get(signedPath(t, "/2000x/v.1/posts/a.jpg.webp")).want(t, 200, "origin")
}

// A URL names the same bytes on every node, whatever the node was asked for before.
func TestTier_Mezzanine_BytesDoNotDependOnCache(t *testing.T) {
	_, origin := newCountingOrigin(t, "phone-orient6-p3.jpg")
	paths := []string{
		"/320x/v.1/posts/a.jpg.jpg",
		"/880x/v.1/posts/a.jpg.webp",
		"/2000x/v.1/posts/a.jpg.jpg",
		"/200x200-cover/v.1/posts/a.jpg.webp",
		"/640x-p3/v.1/posts/a.jpg.jpg",
		"/640x-credit/v.1/posts/a.jpg.webp",
	}
	etags := map[string]string{}
	for _, order := range [][]int{{0, 1, 2, 3, 4, 5}, {5, 4, 3, 2, 1, 0}} {
		x := start(t, warmFlags(origin, "--cache-dir", t.TempDir())...)
		for _, i := range order {
			got := x.get(signedPath(t, paths[i]))
			if got.StatusCode != http.StatusOK {
				t.Fatalf("%s: %s", paths[i], got.Status)
			}
			if before := etags[paths[i]]; before != "" && before != got.Header.Get("ETag") {
				t.Errorf("%s has other bytes on another node", paths[i])
			}
			etags[paths[i]] = got.Header.Get("ETag")
		}
		x.stop()
	}
	x := start(t, warmFlags(origin, "--cache-dir", t.TempDir(), "--mezzanine", "0")...)
	if got := x.get(signedPath(t, paths[0])); got.Header.Get("ETag") == etags[paths[0]] {
		t.Error("with --mezzanine 0 it is made of the mezzanine")
	}
	x.get(signedPath(t, paths[1])).want(t, 200, "original")
}

// The watermark of a URL is the one of the configuration: another picture under its name is
// another image, also in a cache that holds the old ones, and a file that is replaced while
// the tier runs changes nothing.
func TestTier_Watermark_IsPartOfCacheKey(t *testing.T) {
	_, origin := newCountingOrigin(t, "phone-srgb.jpg")
	logo := filepath.Join(t.TempDir(), "logo.png")
	flags := warmFlags(origin, "--cache-dir", t.TempDir(), "--watermark", "logo="+logo)
	path := signedPath(t, "/400x400-cover-wm.logo/v.1/posts/a.jpg.png")
	corner := func(x *tier, detail string) color.NRGBA {
		t.Helper()
		got := x.get(path)
		got.want(t, 200, detail)
		img, _, err := image.Decode(bytes.NewReader(got.body))
		if err != nil {
			t.Fatal(err)
		}
		return color.NRGBAModel.Convert(img.At(380, 380)).(color.NRGBA)
	}
	red, blue := color.NRGBA{250, 0, 0, 255}, color.NRGBA{0, 0, 250, 255}
	writePlain(t, logo, red)
	x := start(t, flags...)
	if got := corner(x, "origin"); !near(got, red) {
		t.Errorf("the corner is %v", got)
	}
	writePlain(t, logo, blue)
	if got := corner(x, "memory"); !near(got, red) {
		t.Errorf("from memory the corner is %v", got)
	}
	// A child that is started now has the old picture too.
	for _, pid := range children(t, x) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	body := x.get(signedPath(t, "/300x300-cover-wm.logo/v.1/posts/a.jpg.png")).body
	img, _, err := image.Decode(bytes.NewReader(body))
	if err != nil || !near(color.NRGBAModel.Convert(img.At(285, 285)).(color.NRGBA), red) {
		t.Errorf("another child has another watermark: %v", err)
	}
	got := x.get(signedPath(t, "/400x400-cover-wm.other/v.1/posts/a.jpg.png"))
	if got.StatusCode != http.StatusBadRequest || !bytes.Contains(got.body, []byte("watermark")) {
		t.Errorf("of no watermark: %s %s", got.Status, firstBytes(got.body))
	}
	x.stop()
	x = start(t, flags...)
	if got := corner(x, "origin"); !near(got, blue) {
		t.Errorf("after a restart with another picture the corner is %v", got)
	}
	x.stop()
	writePlain(t, logo, red)
	x = start(t, flags...)
	if got := corner(x, "disk"); !near(got, red) {
		t.Errorf("with the first picture again the corner is %v", got)
	}
}

func writePlain(t *testing.T, path string, c color.NRGBA) {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, 100, 100))
	draw.Draw(img, img.Bounds(), image.NewUniform(c), image.Point{}, draw.Src)
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func near(a, b color.NRGBA) bool {
	far := func(x, y uint8) bool { return math.Abs(float64(x)-float64(y)) > 6 }
	return !far(a.R, b.R) && !far(a.G, b.G) && !far(a.B, b.B)
}
