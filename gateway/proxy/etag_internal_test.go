package proxy

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/gateway/imagelink"
	"github.com/novasocial/imagetier/prefetch/profile"
)

// The tag that a client receives and returns maps back to the service's tag, for any tag.
func FuzzProxy_DerivedTag_RoundTrips(f *testing.F) {
	for _, tag := range []string{`"v1"`, `W/"v1"`, `""`, `"a,b"`, `"x~its1saltsalt"`, `W/"~itw9"`, `v1`, `"`} {
		f.Add(tag, `"other"`, uint8(4))
	}
	f.Fuzz(func(t *testing.T, tag, other string, class uint8) {
		p := &Proxy{cfg: Config{Linker: new(imagelink.Linker)}}
		p.SetSalt("salt")
		c := imagelink.Client{Format: imagelink.Format(class % 3), Scale: int(class/3)%3 + 1}
		x := &exchange{client: c}
		derived := p.derivedTag(tag, x)
		if derived == "" { // tag is not a valid entity tag
			return
		}
		if original, ours, ok := p.originalTag(derived, x); original != tag || !ours || !ok {
			t.Fatalf("%s became %s and then %s, %v %v", tag, derived, original, ours, ok)
		}
		for strength := range 2 {
			another := imagelink.Client{Format: (c.Format + 1) % 3, Scale: c.Scale}
			if strength == 1 {
				another = imagelink.Client{Format: c.Format, Scale: c.Scale%3 + 1}
			}
			if original, _, ok := p.originalTag(derived, &exchange{client: another}); ok {
				t.Fatalf("for another class %s is %s", derived, original)
			}
		}
		if strings.Count(other, `"`)%2 != 0 || strings.Contains(other, tagMark) {
			return
		}
		h := http.Header{"If-None-Match": {other + "," + derived}}
		p.originalTags(h, x)
		if got := h.Get("If-None-Match"); !strings.HasSuffix(got, tag) {
			t.Fatalf("%s, %s became %s", other, derived, got)
		}
	})
}

// With entity tags of originals in its URLs, an answer has a new ETag after tagsFor.
func TestProxy_Suffix_ChangesWithTags(t *testing.T) {
	for text, changes := range map[string]bool{"https://a/=posts?version=etag": true, "https://a/=posts": false} {
		synctest.Test(t, func(t *testing.T) {
			prefix, err := profile.ParsePrefix(text)
			if err != nil {
				t.Fatal(err)
			}
			links, err := profile.NewLinks(prefix)
			if err != nil {
				t.Fatal(err)
			}
			linker, err := imagelink.New(imagelink.Config{
				Base: "https://x", Links: links, Dev: true,
				Tag: func(profile.Image) (string, bool) { return "", false },
			})
			if err != nil {
				t.Fatal(err)
			}
			p := &Proxy{cfg: Config{Linker: linker}}
			p.SetSalt("salt")
			before := p.suffix('s', new(exchange))
			time.Sleep(time.Millisecond)
			if p.suffix('s', new(exchange)) != before {
				t.Error("it changes at once")
			}
			time.Sleep(tagsFor)
			if changed := p.suffix('s', new(exchange)) != before; changed != changes {
				t.Errorf("%s: changed %v after %v", text, changed, tagsFor)
			}
		})
	}
}

func FuzzNarrowEncodings_KeepsOnlyDecodableCodings(f *testing.F) {
	f.Add("gzip, deflate;q=0.5, *")
	f.Fuzz(func(t *testing.T, acceptEncoding string) {
		h := http.Header{"Accept-Encoding": {acceptEncoding}}
		narrowEncodings(h)
		for item := range strings.SplitSeq(h.Get("Accept-Encoding"), ",") {
			name, _, _ := strings.Cut(item, ";")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "gzip", "x-gzip", "br", "zstd", "identity":
			default:
				t.Fatalf("%q became %q", acceptEncoding, h.Get("Accept-Encoding"))
			}
		}
	})
}
