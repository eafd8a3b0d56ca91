package imagelink_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/gateway/imagelink"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/prefetch/profile"
	"github.com/novasocial/imagetier/resize"
)

func key(id, digit string) imageurl.Key {
	keys, err := imageurl.ParseKeys(id + "=" + strings.Repeat(digit, 64))
	if err != nil {
		panic(err)
	}
	return keys[0]
}

func links(t testing.TB, prefixes ...string) *profile.Links {
	t.Helper()
	var all []profile.Prefix
	for _, text := range prefixes {
		p, err := profile.ParsePrefix(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	l, err := profile.NewLinks(all...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func linker(t testing.TB, cfg imagelink.Config) *imagelink.Linker {
	t.Helper()
	if cfg.Base == "" {
		cfg.Base = "https://img.example.com"
	}
	if cfg.Links == nil {
		cfg.Links = links(
			t,
			"https://cdn.app.example/=posts",
			"https://avatars.example/=avatars?version=query:v",
			"https://s3.example/=tagged?version=etag",
		)
	}
	if cfg.Keys == nil && !cfg.Dev {
		cfg.Keys = []imagelink.Key{{Key: key("k1", "1")}}
	}
	l, err := imagelink.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func client(text string) imagelink.Client {
	c, err := imagelink.ParseClient(text, imagelink.Client{})
	if err != nil {
		panic(err)
	}
	return c
}

// Both fields are complete URLs, and the tier accepts their signatures.
func TestLinker_Mint_Signed(t *testing.T) {
	l := linker(t, imagelink.Config{})
	tier, err := imageurl.NewSigner(key("k1", "1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ client, profile, plain, want string }{
		{"webp@3x", "feed", "https://cdn.app.example/2026/11/abc.jpg", "/1320x/v.0/posts/2026/11/abc.jpg.webp"},
		{"webp@2x", "feed", "https://cdn.app.example/2026/11/abc.jpg", "/880x/v.0/posts/2026/11/abc.jpg.webp"},
		{"jpg@1x", "feed", "https://cdn.app.example/2026/11/abc.jpg", "/440x/v.0/posts/2026/11/abc.jpg.jpg"},
		{"avif@1x", "feed", "https://cdn.app.example/a.jpg", "/440x/v.0/posts/a.jpg.webp"}, // the profile has no AVIF
		{"webp@2x", "avatar", "https://avatars.example/u1.jpg?v=7", "/64x64-cover/v.7/avatars/u1.jpg.webp"},
		{"webp@2x", "avatar", "https://avatars.example/u1.jpg", "/64x64-cover/live/avatars/u1.jpg.webp"},
		{"webp@3x", "grid", "https://cdn.app.example/a%20b.jpg", "/438x438-cover/v.0/posts/~YSBiLmpwZw.webp"},
		{"webp@3x", "feed", "https://s3.example/a.jpg", "/1320x/live/tagged/a.jpg.webp"},
	} {
		minted, err := l.Mint(client(c.client), c.profile, c.plain, imagelink.Post{})
		if err != nil {
			t.Fatal(err)
		}
		path, ok := strings.CutPrefix(minted.URL, "https://img.example.com")
		ref, err := tier.Parse(path)
		if !ok || err != nil || ref.String() != c.want {
			t.Errorf("%s for %s is %s (%v), not %s", c.plain, c.client, minted.URL, err, c.want)
		}
		if again, err := minted.Image.Ref(ref.Spec()); err != nil || again != ref {
			t.Errorf("the image %v is not that of %s", minted.Image, minted.URL)
		}
	}
}

// A URL that changes is downloaded again by every phone.
func TestLinker_Mint_Deterministic(t *testing.T) {
	// The signature was made by openssl dgst -sha256 -mac HMAC.
	const want = "https://img.example.com/i/k1.LTyaBEFmDY5GhBTFNZ27nQ/1320x/v.0/posts/2026/11/abc.jpg.webp"
	for range 2 { // restarts
		l := linker(t, imagelink.Config{})
		for _, ua := range []string{
			"App/1.0 (iPhone; iOS 17.4; Scale/3.00)", "Other/2.7 (iPhone; iOS 14.1; Scale/3.00)", "okhttp/4.12.0",
		} {
			c := imagelink.ClientOfUserAgent(ua)
			if got := l.URL(c, "feed", "https://cdn.app.example/2026/11/abc.jpg", imagelink.Post{}); got != want {
				t.Errorf("for %s: %s, not %s", ua, got, want)
			}
		}
	}
}

// A post created before a key's date is signed by the older key.
func TestLinker_Mint_DatedKeys(t *testing.T) {
	day := func(d int) time.Time { return time.Date(2026, 12, d, 0, 0, 0, 0, time.UTC) }
	before := linker(t, imagelink.Config{Keys: []imagelink.Key{{Key: key("k1", "1")}}})
	l := linker(
		t,
		imagelink.Config{
			Keys: []imagelink.Key{
				{Key: key("k3", "3"), From: day(20)},
				{Key: key("k2", "2"), From: day(1)},
				{Key: key("k1", "1")},
			},
		},
	)
	for _, c := range []struct {
		created time.Time
		id      string
	}{
		{day(1).Add(-time.Second), "k1"}, {day(1), "k2"}, {day(20).Add(-1), "k2"}, {day(20), "k3"}, {day(28), "k3"},
		{time.Unix(0, 0), "k1"}, {time.Time{}, "k3"},
		{day(20).In(time.FixedZone("east", 9*3600)), "k3"},
	} {
		of := imagelink.Post{Created: c.created}
		got := l.URL(client("webp@3x"), "feed", "https://cdn.app.example/a.jpg", of)
		if !strings.HasPrefix(got, "https://img.example.com/i/"+c.id+".") {
			t.Errorf("a post of %s is signed as %s, not by %s", c.created, got, c.id)
		}
		if c.id == "k1" && got != before.URL(client("webp@3x"), "feed", "https://cdn.app.example/a.jpg", of) {
			t.Errorf("rotation changed the URL of a post of %s", c.created)
		}
	}
}

func TestLinker_URL_Lifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := linker(t, imagelink.Config{Lifetime: 48 * time.Hour})
		mint := func() string {
			return l.URL(client("webp@3x"), "feed", "https://cdn.app.example/a.jpg", imagelink.Post{})
		}
		signer, err := imageurl.NewSigner(key("k1", "1"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // synctest begins at midnight
		first := mint()
		_, expires, err := signer.ParseExpiring(imageurl.PathOf(first))
		if left := time.Until(expires); err != nil || left < 48*time.Hour || left > 72*time.Hour {
			t.Errorf("%s is valid for %v, %v", first, left, err)
		}
		if again := l.URL(client("webp@3x"), "feed", first, imagelink.Post{}); again != first {
			t.Errorf("a signed URL was changed: %s", again)
		}
		time.Sleep(23*time.Hour + 59*time.Minute)
		if got := mint(); got != first {
			t.Errorf("another URL on the same day: %s, %s", first, got)
		}
		time.Sleep(2 * time.Minute)
		if got := mint(); got == first {
			t.Errorf("the same URL on the next day: %s", got)
		}
	})
}

func TestLinker_Mint_AlreadySigned(t *testing.T) {
	// Even where the prefix of plain URLs is the tier's own host.
	l := linker(t, imagelink.Config{Links: links(t, "https://img.example.com/=posts", "/=local")})
	for _, plain := range []string{
		linker(t, imagelink.Config{}).URL(client("webp@3x"), "feed", "https://cdn.app.example/a.jpg", imagelink.Post{}),
		"https://img.example.com/i/old.Jf3kPq0u2mVbXyWc8tRz1A/orig/v.1/posts/a.jpg",
		"https://img.example.com/i/_/440x/v.1/posts/a.jpg.webp",
		"/i/k1.Jf3kPq0u2mVbXyWc8tRz1A/440x/v.1/posts/a.jpg.webp",
	} {
		minted, err := l.Mint(client("webp@3x"), "feed", plain, imagelink.Post{})
		if err != nil || minted.URL != plain || !minted.Image.IsZero() {
			t.Errorf("%s became %+v, %v", plain, minted, err)
		}
	}
	got := l.URL(client("webp@3x"), "feed", "https://img.example.com/i/holiday/a.jpg", imagelink.Post{})
	if !strings.Contains(got, "/posts/i/holiday/a.jpg.webp") {
		t.Errorf("a folder named i was taken for a signature: %s", got)
	}
	got = l.URL(client("webp@3x"), "feed", "https://img.example.com/i/my.holiday/a.jpg", imagelink.Post{})
	if !strings.Contains(got, "/posts/i/my.holiday/a.jpg.webp") {
		t.Errorf("a folder with a dot was taken for a signature: %s", got)
	}
}

func TestLinker_Mint_ForeignURL(t *testing.T) {
	l := linker(t, imagelink.Config{})
	for plain, want := range map[string]error{
		"https://elsewhere.example/a.jpg":        profile.ErrNoPrefix,
		"https://cdn.app.example.evil/a.jpg":     profile.ErrNoPrefix,
		"":                                       profile.ErrNoPrefix,
		"https://cdn.app.example/":               profile.ErrURL,
		"https://cdn.app.example/../secret":      profile.ErrURL,
		"https://cdn.app.example/%zz":            profile.ErrURL,
		"https://cdn.app.example/" + long(2<<10): profile.ErrURL,
	} {
		if _, err := l.Mint(client("webp@3x"), "feed", plain, imagelink.Post{}); !errors.Is(err, want) {
			t.Errorf("%.60s: %v, not %v", plain, err, want)
		}
		if got := l.URL(client("webp@3x"), "feed", plain, imagelink.Post{}); got != plain {
			t.Errorf("%.60s became %.60s", plain, got)
		}
	}
	_, err := l.Mint(client("webp@3x"), "fed", "https://cdn.app.example/a.jpg", imagelink.Post{})
	if !errors.Is(err, imagelink.ErrProfile) {
		t.Errorf("an unknown profile: %v", err)
	}
}

func long(n int) string { return strings.Repeat("x", n) }

func TestLinker_Mint_FormatFallback(t *testing.T) {
	profiles, err := profile.New(map[string][]string{
		"feed":  {"440x.webp", "880x.webp", "440x.avif", "880x.avif", "440x.jpg"},
		"icons": {"32x32-cover.png"},
	})
	if err != nil {
		t.Fatal(err)
	}
	l := linker(t, imagelink.Config{Profiles: profiles})
	for _, c := range []struct{ client, profile, want string }{
		{"avif@2x", "feed", "/880x/v.0/posts/a.jpg.avif"}, {"webp@3x", "feed", "/880x/v.0/posts/a.jpg.webp"},
		{"jpg@3x", "feed", "/440x/v.0/posts/a.jpg.jpg"}, {"jpg@3x", "icons", "/32x32-cover/v.0/posts/a.jpg.png"},
	} {
		got := l.URL(client(c.client), c.profile, "https://cdn.app.example/a.jpg", imagelink.Post{})
		if !strings.HasSuffix(got, c.want) {
			t.Errorf("%s for %s is %s, not %s", c.profile, c.client, got, c.want)
		}
	}
}

func TestLinker_Mint_PinsTag(t *testing.T) {
	tags := map[string]string{"a.jpg": "9f86d081"}
	l := linker(t, imagelink.Config{Tag: func(live profile.Image) (string, bool) {
		tag, ok := tags[live.Name]
		return tag, ok
	}})
	for plain, want := range map[string]string{
		"https://s3.example/a.jpg": "/e.9f86d081/tagged/a.jpg",
		"https://s3.example/b.jpg": "/live/tagged/b.jpg",
	} {
		if got := l.URL(client("webp@3x"), "feed", plain, imagelink.Post{}); !strings.Contains(got, want) {
			t.Errorf("%s is %s", plain, got)
		}
	}
}

// After an event, every URL that the gateway mints for that page is a hit. An event makes the Specs
// of its profile.
func TestLinker_Mint_OnlyWarmedURLs(t *testing.T) {
	l := linker(t, imagelink.Config{})
	tier, _ := imageurl.NewSigner(key("k1", "1"))
	for _, name := range profile.BuiltIn().Names() {
		p, _ := profile.BuiltIn().Get(name)
		minted := map[resize.Spec]bool{}
		for _, plain := range []string{"https://cdn.app.example/a%20b.jpg", "https://avatars.example/u1.jpg?v=7"} {
			link, err := links(
				t,
				"https://cdn.app.example/=posts",
				"https://avatars.example/=avatars?version=query:v",
			).Image(plain)
			if err != nil {
				t.Fatal(err)
			}
			warmed := map[imageurl.Ref]bool{}
			for _, spec := range p.Specs() {
				ref, err := link.Ref(spec)
				if err != nil {
					t.Fatal(err)
				}
				warmed[ref] = true
			}
			for _, format := range []string{"jpg", "webp", "avif"} {
				for scale := range 5 {
					c := imagelink.Client{Scale: scale, Format: client(format).Format}
					ref, err := tier.Parse(
						strings.TrimPrefix(l.URL(c, name, plain, imagelink.Post{}), "https://img.example.com"),
					)
					if err != nil || !warmed[ref] {
						t.Errorf("%s for %s is not warmed: %s, %v", plain, c, ref, err)
					}
					minted[ref.Spec()] = true
				}
			}
		}
		if len(minted) != len(p.Specs()) {
			t.Errorf("profile %s: %d Specs occur in URLs, %d are warmed", name, len(minted), len(p.Specs()))
		}
	}
}

func TestNew_Faults(t *testing.T) {
	_, err := imagelink.New(imagelink.Config{Base: "https://img.example.com/x"})
	for _, want := range []string{"image base", "links are required", "no key"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	late := imagelink.Key{Key: key("k1", "1"), From: time.Unix(1, 0)}
	cfg := imagelink.Config{Base: "https://x", Links: links(t), Keys: []imagelink.Key{late}}
	if _, err := imagelink.New(cfg); err == nil || strings.Contains(err.Error(), "1111") {
		t.Errorf("a last key with a date: %v", err)
	}
	if _, err := imagelink.New(imagelink.Config{Base: "https://x", Links: links(t), Dev: true}); err != nil {
		t.Errorf("without keys for development: %v", err)
	}
}

// A Go feed service can use the package without gRPC, GraphQL or Redis in its build.
func TestImports(t *testing.T) {
	module, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	sum, err := os.ReadFile("../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"go.sum": string(sum),
		"go.mod": fmt.Sprintf("module feed.example\n\ngo 1.26.0\n\nrequire (\n\tgithub.com/novasocial/imagetier v0.0.0\n\tgithub.com/novasocial/imagetier/gateway v0.0.0\n)\n\nreplace (\n\tgithub.com/novasocial/imagetier => %s\n\tgithub.com/novasocial/imagetier/gateway => %s\n)\n", filepath.Dir(module), module),
		"main.go": `package main

import (
	"net/http"
	"time"

	"github.com/novasocial/imagetier/gateway/imagelink"
)

func main() {
	linker, err := imagelink.New(imagelink.Config{})
	if err == nil {
		println(linker.URL(imagelink.ClientOf(http.Header{}), "feed", "", imagelink.Post{}))
	}
}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "list", "-mod=mod", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for path := range strings.FieldsSeq(string(out)) {
		if path != "feed.example" && !strings.HasPrefix(path, "github.com/novasocial/imagetier/") ||
			strings.HasPrefix(path, "github.com/novasocial/imagetier/gateway/") &&
				!strings.HasSuffix(path, "/imagelink") {
			t.Errorf("the build has %s", path)
		}
	}
	if !strings.Contains(string(out), "imagetier/gateway/imagelink") {
		t.Errorf("the build is\n%s", out)
	}
}

func BenchmarkMint(b *testing.B) {
	l := linker(b, imagelink.Config{})
	c := client("webp@3x")
	b.ReportAllocs()
	for b.Loop() {
		const plain = "https://cdn.app.example/2026/11/0123456789abcdef.jpg"
		if _, err := l.Mint(c, "feed", plain, imagelink.Post{}); err != nil {
			b.Fatal(err)
		}
	}
}
