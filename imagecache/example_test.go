package imagecache_test

import (
	"context"
	"fmt"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/imagecache/memtier"
)

// drawn makes images without an origin. The Filler of the real tier is in package fill.
type drawn struct{}

func (drawn) Fill(_ context.Context, ref imageurl.Ref, _ *imagecache.Image) (imagecache.Filled, error) {
	img := imagecache.Image{
		Body: []byte("pixels of " + ref.Name()), ContentType: ref.Spec().Format.ContentType(), ETag: `"1"`,
	}
	return imagecache.Filled{Image: img, Detail: imagecache.FromOrigin, Status: 200}, nil
}

func (drawn) Purge(context.Context, imagecache.Original) (imagecache.Removed, error) {
	return imagecache.Removed{}, nil
}

// The first Get makes the image, the second finds it in memory.
func ExampleCache_Get() {
	memory, err := memtier.New(memtier.Config{MaxBytes: memtier.MinBytes})
	if err != nil {
		fmt.Println(err)
		return
	}
	cache := imagecache.New(imagecache.Config{
		Layers: []imagecache.Layer{{Tier: memory, Name: imagecache.Memory}},
		Filler: drawn{},
	})
	ref, err := imageurl.ParseImage("posts", "2026/11/abc.jpg", "v.1", "880x.webp")
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		img, outcome, err := cache.Get(context.Background(), ref)
		fmt.Printf("%s, %s, from %s, %v\n", img.Body, img.ContentType, outcome.Detail, err)
	}
	// Output:
	// pixels of 2026/11/abc.jpg, image/webp, from origin, <nil>
	// pixels of 2026/11/abc.jpg, image/webp, from memory, <nil>
}
