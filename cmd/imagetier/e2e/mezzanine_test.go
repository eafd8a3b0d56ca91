package e2e

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	_ "image/jpeg"
	"image/png"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// One fetch serves all later sizes, and the second request makes the mezzanine.
func TestTier_Mezzanine_LaterSizesNeedNoFetch(t *testing.T) {
	t.Parallel()
	o, origin := newCountingOrigin(t, "phone-android.jpg")
	flags := warmFlags(origin, "--cache-dir", t.TempDir())
	x := start(t, flags...)
	x.get(signedPath(t, "/880x/v.1/posts/a.jpg.webp")).want(t, 200, "origin")
	for _, path := range []string{
		"/440x/v.1/posts/a.jpg.jpg", "/200x200-cover/v.1/posts/a.jpg.webp",
		"/1080x/v.1/posts/a.jpg.jpg", "/info/v.1/posts/a.jpg.json",
	} {
		if got := x.get(signedPath(t, path)); got.StatusCode != 200 {
			t.Errorf("%s: %s", path, got.Status)
		}
	}
	for event, want := range map[string]string{"unlikely": "1", "made": "1", "used": "3"} {
		eventually(t, 20*time.Second, "mezzanines "+event+": "+want, func() bool { // counted when the job has ended
			return metric(t, x, `imagetier_mezzanines_total{event="`+event+`"}`) == want
		})
	}
	x.stop()
	x = start(t, flags...)
	x.get(signedPath(t, "/640x/v.1/posts/a.jpg.webp")).want(t, 200, "original")
	// A size that needs more pixels than the mezzanine has is made from the original, which the
	// first request stored.
	x.get(signedPath(t, "/2000x/v.1/posts/a.jpg.webp")).want(t, 200, "original")
	if n := o.gets.Load(); n != 1 {
		t.Errorf("the origin was asked %d times", n)
	}
}

// Two nodes may have different bytes of one URL. A client that has the first part from one of them never gets
// the rest from the other: the entity tag is that of the bytes.
func TestTier_Range_TwoNodesWithDifferentBytes(t *testing.T) {
	_, origin := newCountingOrigin(t, "phone-orient6-p3.jpg")
	path := signedPath(t, "/320x/v.1/posts/a.jpg.jpg")
	direct := start(t, warmFlags(origin, "--cache-dir", t.TempDir())...)
	first := direct.get(path)
	fromMezzanine := start(t, warmFlags(origin, "--cache-dir", t.TempDir())...)
	for _, other := range []string{"/880x/v.1/posts/a.jpg.webp", "/2000x/v.1/posts/a.jpg.jpg"} {
		fromMezzanine.get(signedPath(t, other))
	}
	second := fromMezzanine.get(path)
	a, b := first.Header.Get("ETag"), second.Header.Get("ETag")
	if first.StatusCode != 200 || second.StatusCode != 200 || a == b || bytes.Equal(first.body, second.body) {
		t.Fatalf("%s %s and %s %s, want different bytes", first.Status, a, second.Status, b)
	}
	for _, c := range []struct {
		node          *tier
		ifRange       string
		status        int
		body          []byte
		etag, comment string
	}{
		{direct, a, 206, first.body[100:], a, "the rest of the same bytes"},
		{fromMezzanine, b, 206, second.body[100:], b, "the rest of the same bytes"},
		{fromMezzanine, a, 200, second.body, b, "all of the other bytes"},
		{direct, b, 200, first.body, a, "all of the other bytes"},
	} {
		got := getWith(t, c.node, path, http.Header{"Range": {"bytes=100-"}, "If-Range": {c.ifRange}})
		if got.StatusCode != c.status || !bytes.Equal(got.body, c.body) || got.Header.Get("ETag") != c.etag {
			t.Errorf("If-Range %s: %s, %d bytes, %s; want %s",
				c.ifRange, got.Status, len(got.body), got.Header.Get("ETag"), c.comment)
		}
	}
	if got := getWith(t, fromMezzanine, path, http.Header{"If-None-Match": {a}}); got.StatusCode != 200 {
		t.Errorf("If-None-Match with the other node's tag: %s", got.Status)
	}
	if got := getWith(t, fromMezzanine, path, http.Header{"If-None-Match": {b}}); got.StatusCode != 304 {
		t.Errorf("If-None-Match with its own tag: %s", got.Status)
	}
}

func getWith(t *testing.T, x *tier, path string, header http.Header) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, x.public+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp, body}
}

// The watermark of a URL is the configured one: another picture under its name makes another image,
// even in a cache with the old ones. A file that is replaced while the tier runs has no effect.
func TestTier_Watermark_IsPartOfCacheKey(t *testing.T) {
	t.Parallel()
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
	// A child that is started now also has the old picture.
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
		t.Errorf("an unknown watermark: got %s %s", got.Status, firstBytes(got.body))
	}
	x.stop()
	x = start(t, flags...)
	if got := corner(x, "original"); !near(got, blue) {
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
