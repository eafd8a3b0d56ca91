package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image/jpeg"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// facts are the answer of info, and the fields that POST /v1/info adds.
type facts struct {
	Width, Height, Bytes, Frames, Orientation int
	Format, ThumbHash, BlurHash, Color        string
	Animated                                  bool
	Version                                   string
	Error                                     *struct{ Status int }
}

var hexColor = regexp.MustCompile(`^#[0-9a-f]{6}$`)

// check fails the test unless f are the facts about the JPEG in that file.
func (f facts) check(t *testing.T, file string) {
	t.Helper()
	r, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	photo, err := jpeg.DecodeConfig(r)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := r.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if f.Orientation >= 5 {
		photo.Width, photo.Height = photo.Height, photo.Width
	}
	if f.Width != photo.Width || f.Height != photo.Height || int64(f.Bytes) != stat.Size() || f.Format != "jpg" ||
		f.Frames != 1 ||
		f.Animated ||
		f.Orientation < 1 ||
		f.Orientation > 8 {
		t.Errorf("%+v of a JPEG of %dx%d and %d bytes", f, photo.Width, photo.Height, stat.Size())
	}
	if hash, err := base64.StdEncoding.DecodeString(f.ThumbHash); err != nil || len(hash) < 5 || len(hash) > 40 ||
		len(f.BlurHash) < 20 ||
		!hexColor.MatchString(f.Color) {
		t.Errorf("thumbhash %q (%v), blurhash %q, color %q", f.ThumbHash, err, f.BlurHash, f.Color)
	}
}

// infos posts to /v1/info of a tier with the admin token.
func (x *tier) infos(t *testing.T, images ...string) []facts {
	t.Helper()
	req, err := http.NewRequestWithContext(
		t.Context(),
		http.MethodPost,
		x.private+"/v1/info",
		strings.NewReader(`{"images":[`+strings.Join(images, ",")+`]}`),
	)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ Infos []facts }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s, %v", resp.Status, err)
	}
	return answer.Infos
}

func TestTier_Info_IsCachedLikeAVariant(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	copyPhoto(t, dir, "phone-srgb.jpg")
	file := filepath.Join(dir, "phone-srgb.jpg")
	x := start(t, "--keys", key, "--admin-token", token, "--source", "posts=dir://"+dir, "--cache-dir", t.TempDir())
	path := sign(t, "phone-srgb.jpg", "live", "info", "json")
	got := x.get(path)
	got.want(t, 200, "origin")
	var f facts
	if err := json.Unmarshal(got.body, &f); err != nil || got.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%v %s", err, got.body)
	}
	f.check(t, file)
	x.get(path).want(t, 200, "memory")

	// POST /v1/info returns the same facts, and the version that pins the original.
	one := x.infos(t, `{"source":"posts","name":"phone-srgb.jpg","version":"live"}`)[0]
	one.check(t, file)
	if !strings.HasPrefix(one.Version, "e.") {
		t.Errorf("version %q", one.Version)
	}
	x.get(sign(t, "phone-srgb.jpg", one.Version, "64x", "webp")).want(t, 200, "origin")
}

func TestTier_Info_HundredInOneRequest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	photo, err := os.ReadFile(filepath.Join(photos(t), "phone-srgb.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.jpg"), photo, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cut.jpg"), photo[:len(photo)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	x := start(t, "--keys", key, "--admin-token", token, "--source", "posts=dir://"+dir, "--cache-dir", t.TempDir())
	var images []string
	for i := range 100 {
		name, version := "a.jpg", i%7
		switch i {
		case 20:
			name = "missing.jpg"
		case 40:
			name = "cut.jpg"
		}
		images = append(images, fmt.Sprintf(`{"source":"posts","name":%q,"version":"v.%d"}`, name, version))
	}
	all := x.infos(t, images...)
	if len(all) != 100 {
		t.Fatalf("%d infos", len(all))
	}
	for i, f := range all {
		want := map[int]int{20: 404, 40: 422}[i]
		switch {
		case want != 0 && (f.Error == nil || f.Error.Status != want):
			t.Errorf("%d: %+v, want %d", i, f, want)
		case want == 0 && f.Error != nil:
			t.Errorf("%d: %d", i, f.Error.Status)
		case want == 0 && f != all[0]:
			t.Errorf("%d: %+v", i, f)
		}
	}
	all[0].check(t, filepath.Join(dir, "a.jpg"))
}
