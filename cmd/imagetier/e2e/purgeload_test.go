package e2e

import (
	"bytes"
	"image"
	"image/jpeg"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// purgeLoad requests variants of live originals while those are replaced by another photo and purged
// again and again. No request that begins after a receipt may get the photo before it, from any tier.
type purgeLoad struct {
	rounds  int              // number of purges
	each    int              // requests that get the current photo before each purge
	readers int              // concurrent requests
	tick    <-chan time.Time // each request waits for it; nil: none waits
	purge   func()           // purges the originals, and returns with the receipt

	dir   string   // of the source
	names []string // of the originals, all of which are the same photo at any time
	x     *tier
	paths []string    // of the variants
	made  [2][][]byte // the variants of each photo, by path

	// clock is even between a receipt and the next purge, and then identifies the current photo.
	clock, acknowledged, asked atomic.Int64
}

var loadPhotos = [2]string{"phone-srgb.jpg", "phone-android.jpg"}

// layOut creates the source with originals of these names.
func (l *purgeLoad) layOut(t *testing.T, names ...string) {
	t.Helper()
	l.dir, l.names = t.TempDir(), names
	for _, photo := range loadPhotos {
		copyPhoto(t, l.dir, photo)
	}
	l.replace(t, 0)
}

// replace makes a photo the current one.
func (l *purgeLoad) replace(t *testing.T, with int) {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(l.dir, loadPhotos[with]))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range l.names {
		err := os.WriteFile(filepath.Join(l.dir, "new"), body, 0o644)
		if err == nil {
			err = os.Rename(filepath.Join(l.dir, "new"), filepath.Join(l.dir, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// request adds a variant of every original to the load on x.
func (l *purgeLoad) request(t *testing.T, x *tier, specs ...string) {
	t.Helper()
	l.x = x
	for _, spec := range specs {
		for _, name := range l.names {
			l.paths = append(l.paths, signedPath(t, "/"+spec+"/live/posts/"+name+".jpg"))
			for i, photo := range loadPhotos {
				l.made[i] = append(l.made[i], x.get(signedPath(t, "/"+spec+"/v.1/posts/"+photo+".jpg")).body)
			}
		}
	}
}

// run requests, replaces and purges.
func (l *purgeLoad) run(t *testing.T) {
	t.Helper()
	var stop atomic.Bool
	var all sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: l.readers}}
	defer client.CloseIdleConnections()
	for range l.readers {
		all.Go(func() {
			for !stop.Load() && l.one(t, client) {
				if l.tick != nil {
					<-l.tick
				}
			}
		})
	}
	for round := range l.rounds {
		for late := time.Now().Add(20 * time.Second); l.acknowledged.Load() < int64((round+1)*l.each) &&
			time.Now().Before(late); {
			time.Sleep(time.Millisecond) // keeps the load until enough requests got this photo
		}
		l.clock.Add(1)
		l.replace(t, (round+1)%2)
		l.purge()
		l.clock.Add(1)
	}
	stop.Store(true)
	all.Wait()
	if n := l.acknowledged.Load(); n < int64(l.rounds*l.each) {
		t.Errorf("%d requests: too few to tell", n)
	}
}

// one makes one request, and reports whether it was answered.
func (l *purgeLoad) one(t *testing.T, client *http.Client) bool {
	began := l.clock.Load()
	n := int(l.asked.Add(1)) % len(l.paths)
	resp, err := client.Get(l.x.public + l.paths[n])
	if err != nil {
		t.Error(err)
		return false
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%s, %v", resp.Status, err)
		return false
	}
	if began%2 != 0 || l.clock.Load() != began {
		return true // during a purge: either photo is right
	}
	l.acknowledged.Add(1)
	left, other := l.made[began/2%2][n], l.made[1-began/2%2][n]
	if !bytes.Equal(body, left) && difference(t, body, left) >= difference(t, body, other) {
		t.Errorf("after purge %d: %s of the photo before it, %s",
			began/2, l.paths[n], resp.Header.Get("Cache-Status"))
	}
	return true
}

// difference returns the mean difference of two JPEGs in luma, 0 to 255. Variants of one original may
// differ in bytes: they depend on which others are made in the same job.
func difference(t *testing.T, a, b []byte) float64 {
	t.Helper()
	var luma [2]*image.YCbCr
	for i, body := range [][]byte{a, b} {
		img, err := jpeg.Decode(bytes.NewReader(body))
		if err != nil {
			t.Error(err)
			return math.Inf(1)
		}
		var ok bool
		if luma[i], ok = img.(*image.YCbCr); !ok {
			t.Errorf("a JPEG of %T", img)
			return math.Inf(1)
		}
	}
	area := luma[0].Rect.Intersect(luma[1].Rect)
	sum := 0.0
	for y := range area.Dy() {
		for x := range area.Dx() {
			sum += math.Abs(float64(luma[0].Y[luma[0].YOffset(x, y)]) - float64(luma[1].Y[luma[1].YOffset(x, y)]))
		}
	}
	return sum / float64(area.Dx()*area.Dy())
}
