package imageurl

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

func key(id string) Key {
	return Key{id, bytes.Repeat([]byte(id), MinSecret)}
}

func signer(t testing.TB, keys ...Key) *Signer {
	t.Helper()
	s, err := NewSigner(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const examplePath = "/640x640-cover-q70/e.9f86d081884c7d65/posts/2026/11/abc.jpg.webp"

// sign is an independent implementation of the signature.
func sign(k Key, path string) string {
	h := hmac.New(sha256.New, k.Secret)
	h.Write([]byte(path))
	return "/i/" + k.ID + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16]) + path
}

func TestSigner_Path(t *testing.T) {
	r, err := ParseRef(examplePath)
	if err != nil {
		t.Fatal(err)
	}
	path := signer(t, key("k1"), key("x2")).Path(r)
	if want := sign(key("k1"), examplePath); path != want {
		t.Errorf("signed %s, want %s", path, want)
	}
	if back, err := signer(t, key("k1")).Parse(path); err != nil || back != r {
		t.Errorf("parsed as %v, %v", back, err)
	}
}

func TestSigner_Keys(t *testing.T) {
	r, _ := ParseRef(examplePath)
	old, both := signer(t, key("a1")), signer(t, key("b2"), key("a1"))
	if _, err := both.Parse(old.Path(r)); err != nil {
		t.Errorf("the older key's URL: %v", err)
	}
	if !strings.HasPrefix(both.Path(r), "/i/b2.") {
		t.Errorf("signed %s", both.Path(r))
	}
	if _, err := old.Parse(both.Path(r)); !errors.Is(err, ErrSignature) {
		t.Errorf("an unknown key: %v", err)
	}
	if path, err := both.Sign(r, SignOptions{KeyID: "a1"}); err != nil || path != old.Path(r) {
		t.Errorf("Sign: %s, %v", path, err)
	}
	if path, err := both.Sign(r, SignOptions{KeyID: "c3"}); err == nil {
		t.Errorf("Sign with an unknown key: %s", path)
	}
	same := signer(t, Key{"c3", key("b2").Secret})
	if _, err := same.Parse(both.Path(r)); !errors.Is(err, ErrSignature) {
		t.Errorf("the right secret under another id: %v", err)
	}
}

func TestSigner_Replace(t *testing.T) {
	r, _ := ParseRef(examplePath)
	s, old := signer(t, key("a1")), signer(t, key("a1"))
	if err := s.Replace(key("b2"), key("b2")); err == nil {
		t.Error("duplicate ids: no error")
	}
	if err := s.Replace(); err == nil {
		t.Error("no keys: no error")
	}
	if s.Path(r) != old.Path(r) {
		t.Error("an invalid replacement changed the key")
	}
	if err := s.Replace(key("b2")); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(s.Path(r), "/i/b2.") {
		t.Errorf("signed %s", s.Path(r))
	}
	if _, err := s.Parse(old.Path(r)); !errors.Is(err, ErrSignature) {
		t.Errorf("a retired key's URL: %v", err)
	}
}

func TestSigner_Parse_ChangedByte(t *testing.T) {
	s := signer(t, key("k1"), key("k2"))
	for _, r := range []Ref{
		ref(t, "posts", "2026/11/abc.jpg", "e.9f86", "640x640-cover-q70.webp"),
		ref(t, "p", "a b", "v.~"+b64("x/y"), "orig"),
	} {
		path := s.Path(r)
		forged := func(how string, at int, p string) {
			if p == path {
				return
			}
			// The error of a path outside of /i/ is a different one.
			want := ErrSignature
			if !strings.HasPrefix(p, Prefix) {
				want = ErrNotImage
			}
			if got, err := s.Parse(p); !errors.Is(err, want) || errors.Is(err, ErrSyntax) || got != (Ref{}) {
				t.Errorf("%s at %d: %q is %v, %v, want %v", how, at, p, got, err, want)
			}
		}
		for i := range len(path) + 1 {
			forged("cut", i, path[:i])
			if i < len(path) {
				forged("taken", i, path[:i]+path[i+1:])
			}
			for c := range 256 {
				forged("added", i, path[:i]+string([]byte{byte(c)})+path[i:])
				if i < len(path) {
					forged("changed", i, path[:i]+string([]byte{byte(c)})+path[i+1:])
				}
			}
		}
	}
}

