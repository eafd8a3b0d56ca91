package imageurl

import (
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/resize"
)

func spec(t testing.TB, name string) resize.Spec {
	t.Helper()
	s, err := resize.ParseSpecName(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func version(t testing.TB, text string) Version {
	t.Helper()
	v, err := ParseVersion(text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func ref(t testing.TB, source, name, v, specName string) Ref {
	t.Helper()
	r, err := NewRef(source, name, version(t, v), spec(t, specName))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func TestRef_String(t *testing.T) {
	long := strings.Repeat("n", MaxName)
	for _, c := range []struct{ source, name, version, spec, path string }{
		{"posts", "2026/11/abc.jpg", "e.9f86d081884c7d65", "640x640-cover-q70.webp",
			"/640x640-cover-q70/e.9f86d081884c7d65/posts/2026/11/abc.jpg.webp"},
		{"posts", "2026/11/abc.jpg", "v.1", "orig", "/orig/v.1/posts/2026/11/abc.jpg"},
		{"posts", "2026/11/abc.jpg", "s.3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY",
			"info.json", "/info/s.3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY/posts/2026/11/abc.jpg.json"},
		{"a", "n", "live", "640x.auto", "/640x/live/a/n.auto"},
		{"a-0123456789012345678901234567-b", "n", "live", "640x.jpg",
			"/640x/live/a-0123456789012345678901234567-b/n.jpg"},
		{"a", long, "live", "640x.jpg", "/640x/live/a/" + long + ".jpg"},
		{"a", ".hidden/..b/c...d", "live", "640x.jpg", "/640x/live/a/.hidden/..b/c...d.jpg"},
		{"a", "a~b", "live", "640x.jpg", "/640x/live/a/a~b.jpg"},
		{"a", "a/~b", "live", "640x.jpg", "/640x/live/a/a/~b.jpg"},
		{"a", "~b", "live", "640x.jpg", "/640x/live/a/~" + b64("~b") + ".jpg"},
		{"a", "~", "live", "orig", "/orig/live/a/~" + b64("~")},
		{"a", "a b", "live", "640x.jpg", "/640x/live/a/~" + b64("a b") + ".jpg"},
		{"a", "a/b.jpg?x=1", "live", "640x.jpg", "/640x/live/a/~" + b64("a/b.jpg?x=1") + ".jpg"},
		{"a", "a/../b", "live", "640x.jpg", "/640x/live/a/~" + b64("a/../b") + ".jpg"},
		{"a", "a//b", "live", "640x.jpg", "/640x/live/a/~" + b64("a//b") + ".jpg"},
		{"a", "/a", "live", "640x.jpg", "/640x/live/a/~" + b64("/a") + ".jpg"},
		{"a", "a/", "live", "640x.jpg", "/640x/live/a/~" + b64("a/") + ".jpg"},
		{"a", ".", "live", "640x.jpg", "/640x/live/a/~" + b64(".") + ".jpg"},
		{"a", "a/..", "live", "orig", "/orig/live/a/~" + b64("a/..")},
		{"a", "/", "live", "orig", "/orig/live/a/~" + b64("/")},
		{"a", "é", "live", "640x.jpg", "/640x/live/a/~" + b64("é") + ".jpg"},
		{"a", "\x00\xff", "live", "640x.jpg", "/640x/live/a/~" + b64("\x00\xff") + ".jpg"},
		{"a", "a%20b", "live", "640x.jpg", "/640x/live/a/~" + b64("a%20b") + ".jpg"},
		{"a", "n", "v.~" + b64("a/b"), "640x.jpg", "/640x/v.~" + b64("a/b") + "/a/n.jpg"},
		{"a", "n", "v.~" + b64("~1"), "640x.jpg", "/640x/v.~" + b64("~1") + "/a/n.jpg"},
		{"a", "n", "e.~" + b64("abc=="), "640x.jpg", "/640x/e.~" + b64("abc==") + "/a/n.jpg"},
		{"a", "n", "v.1~.-_", "640x.jpg", "/640x/v.1~.-_/a/n.jpg"},
		{"a", "n", "v..", "640x.jpg", "/640x/v../a/n.jpg"},
	} {
		r := ref(t, c.source, c.name, c.version, c.spec)
		if r.String() != c.path {
			t.Errorf("%s: path %s", c.path, r)
		}
		back, err := ParseRef(c.path)
		if err != nil {
			t.Errorf("%s: %v", c.path, err)
		} else if back != r {
			t.Errorf("%s: parsed as %+v, want %+v", c.path, back, r)
		}
		if r.Source() != c.source || r.Name() != c.name || r.Version() != version(t, c.version) ||
			r.Spec() != spec(t, c.spec) {
			t.Errorf("%s: parts %q %q %v %s", c.path, r.Source(), r.Name(), r.Version(), r.Spec().Name())
		}
	}
}

func TestNewRef_BadParts(t *testing.T) {
	ok := struct {
		source, name string
		v            Version
		spec         resize.Spec
	}{"posts", "a", Version{}, spec(t, "640x.jpg")}
	for _, c := range []struct {
		says  string
		spoil func()
	}{
		{"source", func() { ok.source = "" }},
		{"source", func() { ok.source = "Posts" }},
		{"source", func() { ok.source = "1posts" }},
		{"source", func() { ok.source = "-posts" }},
		{"source", func() { ok.source = "po_sts" }},
		{"source", func() { ok.source = "p/q" }},
		{"source", func() { ok.source = strings.Repeat("p", 33) }},
		{"name", func() { ok.name = "" }},
		{"1025 bytes", func() { ok.name = strings.Repeat("n", MaxName+1) }},
		{"cover needs both sides", func() { ok.spec.Fit = resize.FitCover }},
		{"invalid shape", func() { ok.spec = resize.Spec{} }},
		{"default of jpg", func() { ok.spec.Quality = 80 }},
	} {
		saved := ok
		c.spoil()
		r, err := NewRef(ok.source, ok.name, ok.v, ok.spec)
		if !errors.Is(err, ErrSyntax) || r != (Ref{}) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, %v; want an error with %q", ok, r, err, c.says)
		}
		ok = saved
	}
}

func TestVersion_Bad(t *testing.T) {
	for _, c := range []struct {
		pin   Pin
		token string
	}{
		{Trusted, ""}, {ETag, ""}, {VersionID, ""}, {VersionID, "null"}, {Live, "x"}, {VersionID + 1, "x"},
		{Trusted, strings.Repeat("t", MaxToken+1)},
	} {
		if v, err := NewVersion(c.pin, c.token); !errors.Is(err, ErrSyntax) || v != (Version{}) {
			t.Errorf("NewVersion(%d, %q) is %v, %v", c.pin, c.token, v, err)
		}
	}
	for _, c := range []struct{ text, says string }{
		{"", "want live"}, {"Live", "want live"}, {"live.1", "want live"},
		{"v", "want live"}, {"x.1", "want live"}, {"V.1", "want live"},
		{"v.", "0 bytes"}, {"e.", "0 bytes"}, {"s.null", "cannot be pinned"}, {"s.~" + b64("null"), `spelled "s.null"`},
		{"v.a b", `spelled "v.~` + b64("a b") + `"`}, {"v.a/b", `spelled "v.~` + b64("a/b") + `"`},
		{"v.~" + b64("a"), `spelled "v.a"`}, {"v.~", "0 bytes"}, {"v.~~", "base64url"}, {"v.~Y", "base64url"},
		{"v.~IA==", "base64url"}, {"v.~IB", "base64url"}, {"v.~I\nA", "base64url"}, {"v.~+/+/", "base64url"},
		{"v." + strings.Repeat("t", MaxToken+1), "201 bytes"},
		{"v.~" + b64(strings.Repeat(" ", MaxToken+1)), "more than 200"},
	} {
		v, err := ParseVersion(c.text)
		if !errors.Is(err, ErrSyntax) || v != (Version{}) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("ParseVersion(%q) is %v, %v; want an error with %q", c.text, v, err, c.says)
		}
	}
}

func TestVersion_RoundTrip(t *testing.T) {
	for _, pin := range []Pin{Trusted, ETag, VersionID} {
		for _, token := range []string{
			"1", "~", " ", "\x00", `"`, "a/b", "null ",
			strings.Repeat("t", MaxToken), strings.Repeat("\xff", MaxToken),
		} {
			v, err := NewVersion(pin, token)
			if err != nil {
				t.Fatal(err)
			}
			if v.Pin() != pin || v.Token() != token {
				t.Errorf("%q: pin %d, token %q", token, v.Pin(), v.Token())
			}
			if back, err := ParseVersion(v.String()); err != nil || back != v {
				t.Errorf("%q is written as %s and parsed as %v, %v", token, v, back, err)
			}
		}
	}
	if v, err := NewVersion(Live, ""); err != nil || v != (Version{}) || v.String() != "live" {
		t.Errorf("live is %v, %v", v, err)
	}
}

func TestParseRef_OtherSpellings(t *testing.T) {
	for _, c := range []struct{ path, says string }{
		{"", "begin with /"},
		{"640x/v.1/posts/a.jpg", "begin with /"},
		{"/", "too few parts"},
		{"/640x/v.1/posts", "too few parts"},
		{"//640x/v.1/posts/a.jpg", "no size"},
		{"/640x//v.1/posts/a.jpg", "want live"},
		{"/640x/v.1//posts/a.jpg", "source"},
		{"/640x/v.1/posts//a.jpg", "must be encoded"},
		{"/640x/v.1/posts/a.jpg/", "no .format"},
		{"/640x/v.1/posts/a.b/c", "no .format"},
		{"/640x/v.1/posts/a", "no .format"},
		{"/640x/v.1/posts/.jpg", "0 bytes"},
		{"/640x/v.1/posts/a.", "has no format"},
		{"/640x/v.1/posts/a.bmp", "one of jpg"},
		{"/640x/v.1/posts/a.JPG", `spelled "jpg"`},
		{"/640x-up-trim-cover/v.1/posts/a.jpg", "cover needs both sides"},
		{"/640x640-up-cover/v.1/posts/a.jpg", `spelled "640x640-cover-up"`},
		{"/orig/v.1/posts/", "0 bytes"},
		{"/orig/v.1/posts/a//b", "must be encoded"},
		{"/orig/v.1/posts/../b", "must be encoded"},
		{"/orig/v.1/posts/a/.", "must be encoded"},
		{"/640x/v.1/posts/a%20b.jpg", "base64url of the whole name"},
		{"/640x/v.1/posts/a b.jpg", "base64url of the whole name"},
		{"/640x/v.1/posts/a?b.jpg", "base64url of the whole name"},
		{"/640x/v.1/posts/~" + b64("a") + ".jpg", `spelled "a"`},
		{"/640x/v.1/posts/~.jpg", "0 bytes"},
		{"/640x/v.1/posts/~" + b64("a b") + "=.jpg", "want base64url"},
		{"/640x/v.1/posts/~" + b64("a b") + "\n.jpg", "want base64url"},
		{"/640x/v.1/posts/~IB.jpg", "want base64url"},
		{"/640x/v.1/posts/~IA/b.jpg", "want base64url"},
		{"/640x/v.1/posts/" + strings.Repeat("n", MaxName+1) + ".jpg", "1025 bytes"},
		{"/640x/v.1/posts/~" + b64(strings.Repeat(" ", MaxName+1)) + ".jpg", "more than 1024"},
		{"/640x/v.1/Posts/a.jpg", "source"},
		{"/info/v.1/posts/a.jpg", "json"},
		{"/info/v.1/posts/a", "no .format"},
	} {
		r, err := ParseRef(c.path)
		if !errors.Is(err, ErrSyntax) || r != (Ref{}) {
			t.Errorf("%q was parsed as %+v, %v", c.path, r, err)
		} else if !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: error %q, want %q in it", c.path, err, c.says)
		} else if len(err.Error()) > 400 {
			t.Errorf("%q: the error has %d bytes", c.path, len(err.Error()))
		}
	}
}

func TestParseRef_FormatAfterLastDot(t *testing.T) {
	for path, name := range map[string]string{
		"/640x/live/posts/a.jpg.webp":     "a.jpg",
		"/640x/live/posts/a.webp.webp":    "a.webp",
		"/640x/live/posts/v1.2/a.webp":    "v1.2/a",
		"/640x/live/posts/a..webp":        "a.",
		"/orig/live/posts/a.jpg.webp":     "a.jpg.webp",
		"/info/live/posts/a.json.json":    "a.json",
		"/640x/live/posts/live/v.1.webp":  "live/v.1",
		"/640x/live/posts/orig/a.b.c.jpg": "orig/a.b.c",
	} {
		if r, err := ParseRef(path); err != nil || r.Name() != name {
			t.Errorf("%s: name %q, %v, want %q", path, r.Name(), err, name)
		}
	}
}

func TestRef_Resolve(t *testing.T) {
	auto := ref(t, "posts", "a b", "v.1", "640x640-cover-bg000000-q75.auto")
	for f, want := range map[resize.Format]string{
		resize.WebP: "640x640-cover.webp",
		resize.AVIF: "640x640-cover-q75.avif",
		resize.JPEG: "640x640-cover-bg000000-q75.jpg",
	} {
		if got, want := auto.Resolve(f), ref(t, "posts", "a b", "v.1", want); got != want {
			t.Errorf("%v: %s, want %s", f, got, want)
		}
	}
	webp := ref(t, "posts", "a", "v.1", "640x.webp")
	if webp.Resolve(resize.JPEG) != webp {
		t.Errorf("webp resolved to %s", webp.Resolve(resize.JPEG))
	}
	if other, err := auto.WithSpec(spec(t, "orig")); err != nil || other != ref(t, "posts", "a b", "v.1", "orig") {
		t.Errorf("WithSpec: %v, %v", other, err)
	}
}

func TestParseRef_RandomRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	letters := []string{
		"a",
		"B",
		"0",
		"-",
		".",
		"..",
		"_",
		"~",
		"/",
		"//",
		"/../",
		" ",
		"%2f",
		"\x00",
		"\xff",
		"é",
		"?",
		"orig",
		".jpg",
		"IA",
	}
	text := func(most int) (s string) {
		for range 1 + r.IntN(5) {
			s += pick(letters...)
		}
		return s[:min(len(s), most)]
	}
	dev, err := NewDevSigner()
	if err != nil {
		t.Fatal(err)
	}
	s := signer(t, key("k1"))
	seen := map[string]Ref{}
	for range 50_000 {
		v, err := NewVersion(Pin(r.IntN(4)), text(MaxToken))
		if err != nil {
			v = Version{}
		}
		want, err := NewRef(
			pick("a", "posts", "a-b"),
			text(MaxName),
			v,
			spec(t, pick("orig", "info.json", "640x.jpg", "640x.auto", "x1-still.gif")),
		)
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[want.String()]; ok && other != want {
			t.Fatalf("%+v and %+v are both %s", other, want, want)
		}
		seen[want.String()] = want
		if got, err := s.Parse(s.Path(want)); err != nil || got != want {
			t.Fatalf("%q: %+v, %v", want, got, err)
		}
		if got, err := dev.Parse(dev.Path(want)); err != nil || got != want {
			t.Fatalf("%q: %+v, %v", want, got, err)
		}
	}
	if len(seen) < 10_000 {
		t.Errorf("only %d different Refs were made", len(seen))
	}
}

func TestParseImage_Errors(t *testing.T) {
	for _, c := range []struct{ source, name, version, spec, says string }{
		{"Posts", "a.jpg", "v.1", "880x.webp", "source"},
		{"posts", "", "v.1", "880x.webp", "the name has 0 bytes"},
		{"posts", "a.jpg", "1", "880x.webp", "want live, v.TOKEN"},
		{"posts", "a.jpg", "v.1", "880x", "has no format"},
		{"posts", "a.jpg", "v.1", "880x-q75.webp", `"880x"`},
		{"posts", "a.jpg", "1", "880x", "has no format"},
	} {
		_, err := ParseImage(c.source, c.name, c.version, c.spec)
		if !errors.Is(err, ErrSyntax) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v", c, err)
		}
	}
}
