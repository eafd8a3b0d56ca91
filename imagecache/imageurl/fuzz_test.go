package imageurl

import (
	"errors"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/resize"
)

// FuzzParseRef checks that a path names one Ref and a Ref has one path.
func FuzzParseRef(f *testing.F) {
	for _, path := range []string{
		examplePath, "/orig/live/a/b", "/info/s.1/posts/a.b.json", "/640x/v.~YS9i/a/~YSBi.jpg",
		"/640x-q80/v.~/a/b.auto", "/640x/e.~IB/a/~IB.jpg", "/x1-bg000000/v../a/.../..a.jpg",
	} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		r, err := ParseRef(path)
		if err != nil {
			if r != (Ref{}) || !errors.Is(err, ErrSyntax) {
				t.Fatalf("%q: %v, %v", path, r, err)
			}
			return
		}
		if r.String() != path {
			t.Fatalf("%q was parsed and is written as %q", path, r)
		}
		made, err := NewRef(r.Source(), r.Name(), r.Version(), r.Spec())
		if err != nil || made != r {
			t.Fatalf("%q was parsed, and its parts make %q, %v", path, made, err)
		}
		for i := range len(path) {
			if c := path[i]; !unreserved[c] && c != '/' {
				t.Fatalf("%q has a %q", path, c)
			}
		}
		if strings.Contains(path, "//") || strings.Contains(path+"/", "/./") || strings.Contains(path+"/", "/../") {
			t.Fatalf("%q may be rewritten by proxies", path)
		}
	})
}

// FuzzNewRef checks that every Ref is parsed back from its path, signed or not, and that two
// Refs have the same path only if they are equal.
func FuzzNewRef(f *testing.F) {
	f.Add("posts", "2026/11/abc.jpg", uint8(ETag), "9f86", "640x640-cover-q70", "webp",
		"posts", "2026/11/abc", uint8(ETag), "9f86", "640x640-cover-q70", "jpg")
	f.Add("a", "b/c", uint8(Trusted), "1", "orig", "", "a", "c", uint8(Trusted), "1/a/b", "orig", "")
	f.Add("a", "~IA", uint8(Live), "", "info", "json", "a", " ", uint8(Live), "", "info", "json")
	f.Add("a", "a.jpg", uint8(Live), "", "orig", "", "a", "a", uint8(Live), "", "640x", "jpg")
	keys := signer(f, key("k1"), key("k2"))
	dev, err := NewDevSigner()
	if err != nil {
		f.Fatal(err)
	}
	build := func(source, name string, pin uint8, token, shape, format string) (Ref, error) {
		s, err := resize.ParseSpec(shape, format)
		if err != nil {
			return Ref{}, err
		}
		v, err := NewVersion(Pin(pin%4), token)
		if err != nil {
			return Ref{}, err
		}
		return NewRef(source, name, v, s)
	}
	f.Fuzz(
		func(
			t *testing.T,
			source1, name1 string, pin1 uint8, token1, shape1, format1 string,
			source2, name2 string, pin2 uint8, token2, shape2, format2 string,
		) {
			a, err := build(source1, name1, pin1, token1, shape1, format1)
			if err != nil {
				return
			}
			if a.Name() != name1 || a.Source() != source1 || a.Version().Token() != token1 {
				t.Fatalf("%q has other parts", a)
			}
			for _, s := range []*Signer{keys, dev} {
				if back, err := s.Parse(s.Path(a)); err != nil || back != a {
					t.Fatalf("%q is parsed as %q, %v", s.Path(a), back, err)
				}
			}
			b, err := build(source2, name2, pin2, token2, shape2, format2)
			if err != nil {
				return
			}
			same := source1 == source2 && name1 == name2 && pin1%4 == pin2%4 &&
				token1 == token2 && shape1 == shape2 && format1 == format2
			if same != (a == b) || same != (a.String() == b.String()) {
				t.Fatalf("%q and %q: same parts %v, equal %v", a, b, same, a == b)
			}
		},
	)
}

// FuzzForgedPath checks that only signed paths are accepted.
func FuzzForgedPath(f *testing.F) {
	s := signer(f, key("k1"), key("k2"))
	r := ref(f, "posts", "2026/11/abc.jpg", "e.9f86", "640x640-cover-q70.webp")
	second, err := s.Sign(r, SignOptions{KeyID: "k2"})
	if err != nil {
		f.Fatal(err)
	}
	signed := map[string]bool{s.Path(r): true, second: true}
	for path := range signed {
		f.Add(path)
		f.Add(path[:len(path)-1])
		f.Add(path + "/")
		f.Add(strings.Replace(path, "/posts/", "/posts//", 1))
		f.Add(strings.Replace(path, "2026", "%32026", 1))
	}
	f.Fuzz(func(t *testing.T, path string) {
		got, err := s.Parse(path)
		switch {
		case signed[path]:
			if err != nil || got != r {
				t.Fatalf("%q: %v, %v", path, got, err)
			}
		case strings.HasPrefix(path, Prefix):
			if !errors.Is(err, ErrSignature) || errors.Is(err, ErrSyntax) || got != (Ref{}) {
				t.Fatalf("%q: %v, %v", path, got, err)
			}
		default:
			if !errors.Is(err, ErrNotImage) || got != (Ref{}) {
				t.Fatalf("%q: %v, %v", path, got, err)
			}
		}
	})
}