func TestSigner_Parse_SignatureBeforeSyntax(t *testing.T) {
	s := signer(t, key("k1"))
	for _, path := range []string{
		"/", "/nonsense", "/640x/v.1/posts/a%20b.jpg", "/640X/v.1/posts/a.jpg",
		"//", "/\x00", "/" + strings.Repeat("a", maxSigned-1),
	} {
		if _, err := s.Parse(sign(key("k1"), path)); !errors.Is(err, ErrSyntax) || errors.Is(err, ErrSignature) {
			t.Errorf("%.40q, good signature: %v", path, err)
		}
		if _, err := s.Parse(sign(key("x1"), path)); !errors.Is(err, ErrSignature) || errors.Is(err, ErrSyntax) {
			t.Errorf("%.40q, bad signature: %v", path, err)
		}
	}
}

func TestSigner_Parse_BadSignature(t *testing.T) {
	s := signer(t, key("k1"))
	good := sign(key("k1"), examplePath)
	mac := good[len("/i/k1.") : len("/i/k1.")+macChars]
	for _, p := range []string{
		"/i/", "/i//", "/i/k1", "/i/k1." + mac, "/i" + "/" + examplePath,
		"/i" + examplePath, "/i/_" + examplePath, "/i/." + mac + examplePath,
		"/i/" + mac + examplePath, "/i/k1" + examplePath, "/i/k1." + examplePath,
		"/i/k1." + mac + "=" + examplePath, "/i/k1." + mac + "==" + examplePath,
		"/i/K1." + mac + examplePath,
		"/i/k1." + strings.Repeat("A", macChars) + examplePath,
		"/i/k1." + mac + "." + mac + examplePath,
		"/i/k1." + mac + "/" + examplePath, "/i/k1%2e" + mac + examplePath,
		sign(key("k1"), "/"+strings.Repeat("a", maxSigned)),
	} {
		if r, err := s.Parse(p); !errors.Is(err, ErrSignature) || r != (Ref{}) {
			t.Errorf("%.90q: %v, %v", p, r, err)
		}
	}
	// 22 characters have 132 bits, 4 more than needed: 16 spellings decode to one MAC.
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	accepted := 0
	for _, c := range alphabet {
		if _, err := s.Parse("/i/k1." + mac[:macChars-1] + string(c) + examplePath); err == nil {
			accepted++
		}
	}
	if accepted != 1 {
		t.Errorf("%d spellings of one signature are accepted", accepted)
	}
	for _, p := range []string{
		"", "/", "/i", "/I/", "/healthz", "i/" + good[3:], "//i" + good[2:], "/x" + good, "/i\x00/",
	} {
		if r, err := s.Parse(p); !errors.Is(err, ErrNotImage) || r != (Ref{}) {
			t.Errorf("%.40q: %v, %v", p, r, err)
		}
	}
}

func TestNewDevSigner(t *testing.T) {
	if _, err := NewSigner(); err == nil {
		t.Error("no error without keys")
	}
	r, _ := ParseRef(examplePath)
	bare, err := NewDevSigner()
	if err != nil {
		t.Fatal(err)
	}
	if path := bare.Path(r); path != "/i/_"+examplePath {
		t.Errorf("signed %s", path)
	}
	keyed, err := NewDevSigner(key("k1"))
	if err != nil {
		t.Fatal(err)
	}
	if keyed.Path(r) != sign(key("k1"), examplePath) {
		t.Errorf("signed %s", keyed.Path(r))
	}
	for _, s := range []*Signer{bare, keyed} {
		if back, err := s.Parse("/i/_" + examplePath); err != nil || back != r {
			t.Errorf("%v, %v", back, err)
		}
		if _, err := s.Parse("/i/_/nonsense"); !errors.Is(err, ErrSyntax) {
			t.Error(err)
		}
		if _, err := s.Parse("/i/__" + examplePath); !errors.Is(err, ErrSignature) {
			t.Error(err)
		}
	}
	if _, err := keyed.Parse(sign(key("x1"), examplePath)); !errors.Is(err, ErrSignature) {
		t.Error(err)
	}
}

