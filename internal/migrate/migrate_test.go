package migrate

import (
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/resize"
)

// The URLs are examples of the services' documentation, some with other options.
func TestParse(t *testing.T) {
	for _, c := range []struct{ from, url, name, spec string }{
		{"imgproxy", "/sig/rs:fill:300:400:0/g:sm/plain/http://example.com/images/curiosity.jpg@png",
			"http://example.com/images/curiosity.jpg", "300x400-cover-smart.png"},
		{"imgproxy", "http://img.example/sig/rs:fit:300:200/plain/s3://bucket/a%20b.jpg", "s3://bucket/a b.jpg", "300x200.webp"},
		{"imgproxy", "/sig/resize:fill:300:400:0/gravity:sm/aHR0cDovL2V4YW1w/bGUuY29tL2ltYWdl/cy9jdXJpb3NpdHku/anBn.png",
			"http://example.com/images/curiosity.jpg", "300x400-cover-smart.png"},
		{"imgproxy", "/sig/w:300/plain/local:///a.jpg", "local:///a.jpg", "300x.webp"},
		{"imgproxy", "/sig/h:200/dpr:2/plain/a.jpg", "a.jpg", "x400.webp"},
		{"imgproxy", "/sig/rs:fill:300/plain/a.jpg", "a.jpg", "300x.webp"},
		{"imgproxy", "/sig/rs:force:300:200/el:1/plain/a.jpg", "a.jpg", "300x200-exact-up.webp"},
		{
			"imgproxy", "/sig/s:300:200:1:1/bg:1a2b3c/q:70/f:jpeg/plain/a.jpg",
			"a.jpg", "300x200-pad-up-bg1a2b3c-q70.jpg",
		},
		{"imgproxy", "/sig/s:300:200/ex:1/bg:255:0:128/plain/a.jpg@webp", "a.jpg", "300x200-pad-bgff0080.webp"},
		{"imgproxy", "/sig/rs:fill:300:200/g:fp:0.3:0.7/plain/a.jpg@avif", "a.jpg", "300x200-cover-at30x70.avif"},
		{"imgproxy", "/sig/rs:fill:9:9/g:no/plain/a.jpg", "a.jpg", "9x9-cover-top.webp"},
		{"imgproxy", "/sig/rs:fill:9:9/g:soea/plain/a.jpg", "a.jpg", "9x9-cover-at100x100.webp"},
		{"imgproxy", "/sig/rs:fill:9:9/g:obj:face/plain/a.jpg", "a.jpg", "9x9-cover-face.webp"},
		{"imgproxy", "/sig/s:300/c:0.5:0.8/t:10/rot:90/fl:1:0/bl:4.6/sh:0.5/plain/a.jpg", "a.jpg",
			"300x-crop250x100x500x800-trim-rot90-flop-blur5-sharp.webp"},
		{"imgproxy", "/sig/s:300/q:75/kcr:1/sm:1/plain/a.jpg", "a.jpg", "300x-credit.webp"},
		{"imgproxy", "/sig/raw:1/plain/a.jpg", "a.jpg", "orig"},
		{"thumbor", "/unsafe/300x200/example.com/a.jpg", "example.com/a.jpg", "300x200-cover-up.webp"},
		{"thumbor", "/sig/300x200/smart/filters:no_upscale()/http%3A%2F%2Fexample.com%2Fa%20b.jpg",
			"http://example.com/a b.jpg", "300x200-cover-smart.webp"},
		{"thumbor", "/unsafe/fit-in/300x200/filters:fill(1a2b3c):quality(70):format(jpeg)/a.jpg", "a.jpg",
			"300x200-pad-bg1a2b3c-q70.jpg"},
		{"thumbor", "/unsafe/fit-in/300x0/2026/11/a.jpg", "2026/11/a.jpg", "300x.webp"},
		{"thumbor", "/unsafe/trim/-300x-200/left/top/filters:rotate(90):grayscale():no_upscale()/a.jpg", "a.jpg",
			"300x200-cover-at0x0-trim-rot90-gray.webp"},
		{"thumbor", "/unsafe/300x200/right/middle/filters:no_upscale():blur(7,3)/a.jpg", "a.jpg",
			"300x200-cover-right-blur3.webp"},
		{"imagor", "/unsafe/0.1x0.2:0.6x0.9/fit-in/300x200/a.jpg", "a.jpg", "300x200-crop100x200x500x700.webp"},
		{"imagor", "/unsafe/stretch/300x200/filters:no_upscale()/a.jpg", "a.jpg", "300x200-exact.webp"},
		{"imagor", "/unsafe/300x200/filters:focal(0.3x0.7):no_upscale()/a.jpg", "a.jpg", "300x200-cover-at30x70.webp"},
	} {
		img, err := Parse(c.from, c.url)
		if err != nil {
			t.Errorf("%s %s: %v", c.from, c.url, err)
			continue
		}
		spec, err := img.Canonical(resize.WebP)
		if err != nil || spec.Name() != c.spec || img.Name != c.name {
			t.Errorf("%s %s: %s of %q (%v), want %s of %q", c.from, c.url, spec.Name(), img.Name, err, c.spec, c.name)
		}
		if err := spec.Check(); err != nil {
			t.Errorf("%s: %v", c.url, err)
		}
	}
}

