package profile

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/resize"
)

func TestBuiltInProfiles(t *testing.T) {
	set := BuiltIn()
	if got := strings.Join(set.Names(), " "); got != "avatar feed grid" {
		t.Fatalf("built-in profiles: got %s", got)
	}
	for name, want := range map[string]string{
		"feed":   "440x.webp 880x.webp 1320x.webp 440x.jpg 880x.jpg 1320x.jpg",
		"avatar": "32x32-cover.webp 64x64-cover.webp 96x96-cover.webp 32x32-cover.jpg 64x64-cover.jpg 96x96-cover.jpg",
		"grid":   "146x146-cover.webp 292x292-cover.webp 438x438-cover.webp 146x146-cover.jpg 292x292-cover.jpg 438x438-cover.jpg",
	} {
		p, ok := set.Get(name)
		var got []string
		for _, spec := range p.Specs() {
			got = append(got, spec.Name())
		}
		if !ok || p.Name() != name || strings.Join(got, " ") != want {
			t.Errorf("%s is %v, want %s", name, got, want)
		}
	}
}

func TestProfile_At_LargeScaleUsesLastSpec(t *testing.T) {
	feed, _ := BuiltIn().Get("feed")
	for scale, want := range map[int]string{
		0: "440x.webp", 1: "440x.webp", 2: "880x.webp", 3: "1320x.webp", 4: "1320x.webp",
	} {
		if spec, ok := feed.At(scale, resize.WebP); !ok || spec.Name() != want {
			t.Errorf("@%dx is %s, want %s", scale, spec.Name(), want)
		}
	}
	if spec, ok := feed.At(1, resize.AVIF); ok {
		t.Errorf("got %s, of a format that is not listed", spec.Name())
	}
}

func TestSet_New_ReplacesAddsAndReportsAllErrors(t *testing.T) {
	set, err := New(
		map[string][]string{"feed": {"500x.avif"}, "story": {"1080x1920-cover-q70.jpg", "64x64-wm.logo.png"}},
	)
	if err != nil {
		t.Fatal(err)
	}
	feed, _ := set.Get("feed")
	if specs := feed.Specs(); len(specs) != 1 || specs[0].Name() != "500x.avif" {
		t.Errorf("feed is %v", specs)
	}
	story, _ := set.Get("story")
	if specs := story.Specs(); len(specs) != 2 || specs[1].Watermark != "logo" {
		t.Errorf("story is %v", specs)
	}
	_, err = New(map[string][]string{
		"Feed": {
			"440x.webp",
		}, "empty": {}, "twice": {"440x.webp", "440x.webp"}, "auto": {"440x.auto"}, "orig": {"orig"}, "no": {"x.webp"},
	})
	for _, fault := range []string{`"Feed"`, "empty: it lists 0", "twice[1]", "auto[0]", "orig[0]", "no[0]"} {
		if err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("the error does not tell of %s: %v", fault, err)
		}
	}
}

func TestSet_Load_ErrorsNameTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "profiles")
	load := func(text string) (*Set, error) {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return Load(file, json.Unmarshal)
	}
	if set, err := load(`{"feed": ["500x.jpg"]}`); err != nil || len(set.Names()) != 3 {
		t.Errorf("%v, %v", set, err)
	}
	for _, bad := range []string{`{`, `{"feed": ["?"]}`, strings.Repeat(" ", maxFile+1)} {
		if _, err := load(bad); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
	if _, err := Load(file+".none", json.Unmarshal); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if set, err := Load("", nil); err != nil || len(set.Names()) != 3 {
		t.Errorf("no file: %v", err)
	}
}

