package httpapi

import (
	"fmt"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
)

func TestOriginAnswers_Of_ForgetsOldest(t *testing.T) {
	var a OriginAnswers
	note := func(i int) {
		ref, err := imageurl.ParseRef(fmt.Sprintf("/640x480/v.1/posts/%d.jpg.jpg", i))
		if err != nil {
			t.Fatal(err)
		}
		a.Note(
			ref,
			imagecache.Outcome{Forward: imagecache.URIMiss, Detail: imagecache.FromOrigin, Status: 200},
			nil,
			time.Now(),
		)
	}
	const n = maxOriginAnswers
	for i := range 2*n + 10 {
		note(i)
		note(i) // counts once
	}
	for i, want := range map[int]bool{0: false, n - 1: false, n: true, 2*n + 9: true} {
		if _, ok := a.Of(imagecache.Original{Source: "posts", Name: fmt.Sprintf("%d.jpg", i)}); ok != want {
			t.Errorf("answer %d is there: %v", i, ok)
		}
	}
}
