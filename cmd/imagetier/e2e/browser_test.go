package e2e

import (
	"fmt"
	"html"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/novasocial/imagetier/internal/testutil/chromium"
)

// A page of another origin shows thumbnails. They decode with the right size and orientation, and
// scripts may read their pixels and their timing.
func TestTier_Browser_AppliesOrientation(t *testing.T) {
	dir := t.TempDir()
	copyPhoto(t, dir, "phone-orient6-p3.jpg")
	copyPhoto(t, dir, "photo.avif")
	ctx := chromium.Start(t)
	x := start(t, "--keys", key, "--source", "posts=dir://"+dir, "--cache-dir", t.TempDir())
	var page strings.Builder
	page.WriteString("<!doctype html><title>feed</title>")
	for _, v := range [][3]string{
		{"phone-orient6-p3.jpg", "320x", "jpg"}, {"phone-orient6-p3.jpg", "320x", "webp"},
		{"phone-orient6-p3.jpg", "320x", "avif"}, {"phone-orient6-p3.jpg", "320x", "png"},
		{"phone-orient6-p3.jpg", "200x200-cover", "webp"}, {"photo.avif", "320x", "jpg"},
	} {
		fmt.Fprintf(&page, "<img crossorigin src=%q>", html.EscapeString(x.public+sign(t, v[0], "v.1", v[1], v[2])))
	}
	site := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, page.String())
	}))
	if err := chromedp.Do(ctx, chromedp.Navigate(site)); err != nil {
		t.Fatal(err)
	}
	sizes, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](`(async () => {
		const images = [...document.images];
		await Promise.all(images.map(i => i.decode().catch(() => {})));
		return images.map(i => i.naturalWidth + "x" + i.naturalHeight);
	})()`, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	painted, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`(() => {
		const c = document.createElement("canvas");
		c.width = c.height = 16;
		const g = c.getContext("2d");
		g.drawImage(document.images[0], 0, 0, 16, 16);
		const d = g.getImageData(0, 0, 16, 16).data;
		return d.some((v, i) => i > 3 && v !== d[i % 4]);
	})()`))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"320x427", "320x427", "320x427", "320x427", "200x200", "320x213"}
	if strings.Join(sizes, " ") != strings.Join(want, " ") {
		t.Errorf("the browser sees %v, want %v", sizes, want)
	}
	if !painted {
		t.Error("the picture is one colour")
	}
}
