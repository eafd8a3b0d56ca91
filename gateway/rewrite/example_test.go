package rewrite_test

import (
	"fmt"
	"strings"

	"github.com/novasocial/imagetier/gateway/rewrite"
)

// A response is rewritten while it streams, however it is split into chunks; all other bytes stay.
func ExampleRewriter() {
	thumbnail := &rewrite.Field{Name: "thumbnailUrl"}
	var r rewrite.Rewriter
	r.Reset(rewrite.Fields{"thumbnailUrl": thumbnail}, func(f *rewrite.Field, url string) (string, bool) {
		name, ok := strings.CutPrefix(url, "https://cdn.app.example/")
		return "https://img.example.com/i/…/880x/v.1/posts/" + name + ".webp", ok
	})
	var out []byte
	for _, chunk := range []string{
		`{"id": 1.0, "thumbnailUrl": "https://cdn.app.ex`, `ample/abc.jpg", "caption": "a\u0062"}`,
	} {
		out = r.Append(out, []byte(chunk))
	}
	out, complete := r.Close(out)
	fmt.Println(string(out))
	fmt.Println(complete)
	// Output:
	// {"id": 1.0, "thumbnailUrl": "https://img.example.com/i/…/880x/v.1/posts/abc.jpg.webp", "caption": "a\u0062"}
	// true
}
