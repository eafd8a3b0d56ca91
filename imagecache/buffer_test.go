package imagecache_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/origin"
)

func TestBuffer_Recycle_OnlyWhatIsPooled(t *testing.T) {
	for _, row := range []struct {
		n, memory int
		pooled    bool
	}{
		{0, 0, false},
		{100, 100, false},
		{4096, 4096, true},
		{4097, 8192, true},
		{1 << 20, 1 << 20, true},
		{1<<20 + 1, 1<<20 + 1, false},
	} {
		b := imagecache.NewBuffer(row.n)
		if len(b.Bytes()) != row.n || imagecache.BufferBytes(int64(row.n)) != int64(row.memory) {
			t.Errorf("%d bytes: got %d, %d of memory", row.n, len(b.Bytes()), imagecache.BufferBytes(int64(row.n)))
		}
		img := imagecache.Image{Body: b.Bytes(), Buffer: b}
		img.Recycle()
		img.Recycle() // does nothing
		if gone := img.Body == nil; gone != row.pooled && row.n > 0 {
			t.Errorf("%d bytes: recycled %v", row.n, gone)
		}
	}
}

// pooledTier is a tier whose images are in Buffers.
type pooledTier struct{ fakeTier }

func (s *pooledTier) Get(ctx context.Context, key imagecache.Key) (imagecache.Image, error) {
	img, err := s.fakeTier.Get(ctx, key)
	if err == nil {
		img.Buffer = imagecache.NewBuffer(8 << 10)
		img.Body = img.Buffer.Bytes()[:copy(img.Buffer.Bytes(), img.Body)]
	}
	return img, err
}

// An Image has a Buffer only if its caller is the only reader of the body. If a fill, a copy or another caller
// may read it too, it has none.
func TestCache_Get_KeepsBuffersThatAreShared(t *testing.T) {
	stale := imagecache.Image{Body: []byte("cat"), Fresh: imagecache.Freshness{
		Generated: time.Unix(1, 0), Until: time.Unix(2, 0),
		StaleWhileRevalidate: 1000 * time.Hour, StaleIfError: 1000 * time.Hour,
	}}
	for name, row := range map[string]struct {
		img    imagecache.Image
		far    bool
		pooled bool
	}{
		"fresh":     {imagecache.Image{Body: []byte("cat")}, false, true},
		"stale":     {stale, false, false},
		"of a fill": {imagecache.Image{Body: []byte("cat")}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := ref(t, cat)
				disk := &pooledTier{}
				_ = disk.Put(t.Context(), imagecache.KeyOf(r), row.img)
				c := imagecache.New(imagecache.Config{
					Layers: []imagecache.Layer{
						{Tier: refusing{}, Name: imagecache.Memory},
						{Tier: disk, Name: imagecache.Disk, Far: row.far},
					},
					Filler: &fakeFiller{fill: fails(origin.ErrUnavailable)},
					Now:    func() time.Time { return time.Unix(3, 0) },
				})
				for i := 1; i <= 9; i++ {
					img, _, err := c.Get(t.Context(), r)
					pooled, want := img.Buffer != nil, row.pooled && i != 8
					if err != nil || string(img.Body) != "cat" || pooled != want {
						t.Errorf("read %d: %q, has a buffer: %v, %v; want %v", i, img.Body, pooled, err, want)
					}
					synctest.Wait()
				}
			})
		})
	}
}

// refusing is a tier that holds nothing.
type refusing struct{ imagecache.Tier }

func (refusing) Get(context.Context, imagecache.Key) (imagecache.Image, error) {
	return imagecache.Image{}, imagecache.ErrMiss
}

func (refusing) Put(context.Context, imagecache.Key, imagecache.Image) error { return nil }
