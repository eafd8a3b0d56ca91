package imagelink_test

import (
	"fmt"
	"testing"

	"github.com/novasocial/imagetier/gateway/imagelink"
)

// A page reports the paths of its own URLs in order, at most 200 at once.
func TestPage_Done_HandsOutPaths(t *testing.T) {
	var handedOut [][]string
	l := linker(t, imagelink.Config{HandedOut: func(paths []string) { handedOut = append(handedOut, paths) }})
	page := l.Page(imagelink.Client{})
	first := page.URL("feed", "https://cdn.app.example/a.jpg", imagelink.Post{})
	page.URL("feed", "https://cdn.app.example/a.jpg", imagelink.Post{})
	second := page.URL("avatar", "https://cdn.app.example/a.jpg", imagelink.Post{})
	const foreign = "https://else.example/b.jpg"
	if plain := page.URL("feed", foreign, imagelink.Post{}); plain != foreign {
		t.Errorf("a foreign URL became %s", plain)
	}
	if page.URL("feed", first, imagelink.Post{}) != first || handedOut != nil {
		t.Errorf("a signed URL changes, or %v was handed out early", handedOut)
	}
	page.Done()
	page.Done()
	const base = "https://img.example.com"
	if len(handedOut) != 1 || len(handedOut[0]) != 2 || base+handedOut[0][0] != first ||
		base+handedOut[0][1] != second {
		t.Errorf("handed out %v, want one page of %s and %s", handedOut, first, second)
	}
	handedOut = nil
	for i := range 250 {
		page.URL("feed", fmt.Sprintf("https://cdn.app.example/%d.jpg", i), imagelink.Post{})
	}
	page.Done()
	if len(handedOut) != 2 || len(handedOut[0]) != 200 || len(handedOut[1]) != 50 {
		t.Errorf("handed out %d pages", len(handedOut))
	}
}