func links(t *testing.T, prefixes ...string) *Links {
	t.Helper()
	var all []Prefix
	for _, text := range prefixes {
		p, err := ParsePrefix(text)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParsePrefix(p.String()); err != nil || again != p {
			t.Errorf("%s is written as %s, which reads as %+v, %v", text, p, again, err)
		}
		all = append(all, p)
	}
	l, err := NewLinks(all...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLinks_Image_MatchesPrefix(t *testing.T) {
	l := links(t, "https://cdn.app.example/=posts", "https://cdn.app.example/u/=avatars?version=query:v",
		"/media/=local?version=etag", "https://old.example/=web?kind=http&version=fixed")
	for plain, want := range map[string]string{
		"https://cdn.app.example/2026/11/abc.jpg":       "v.0/posts/2026/11/abc.jpg",
		"HTTPS://CDN.app.example:443/a%20b.jpg?w=100#x": "v.0/posts/a b.jpg",
		"https://cdn.app.example/u/7.jpg?v=3":           "v.3/avatars/7.jpg",
		"https://cdn.app.example/u/7.jpg":               "live/avatars/7.jpg",
		"/media/cat.jpg":                                "live/local/cat.jpg",
		"https://old.example/a%2Fb.jpg?size=l":          "v.0/web/a%2Fb.jpg?size=l",
		"https://cdn.app.example/%F0%9F%90%88.jpg":      "v.0/posts/🐈.jpg",
	} {
		link, err := l.Image(plain)
		if got := link.Version.String() + "/" + link.Source + "/" + link.Name; err != nil || got != want {
			t.Errorf("%s is %s, %v; want %s", plain, got, err, want)
		}
		if link.AskTag != (link.Source == "local") {
			t.Errorf("%s: AskTag %v", plain, link.AskTag)
		}
	}
	for plain, want := range map[string]error{
		"https://elsewhere.example/a.jpg":                        ErrNoPrefix,
		"https://cdn.app.example.evil/a.jpg":                     ErrNoPrefix,
		"http://cdn.app.example/a.jpg":                           ErrNoPrefix,
		"":                                                       ErrNoPrefix,
		"https://cdn.app.example/../secret":                      ErrURL,
		"https://cdn.app.example/a/%2e%2e/b.jpg":                 ErrURL,
		"https://cdn.app.example/%zz":                            ErrURL,
		"https://cdn.app.example/":                               ErrURL,
		"https://cdn.app.example/" + strings.Repeat("a", MaxURL): ErrURL,
	} {
		if link, err := l.Image(plain); !errors.Is(err, want) {
			t.Errorf("%.60s is %s, %v; want %v", plain, link.Image, err, want)
		}
	}
}

func TestParsePrefix_RejectsInvalid(t *testing.T) {
	for _, text := range []string{
		"", "https://a.example/", "https://a.example=posts", "https:///=posts",
		"a.example/=posts", "https://a.example/?x/=posts",
		"https://a.example/=", "https://a.example/=Posts!",
		"https://a.example/=posts?version=new",
		"https://a.example/=posts?version=query:",
		"https://a.example/=posts?version=etag&version=fixed",
		"https://a.example/=posts?kind=ftp", "https://a.example/=posts?colour=red",
	} {
		if p, err := ParsePrefix(text); err == nil {
			t.Errorf("%q is read as %+v", text, p)
		}
	}
	one := Prefix{Prefix: "https://a.example/", Source: "posts"}
	if _, err := NewLinks(one, Prefix{Prefix: "HTTPS://A.example:443/", Source: "other"}); err == nil {
		t.Error("no error for one prefix in two spellings")
	}
}

func TestLinks_VersionOf_BySource(t *testing.T) {
	l := links(
		t,
		"https://a.example/=fixed",
		"https://b.example/=tagged?version=etag",
		"https://c.example/=asked?version=query:v",
	)
	for source, want := range map[string]string{"fixed": "v.0", "tagged": "e.abc", "asked": "", "unknown": ""} {
		v, ok := l.VersionOf(source, "abc")
		if ok != (want != "") || ok && v.String() != want {
			t.Errorf("%s: %s, %v; want %q", source, v, ok, want)
		}
	}
	if v, ok := l.VersionOf("tagged", ""); ok {
		t.Errorf("without a tag it is %s", v)
	}
}

func TestImage_JSON_RoundTrips(t *testing.T) {
	v, err := imageurl.NewVersion(imageurl.Trusted, "1")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.jpg", "a b/\xff.jpg", "\"'<>"} {
		img, err := NewImage("posts", name, v)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(img)
		var back Image
		if err != nil || json.Unmarshal(text, &back) != nil || back != img {
			t.Errorf("%q: %s is read back as %v, %v", name, text, back, err)
		}
	}
	var none Image
	if text, err := json.Marshal(none); err != nil || string(text) != "null" || !none.IsZero() {
		t.Errorf("no image is %s, %v", text, err)
	}
	for _, bad := range []string{`1`, `"v.1/posts"`, `"nonsense"`} {
		var img Image
		if json.Unmarshal([]byte(bad), &img) == nil {
			t.Errorf("%s is read as %v", bad, img)
		}
	}
}
