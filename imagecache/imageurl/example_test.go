package imageurl_test

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/resize"
)

// A gateway names a variant and signs its path; the tier parses it.
func Example() {
	keys, err := imageurl.ParseKeys("k1=" + strings.Repeat("ab", 32))
	if err != nil {
		fmt.Println(err)
		return
	}
	signer, err := imageurl.NewSigner(keys...)
	if err != nil {
		fmt.Println(err)
		return
	}
	version, _ := imageurl.ParseVersion("e.9f86d081884c7d65")
	spec, _ := resize.ParseSpecName("640x640-cover-q70.webp")
	ref, err := imageurl.NewRef("posts", "2026/11/abc.jpg", version, spec)
	if err != nil {
		fmt.Println(err)
		return
	}
	path := signer.Path(ref)
	fmt.Println(path)

	back, err := signer.Parse(path)
	fmt.Println(back == ref, err)
	_, err = signer.Parse(strings.Replace(path, "640x640", "641x641", 1))
	fmt.Println(errors.Is(err, imageurl.ErrSignature))
	// Output:
	// /i/k1.JhP-F8sl7a_Bhd9ByKcrCQ/640x640-cover-q70/e.9f86d081884c7d65/posts/2026/11/abc.jpg.webp
	// true <nil>
	// true
}

// A service signs the URLs of a post's image with a key that it shares with the tier.
func ExampleSigner_SignImage() {
	keys, err := imageurl.ParseKeys("k1=" + strings.Repeat("ab", 32))
	if err != nil {
		fmt.Println(err)
		return
	}
	signer, err := imageurl.NewSigner(keys...)
	if err != nil {
		fmt.Println(err)
		return
	}
	path, err := signer.SignImage("posts", "2026/11/abc.jpg", "e.9f86d081884c7d65", "640x640-cover-q70.webp")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(path) // behind https://img.example.com
	// Output:
	// /i/k1.JhP-F8sl7a_Bhd9ByKcrCQ/640x640-cover-q70/e.9f86d081884c7d65/posts/2026/11/abc.jpg.webp
}

// The client gets the same URL all day, because the expiry is rounded up to a window.
func ExampleExpiry() {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	fmt.Println(imageurl.Expiry(now, 48*time.Hour, imageurl.DefaultWindow).UTC())
	// Output: 2026-11-25 00:00:00 +0000 UTC
}

// The text of a syntax error names the canonical spelling, and may be shown to a client.
func ExampleParseRef() {
	_, err := imageurl.ParseRef("/640x640-cover/v.~YWJj/posts/abc.jpg.webp")
	fmt.Println(err)
	_, err = imageurl.ParseRef("/640x640-cover/v.1/posts/a b.jpg.webp")
	fmt.Println(err)
	// Output:
	// not an image URL: version "v.~YWJj" is spelled "v.abc"
	// not an image URL: name "a b.jpg" must be encoded: write ~ and base64url of the whole name
}
