package weborigin

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/origin"
)

// goodNames are valid names of different resources.
var goodNames = []string{
	"a.jpg", "2026/11/a.jpg", "A.jpg", "a%20b.jpg", "a+b.jpg", "a%2Bb.jpg",
	"%C3%A9.jpg", "%c3%a9.jpg", "a%2Fb.jpg", "a%2fb.jpg", "%2Fa.jpg",
	"https%3A%2F%2Fexample.com%2Fa.jpg", "100%25.jpg", "a%2520b.jpg", "x@2x.jpg",
	"a:b", "semi;v=1", "!$&'()*+,;=", "~user/a", "[a]|b",
	"...", "..a/b..", ".hidden", "a/....", "a;..", "-", "_", "%7E",
	"a.jpg?", "a.jpg?v=7", "a.jpg?v=7&w=1", "a.jpg?w=1&v=7", "a.jpg??",
	"a.jpg?a/../b//c", "a.jpg?%00", "a.jpg?x[]=1|2", "a.jpg?sig=a%2Fb%3D",
	"a.jpg?v=1?2", strings.Repeat("long/", 200) + "a.jpg",
}

// badNames are not a path and query, or could leave the base.
var badNames = []string{
	"", "/", "/a.jpg", "a/", "a//b", "//example.com/a.jpg", "?", "?x=1",
	"..", ".", "../a", "./a", "a/../b", "a/..", "a/.", "..?x",
	"%2e%2e/a", "%2E%2e/a", ".%2e/a", "a/%2e%2e", "%2e/a", "a%2f..%2fb",
	"..%2fa", "a%2F%2e%2E", "%2e%2e%2fa", `..%5ca`, "a%5c..%5cb",
	"..;/a", "..;x=1/a", ".;/a", "%2e%2e;x/a", "..%3bx/a",
	"%252e%252e/a", "%25252e%25252e/a", "..%252fa",
	"a%00b", "%00", "a%2500b",
	"a b", "a\tb", "a\nb", "a\r\nHost: x", "a\x00b", "a\x7fb", "é.jpg",
	"\xff", "a#b", "a.jpg?x#y", "a.jpg?x y", "a.jpg?\r\n",
	`a\b`, `a"b`, "a<b", "a>b", "a^b", "a`b", "a{b}", "%", "%2", "a%zz", "a%2", "a.jpg?%", "a.jpg?%zz", "a.jpg?é",
	"http://example.com/a.jpg",
}

func TestParseTarget_KeepsSpelling(t *testing.T) {
	base, err := parseBase("http://example.com/base%2Fone/")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range goodNames {
		target, err := parseTarget(name)
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		u := target.under(base)
		if got, want := u.RequestURI(), "/base%2Fone/"+name; got != want {
			t.Errorf("%q is sent as %s, want %s", name, got, want)
		}
		if u.Host != "example.com" || u.Scheme != "http" {
			t.Errorf("%q goes to %s", name, u)
		}
	}
}

func TestParseTarget_BadNames(t *testing.T) {
	for _, name := range badNames {
		if _, err := parseTarget(name); !errors.Is(err, origin.ErrName) {
			t.Errorf("%q: error %v", name, err)
		}
	}
}

// FuzzTarget checks that an accepted name is sent unchanged to the base's host, below its
// path, and cannot break the request line.
func FuzzTarget(f *testing.F) {
	for _, name := range append(goodNames, badNames...) {
		f.Add(name)
	}
	base, err := parseBase("https://example.com/base")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name string) {
		target, err := parseTarget(name)
		if err != nil {
			if !errors.Is(err, origin.ErrName) {
				t.Errorf("%q: %v", name, err)
			}
			return
		}
		u := target.under(base)
		sent := u.RequestURI()
		if sent != "/base/"+name || u.Host != "example.com" || strings.ContainsAny(sent, " \r\n\t\x00#") {
			t.Errorf("%q is sent to %s as %q", name, u.Host, sent)
		}
		// A server that resolves dot segments stays below the base too.
		resolved, err := url.Parse("https://example.com" + sent)
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		if !strings.HasPrefix(resolved.JoinPath().Path, "/base/") {
			t.Errorf("%q leaves the base: %s", name, resolved.JoinPath())
		}
	})
}

func TestNew_BadConfig(t *testing.T) {
	for _, base := range []string{
		"", "example.com", "/path", "ftp://example.com/", "http://", "http:///path",
		"https://user:secret@example.com/", "https://user@example.com/",
		"https://example.com/?x=1", "https://example.com/?", "https://example.com/#f",
		"http://example.com//a", "http://exa mple.com/", "http:opaque", "http://[::1/",
	} {
		_, err := New(Config{Base: base})
		if err == nil {
			t.Errorf("%q is accepted", base)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error contains the password: %v", base, err)
		}
	}
	for _, host := range []string{
		"", "https://cdn.example.com", "cdn.example.com/x", "user@cdn.example.com", "*.example.com/",
	} {
		if _, err := New(Config{Base: "https://example.com", RedirectHosts: []string{host}}); err == nil {
			t.Errorf("redirect host %q is accepted", host)
		}
	}
}
