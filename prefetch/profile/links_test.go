package profile_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/origin/dirorigin"
	"github.com/novasocial/imagetier/origin/objectname"
	"github.com/novasocial/imagetier/origin/s3origin"
	"github.com/novasocial/imagetier/origin/weborigin"
	"github.com/novasocial/imagetier/prefetch/profile"
	"github.com/novasocial/imagetier/resize"
)

const base = "https://cdn.example/"

// linksOf returns the Links of base for a source of a kind, whose alias is "x".
func linksOf(t testing.TB, kind objectname.Kind) *profile.Links {
	t.Helper()
	text := base + "=x?version=query:v"
	if kind != objectname.Unknown {
		text += "&kind=" + kind.String()
	}
	p, err := profile.ParsePrefix(text)
	if err != nil || p.String() != text || p.Kind != kind {
		t.Fatalf("%s: %+v, %v", text, p, err)
	}
	l, err := profile.NewLinks(p)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLinks_Image_EscapesForHTTP(t *testing.T) {
	l := linksOf(t, objectname.HTTP)
	// The results are those of new URL(base + rest) in a browser, except for ^ ` { } and \ in the
	// query.
	for rest, want := range map[string]string{
		"my photo.jpg":          "my%20photo.jpg",
		"фото.jpg":              "%D1%84%D0%BE%D1%82%D0%BE.jpg",
		"🐈.jpg#x y":             "%F0%9F%90%88.jpg",
		`a"b<c>d^e` + "`f{g}.j": "a%22b%3Cc%3Ed%5Ee%60f%7Bg%7D.j",
		"it's[1]|2,(3)!.jpg":    "it's[1]|2,(3)!.jpg",
		`2026\11\a.jpg`:         "2026/11/a.jpg",
		"a%2fb%2Fc%20d e.jpg":   "a%2fb%2Fc%20d%20e.jpg",
		"a.jpg?q=it's é \"<>|":  "a.jpg?q=it%27s%20%C3%A9%20%22%3C%3E|",
		"a.jpg?x={`^\\}?'":      "a.jpg?x=%7B%60%5E%5C%7D?%27",
		"a\tb\r\n.jpg \n":       "ab.jpg",
		"a\x01b\x7f.jpg":        "a%01b%7F.jpg",
		"a\xff.jpg":             "a%FF.jpg",
		"a//b":                  "", "a/../b": "", `a\..\b`: "", "%2e%2e/b": "", "100% cotton.jpg": "", "a%zz": "",
		"a/": "", "": "", "?x": "", " ": "", "a\x00b": "", "a.jpg?%": "", strings.Repeat("ф", 171) + ".j": "",
	} {
		link, err := l.Image(base + rest)
		if link.Name != want || (want == "") != errors.Is(err, profile.ErrURL) {
			t.Errorf("%q is %q, %v; want %q", rest, link.Name, err, want)
		}
	}
}

// A name that some source of the kind refuses is not an image: the URL is left as it is.
func TestLinks_Image_RefusesNamesByKind(t *testing.T) {
	for rest, accepting := range map[string]string{
		"my photo.jpg": "unknown dir s3", "фото.jpg": "unknown dir s3", `a\b"'%25.jpg`: "unknown dir s3",
		"a//b": "s3", "a/": "s3", "/a": "s3", "%FF": "dir",
		"%2e%2e/b": "", "a/./b": "", "a%00": "", "%": "", strings.Repeat("a", 1025): "",
	} {
		for kind, name := range []string{"unknown", "dir", "s3"} {
			link, err := linksOf(t, objectname.Kind(kind)).Image(base + rest)
			if want := strings.Contains(accepting, name); want != (err == nil) {
				t.Errorf("%.40q of %s is %.40q, %v", rest, name, link.Name, err)
			}
		}
	}
}

// FuzzLinks_Image_SourceAcceptsName checks that the tier does not answer 400 to the URL of any Image.
func FuzzLinks_Image_SourceAcceptsName(f *testing.F) {
	dir, err := dirorigin.Open(dirorigin.Config{Dir: f.TempDir(), MaxBytes: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { dir.Close() })
	bucket, err := s3origin.New(f.Context(), s3origin.Config{
		Bucket: "b", Region: "us-east-1", Endpoint: "http://127.0.0.1:1", PathStyle: true,
	})
	if err != nil {
		f.Fatal(err)
	}
	web, err := weborigin.New(weborigin.Config{Base: "http://127.0.0.1:1/"})
	if err != nil {
		f.Fatal(err)
	}
	type checker interface{ CheckName(name string) error }
	sources := map[objectname.Kind][]checker{
		objectname.Unknown: {dir, bucket}, objectname.Dir: {dir}, objectname.S3: {bucket}, objectname.HTTP: {web},
	}
	links := make(map[objectname.Kind]*profile.Links)
	for kind := range sources {
		links[kind] = linksOf(f, kind)
	}
	signer, err := imageurl.NewSigner(imageurl.Key{ID: "k1", Secret: make([]byte, 32)})
	if err != nil {
		f.Fatal(err)
	}
	for _, rest := range []string{
		"2026/11/abc.jpg?v=1", "my photo.jpg", "фото.jpg", "🐈.jpg", `"it's".jpg`, `a\..\b`, "%", "%zz", "100%.jpg",
		"%2e%2e/a", "%252e%252e/a", "a//b", "a?b=c d#e", "a#?", "a\x00", "a%00b", "a%FF", "\xff", "~a", "a/", "/", "",
		"..;/a", "a.jpg?v=" + strings.Repeat("x", 300), "a?v=a;b", "a?v=%zz", strings.Repeat("a", 2048),
		strings.Repeat("é/", 200) + "a", " a\t\n",
	} {
		f.Add(rest)
	}
	f.Fuzz(func(t *testing.T, rest string) {
		for kind, l := range links {
			link, err := l.Image(base + rest)
			if err != nil {
				if !errors.Is(err, profile.ErrURL) {
					t.Errorf("%q of %s: %v", rest, kind, err)
				}
				continue
			}
			ref, err := link.Ref(resize.Spec{Shape: resize.ShapeOriginal})
			if err != nil {
				t.Fatalf("%q of %s has no Ref: %v", rest, kind, err)
			}
			path, err := signer.Sign(ref, imageurl.SignOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if again, err := signer.Parse(path); err != nil || again != ref {
				t.Errorf("%q of %s: %s reads as %v, %v", rest, kind, path, again, err)
			}
			for _, source := range sources[kind] {
				if err := source.CheckName(link.Name); err != nil {
					t.Errorf("%q of %s: %T refuses the name: %v", rest, kind, source, err)
				}
			}
		}
	})
}
