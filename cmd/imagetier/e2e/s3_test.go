package e2e

import (
	"bytes"
	"image/jpeg"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/origin/origintest/s3server"
)

// Real photos in a real S3 server are made, cached, and still served when the server is gone.
func TestTier_S3_CachedImagesOutliveOutage(t *testing.T) {
	t.Parallel()
	dir := photos(t)
	s3 := s3server.Start(t)
	s3.Bucket(t, "photos", false)
	names := []string{
		"phone-srgb.jpg",
		"phone-orient6-p3.jpg",
		"progressive-p3.jpg",
		"paper-alpha.png",
		"vertical.webp",
		"photo.avif",
		"animation-small.gif",
	}
	etags := map[string]string{}
	for _, name := range names {
		body, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		etags[name] = strings.Trim(s3.Put(t, "photos", "2026/"+name, body).ETag, `"`)
	}
	cache := t.TempDir()
	env := []string{"AWS_ACCESS_KEY_ID=" + s3.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s3.SecretKey}
	flags := []string{"--keys", key, "--cache-dir", cache,
		"--source", "posts=s3://photos/2026?region=" + s3.Region + "&endpoint=" + s3.Endpoint + "&path-style=true"}
	x := startWith(t, env, flags...)

	paths := map[string]string{}
	bodies := map[string][]byte{}
	for _, name := range names {
		paths[name] = sign(t, name, "e."+etags[name], "640x640", "jpg")
		got := x.get(paths[name])
		got.want(t, 200, "origin")
		picture, err := jpeg.Decode(bytes.NewReader(got.body))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if size := picture.Bounds().Size(); max(size.X, size.Y) != 640 && name != "animation-small.gif" {
			t.Errorf("%s: %v", name, size)
		}
		bodies[name] = got.body
	}
	for _, name := range names {
		x.get(paths[name]).want(t, 200, "memory")
	}
	if got := x.get(sign(t, "phone-srgb.jpg", "e."+etags["photo.avif"], "640x640", "jpg")); got.StatusCode != 404 {
		t.Errorf("a URL of another ETag: %s, want 404", got.Status)
	}
	if got := x.get(sign(t, "none.jpg", "v.1", "640x640", "jpg")); got.StatusCode != 404 {
		t.Errorf("a name that is not there: %s, want 404", got.Status)
	}
	x.stop()
	s3.Stop()

	x = startWith(t, env, flags...)
	for _, name := range names {
		got := x.get(paths[name])
		got.want(t, 200, "disk")
		if !bytes.Equal(got.body, bodies[name]) {
			t.Errorf("%s: other bytes after the restart", name)
		}
	}
	if got := x.get(sign(t, "gone.jpg", "v.1", "640x640", "jpg")); got.StatusCode != 502 ||
		got.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("an uncached image while the origin is down: %s %s, want an uncacheable 502",
			got.Status, got.Header.Get("Cache-Control"))
	}
}
