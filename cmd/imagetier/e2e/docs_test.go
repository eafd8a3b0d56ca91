package e2e

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	xdraw "golang.org/x/image/draw"

	"github.com/novasocial/imagetier/internal/httpapi/apitest"
	"github.com/novasocial/imagetier/resize"
)

// Every example of docs/urls is answered. UPDATE=1 writes the pictures of that page.
func TestDocs_Examples(t *testing.T) {
	const pictures = "../../../docs/urls/img"
	if os.Getenv("UPDATE") != "" {
		var b bytes.Buffer
		if err := jpeg.Encode(&b, seascape(1200, 800), &jpeg.Options{Quality: 85}); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(pictures, "original.jpg"), b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	logo := filepath.Join(t.TempDir(), "logo.png")
	writePNG(t, logo, badge(64))
	dir, err := filepath.Abs(pictures)
	if err != nil {
		t.Fatal(err)
	}
	x := start(t, "--keys", key, "--source", "docs=dir://"+dir, "--watermark", "logo="+logo, "--cache-dir", t.TempDir())
	for _, o := range resize.Options() {
		for _, name := range o.Examples {
			dot := strings.LastIndexByte(name, '.')
			shape, format := name[:dot], name[dot+1:]
			a := x.get(signedPath(t, "/"+shape+"/v.1/docs/original.jpg."+format))
			if a.StatusCode != 200 {
				t.Errorf("%s: %d %s", name, a.StatusCode, firstBytes(a.body))
				continue
			}
			file := filepath.Join(pictures, name)
			if _, err := os.Stat(file); err == nil && os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(file, a.body, 0o666); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// The answers of a real tier match docs/api/openapi.yaml.
func TestDocs_API(t *testing.T) {
	t.Parallel()
	dir, err := filepath.Abs("../../../docs/urls/img")
	if err != nil {
		t.Fatal(err)
	}
	x := start(t, "--keys", key, "--source", "docs=dir://"+dir, "--admin-token", token, "--cache-dir", t.TempDir())
	x.get(signedPath(t, "/320x/v.1/docs/original.jpg.webp")).want(t, 200, "origin")
	for _, call := range []struct{ method, path, body string }{
		{"GET", "/v1/stats", ""},
		{"GET", "/v1/explain?url=/i/_/320x/v.1/docs/original.jpg.webp", ""},
		{"POST", "/v1/info", `{"images":[{"source":"docs","name":"original.jpg"},{"source":"docs","name":"none.jpg"}]}`},
		{"POST", "/v1/warm", `{"profile":"feed","wait":true,"images":[{"source":"docs","name":"original.jpg","version":"v.1"}]}`},
		{"POST", "/v1/takedown", `{"source":"docs","name":"320x.webp"}`},
		{"GET", "/v1/takedown", ""},
		{"DELETE", "/v1/takedown", `{"source":"docs","name":"320x.webp"}`},
		{"POST", "/v1/purge", `{"source":"docs","name":"original.jpg"}`},
		{"GET", "/v1/warm/dead", ""},
		{"GET", "/v1/originals?source=docs&limit=3", ""},
		{"GET", "/v1/stats", ""}, // with changes and top originals
	} {
		sent := strings.NewReader(call.body)
		req, err := http.NewRequestWithContext(t.Context(), call.method, x.private+call.path, sent)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 {
			t.Errorf("%s %s: %d %v %s", call.method, call.path, resp.StatusCode, err, body)
		}
		req.URL.Host, req.URL.Scheme = "localhost", "http"
		apitest.Described(t, req, resp.StatusCode, resp.Header, body)
	}
}

func writePNG(t *testing.T, file string, picture image.Image) {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, picture); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
}

// badge draws a white ring on a dark, half transparent disc.
func badge(side int) image.Image {
	m := image.NewNRGBA(image.Rect(0, 0, side, side))
	for y := range side {
		for x := range side {
			switch r := math.Hypot(float64(2*x-side), float64(2*y-side)) / float64(side); {
			case r < 0.4 || r >= 0.7 && r < 0.98:
				m.Set(x, y, color.NRGBA{20, 30, 50, 150})
			case r < 0.7:
				m.Set(x, y, color.NRGBA{255, 255, 255, 230})
			}
		}
	}
	return m
}

// seascape draws a sky with a sun, hills, the sea, and a boat with red sails right of the centre.
func seascape(width, height int) image.Image {
	w, h := 2*width, 2*height // drawn twice as large, for smooth edges
	big := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			big.SetRGBA(x, y, seascapeAt(float64(x)/float64(w), float64(y)/float64(h)))
		}
	}
	small := image.NewRGBA(image.Rect(0, 0, width, height))
	xdraw.CatmullRom.Scale(small, small.Bounds(), big, big.Bounds(), draw.Src, nil)
	return small
}

// seascapeAt returns the colour at x and y, 0 to 1.
func seascapeAt(x, y float64) color.RGBA {
	mix := func(a, b color.RGBA, part float64) color.RGBA {
		at := func(a, b uint8) uint8 { return uint8(float64(a) + (float64(b)-float64(a))*min(max(part, 0), 1)) }
		return color.RGBA{at(a.R, b.R), at(a.G, b.G), at(a.B, b.B), 255}
	}
	const horizon = 0.62
	hullDepth := (y - 0.745) / 0.055
	hill := horizon - 0.10 - 0.07*math.Sin(7*x+0.6) - 0.02*math.Sin(23*x)
	near := horizon - 0.03 - 0.05*math.Sin(5*x+3.4)
	sun := math.Hypot((x-0.24)*1.5, y-0.24)
	switch {
	case hullDepth >= 0 && hullDepth <= 1 && math.Abs(x-0.74) < 0.10-0.03*hullDepth:
		return mix(color.RGBA{120, 66, 40, 255}, color.RGBA{70, 36, 24, 255}, hullDepth)
	case math.Abs(x-0.735) < 0.0035 && y > 0.33 && y < 0.75:
		return color.RGBA{60, 40, 30, 255}
	case sail(x, y, 0.742, 0.35, 0.72, 0.095):
		return mix(color.RGBA{226, 52, 44, 255}, color.RGBA{178, 24, 32, 255}, (x-0.742)/0.095)
	case sail(2*0.728-x, y, 0.728, 0.42, 0.72, 0.065):
		return color.RGBA{248, 240, 226, 255}
	case sun < 0.075:
		return color.RGBA{255, 244, 214, 255}
	}
	switch {
	case y < horizon && y > near:
		return mix(color.RGBA{58, 110, 78, 255}, color.RGBA{36, 82, 62, 255}, (y-near)*9)
	case y < horizon && y > hill:
		return mix(color.RGBA{112, 136, 166, 255}, color.RGBA{96, 124, 148, 255}, (y-hill)*6)
	case y < horizon:
		sky := mix(color.RGBA{72, 132, 206, 255}, color.RGBA{252, 206, 160, 255}, y/horizon)
		return mix(color.RGBA{255, 236, 190, 255}, sky, sun*2.2)
	}
	depth := (y - horizon) / (1 - horizon)
	wave := math.Sin(60*(y-horizon)/(0.3+depth)+9*x+2*math.Sin(14*x)) * 0.10
	return mix(color.RGBA{120, 170, 190, 255}, color.RGBA{16, 62, 104, 255}, depth+wave)
}

// sail reports whether x and y are in a triangle with a vertical side at mast.
func sail(x, y, mast, top, bottom, width float64) bool {
	down, off := (y-top)/(bottom-top), (x-mast)/width
	return down >= 0 && down <= 1 && off >= 0 && off <= down
}
