package imagelink_test

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/novasocial/imagetier/gateway/imagelink"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/prefetch/profile"
)

// A Go service signs thumbnails itself: one Linker at start, one call for each image.
func Example() {
	prefix, err := profile.ParsePrefix("https://cdn.app.example/=posts")
	if err != nil {
		fmt.Println(err)
		return
	}
	links, err := profile.NewLinks(prefix)
	if err != nil {
		fmt.Println(err)
		return
	}
	keys, err := imageurl.ParseKeys("k1=" + strings.Repeat("ab", 32))
	if err != nil {
		fmt.Println(err)
		return
	}
	linker, err := imagelink.New(imagelink.Config{
		Base: "https://img.example.com", Links: links, Keys: []imagelink.Key{{Key: keys[0]}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	phone := imagelink.ClientOf(http.Header{"User-Agent": {"App/7.2 (iPhone; iOS 18.0; Scale/3.00)"}})
	post := imagelink.Post{Public: true}
	fmt.Println(linker.URL(phone, "feed", "https://cdn.app.example/2026/11/abc.jpg", post))
	fmt.Println(linker.URL(phone, "feed", "https://elsewhere.example/x.jpg", post))
	// Output:
	// https://img.example.com/i/k1.cZ8BuWiOyrntsNh73GK3YQ/1320x/v.0/posts/2026/11/abc.jpg.webp
	// https://elsewhere.example/x.jpg
}