func TestParse_VersionAndExpiry(t *testing.T) {
	img, err := Parse("imgproxy", "/sig/s:9/cb:42/exp:1798761600/plain/a.jpg")
	if err != nil || img.Version != "42" || !img.Expires.Equal(time.Unix(1798761600, 0)) {
		t.Errorf("%+v %v", img, err)
	}
}

func TestParse_Errors(t *testing.T) {
	for _, c := range []struct{ from, url, says string }{
		{"imgproxy", "/sig/rs:auto:9:9/pr:sharp/plain/a.jpg", "no equivalent: rs:auto:9:9, pr:sharp"},
		{"imgproxy", "/sig/s:9/c:100:100/plain/a.jpg", "no equivalent: c:100:100"},
		{"imgproxy", "/sig/s:9/plain/a.jpg@pdf", "no equivalent: @pdf"},
		{"imgproxy", "/sig/s:9/enc/abc", "encrypted"},
		{"imgproxy", "/sig/s:9", "has no image"},
		{"imgproxy", "/sig", "want /signature"},
		{"imgproxy", "/sig/s:9/%%%", "neither plain"},
		{"imgproxy", "/sig/rs:/plain/a.jpg", "no size"},
		{"thumbor", "/unsafe/10x20:300x200/300x200/a.jpg", "a crop in pixels"},
		{"thumbor", "/unsafe/300x200/filters:equalize():watermark(a,0,0,0)/a.jpg", "equalize(), watermark(a,0,0,0)"},
		{"thumbor", "/unsafe/a.jpg", "no size"},
		{"thumbor", "/unsafe", "want /signature"},
		{"nginx", "/a", "no such service"},
	} {
		img, err := Parse(c.from, c.url)
		if err == nil {
			_, err = img.Canonical(resize.WebP)
		}
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %s: %v, want %s", c.from, c.url, err, c.says)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(uint8(0), "/sig/rs:fill:300:400:0/g:sm/c:0.5:0.8/bg:1:2:3/plain/a.jpg@png")
	f.Add(uint8(1), "/unsafe/0.1x0.2:0.6x0.9/fit-in/-300x200/left/filters:fill(1a2b3c):blur(7,3)/a.jpg")
	f.Fuzz(func(t *testing.T, from uint8, text string) {
		img, err := Parse(From[int(from)%len(From)], text)
		if err != nil {
			return
		}
		if spec, err := img.Canonical(resize.WebP); err == nil && spec.Check() != nil {
			t.Errorf("%s: %v", text, spec.Check())
		}
	})
}