func TestParseKeys_Bad(t *testing.T) {
	hex := strings.Repeat("aB", MinSecret)
	for _, c := range []struct {
		text string
		says []string
	}{
		{"k1", []string{"key 1 of the list", "id=HEX"}},
		{"k1=" + hex + ",", []string{"key 2 of the list"}},
		{"=" + hex, []string{`key ""`, "1-8 of"}},
		{"K1=" + hex, []string{`key "K1"`}},
		{"k_1=" + hex, []string{`key "k_1"`}},
		{"k12345678=" + hex, []string{`key "k12345678"`}},
		{"k1=" + hex[2:], []string{`key "k1"`, "31 bytes", "at least 32"}},
		{"k1=", []string{`key "k1"`, "0 bytes"}},
		{"k1=" + hex + "a", []string{`key "k1"`, "hex"}},
		{"k1=" + hex[1:] + "g", []string{`key "k1"`, "hex"}},
		{"k1=" + hex + "@2026-12-01", []string{`key "k1"`, "hex"}},
		{"k1=" + hex + ",k1=" + hex, []string{`key "k1"`, "duplicate"}},
		{"K1=" + hex + ",k2=ab,k3=zz", []string{`"K1"`, `"k2"`, `"k3"`}},
	} {
		keys, err := ParseKeys(c.text)
		if err == nil {
			t.Errorf("%s: %v", c.text, keys)
			continue
		}
		for _, says := range c.says {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("%s: error %q, want %q in it", c.text, err, says)
			}
		}
		if strings.Contains(err.Error(), "aBaB") {
			t.Errorf("%s: %q contains the secret", c.text, err)
		}
	}
	if _, err := NewSigner(key("k1"), key("k1")); err == nil {
		t.Error("no error for a duplicate id")
	}
	if _, err := NewDevSigner(Key{"k1", nil}); err == nil {
		t.Error("no error for an empty secret")
	}
}

func TestParseKeys(t *testing.T) {
	keys, err := ParseKeys("k2=" + strings.Repeat("AB", 32) + ", k1=" + strings.Repeat("cd", 40))
	if err != nil || len(keys) != 2 || keys[0].ID != "k2" || keys[1].ID != "k1" ||
		!bytes.Equal(keys[0].Secret, bytes.Repeat([]byte{0xab}, 32)) || len(keys[1].Secret) != 40 {
		t.Errorf("%v, %v", keys, err)
	}
	if keys, err := ParseKeys(" "); keys != nil || err != nil {
		t.Errorf("no keys: %v, %v", keys, err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(verb, keys); strings.Contains(text, "abab") || strings.Contains(text, "171") {
			t.Errorf("keys printed with %s contain the secret: %s", verb, text)
		}
	}
}

func TestSigner_Concurrent(t *testing.T) {
	s := signer(t, key("k1"), key("k2"))
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r := ref(t, "posts", fmt.Sprint("n", g), "v.1", "640x.webp")
			for range 500 {
				if back, err := s.Parse(s.Path(r)); err != nil || back != r {
					t.Errorf("%v, %v", back, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkParse(b *testing.B) {
	s := signer(b, key("k2"), key("k1"))
	for _, c := range []struct {
		name string
		ref  Ref
	}{
		{"plain", ref(b, "posts", "2026/11/abc.jpg", "e.9f86d081884c7d65", "640x640-cover-q70.webp")},
		{"encoded", ref(b, "posts", "2026/11/été.jpg", "e.9f86d081884c7d65", "640x640-cover-q70.webp")},
	} {
		b.Run(c.name, func(b *testing.B) {
			path := s.Path(c.ref)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Parse(path); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("forged", func(b *testing.B) {
		path := sign(key("x1"), examplePath)
		path = strings.Replace(path, "/i/x1.", "/i/k1.", 1)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Parse(path); err == nil {
				b.Fatal("accepted")
			}
		}
	})
}

func BenchmarkPath(b *testing.B) {
	s := signer(b, key("k1"))
	r := ref(b, "posts", "2026/11/abc.jpg", "e.9f86d081884c7d65", "640x640-cover-q70.webp")
	b.ReportAllocs()
	for b.Loop() {
		s.Path(r)
	}
}

func BenchmarkNewRef(b *testing.B) {
	v, s := version(b, "e.9f86d081884c7d65"), spec(b, "640x640-cover-q70.webp")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewRef("posts", "2026/11/abc.jpg", v, s); err != nil {
			b.Fatal(err)
		}
	}
}
