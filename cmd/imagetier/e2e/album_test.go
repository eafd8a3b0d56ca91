package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"image"
	"image/color"
	_ "image/jpeg"
	"image/png"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
)

// Pictures of an album are areas of one colour with noise: the noise makes them large, and the
// colours show whether a thumbnail is of this picture and complete.
const (
	pictureWidth, pictureHeight = 240, 160
	fieldsAcross, fieldsDown    = 6, 4
	pictureBytes                = pictureWidth * pictureHeight * 3 // the PNGs are not compressed; headers come on top
)

// album is an origin of any number of different pictures, and checks the thumbnails that a tier
// makes of them.
type album struct {
	t      testing.TB
	source string // the value of --source
	client *http.Client

	mu    sync.Mutex
	right map[string][]byte // by path: the bytes of the first answer, which was checked
	seen  map[int]bool      // the numbers of the pictures of those paths
}

func newAlbum(t testing.TB) *album {
	t.Helper()
	a := &album{
		t:      t,
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
		right:  make(map[string][]byte),
		seen:   make(map[int]bool),
	}
	a.source = "posts=" + listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/"), ".png"))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		body := picture(n)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Header().Set("ETag", strconv.Quote(strconv.Itoa(n)))
		w.Write(body)
	})) + "/"
	t.Cleanup(a.client.CloseIdleConnections)
	return a
}

// flags returns the flags of a tier over this album.
func (a *album) flags(cache string, more ...string) []string {
	if !slices.Contains(more, "--log-level") {
		more = append(slices.Clone(more), "--log-level", "warn")
	}
	return append(
		[]string{"--keys", key, "--source", a.source, "--allow-private-origins", "--cache-dir", cache},
		more...)
}

// start runs a tier over this album. It logs only warnings, so its ports are chosen here.
func (a *album) start(cache string, more ...string) *tier {
	a.t.Helper()
	return start(a.t, append(a.flags(cache, more...), "--listen", freePort(a.t), "--private-listen", freePort(a.t))...)
}

// path returns the signed path of a thumbnail of picture n.
func (a *album) path(n int) string { return a.pathOf(n, "240x-q95") }

func (a *album) pathOf(n int, shape string) string {
	return signedPath(a.t, fmt.Sprintf("/%s/v.1/posts/%d.png.jpg", shape, n))
}

func fieldColor(n, field int) color.NRGBA {
	r := rand.New(rand.NewPCG(uint64(n), uint64(field)))
	return color.NRGBA{uint8(40 + r.IntN(176)), uint8(40 + r.IntN(176)), uint8(40 + r.IntN(176)), 255}
}

// picture returns picture n as a PNG.
func picture(n int) []byte {
	img := image.NewNRGBA(image.Rect(0, 0, pictureWidth, pictureHeight))
	var fields [fieldsAcross * fieldsDown]color.NRGBA
	for i := range fields {
		fields[i] = fieldColor(n, i)
	}
	noise := rand.New(rand.NewPCG(uint64(n), 1<<32))
	for y := range pictureHeight {
		for x := range pictureWidth {
			c := fields[y*fieldsDown/pictureHeight*fieldsAcross+x*fieldsAcross/pictureWidth]
			dots := noise.Uint64()
			img.SetNRGBA(
				x,
				y,
				color.NRGBA{
					c.R + uint8(dots)%32 - 16,
					c.G + uint8(dots>>8)%32 - 16,
					c.B + uint8(dots>>16)%32 - 16,
					255,
				},
			)
		}
	}
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.NoCompression}).Encode(&b, img); err != nil {
		panic(err) // writing to a buffer cannot fail
	}
	return b.Bytes()
}

// isPicture returns an error unless body is a complete thumbnail of picture n.
func isPicture(n int, body []byte) error {
	img, _, err := image.Decode(bytes.NewReader(body))
	if err != nil {
		return err
	}
	size := img.Bounds().Size()
	for field := range fieldsAcross * fieldsDown {
		want := fieldColor(n, field)
		at := image.Pt(
			(2*(field%fieldsAcross)+1)*size.X/(2*fieldsAcross),
			(2*(field/fieldsAcross)+1)*size.Y/(2*fieldsDown),
		)
		var sum [3]int
		const around = 3
		for y := -around; y <= around; y++ {
			for x := -around; x <= around; x++ {
				r, g, b, _ := img.At(at.X+x, at.Y+y).RGBA()
				sum[0], sum[1], sum[2] = sum[0]+int(r>>8), sum[1]+int(g>>8), sum[2]+int(b>>8)
			}
		}
		for i, c := range []uint8{want.R, want.G, want.B} {
			if got := sum[i] / ((2*around + 1) * (2*around + 1)); got < int(c)-24 || got > int(c)+24 {
				return fmt.Errorf("at %v it has %v of %d, not %d: another picture, or half of one",
					at, "RGB"[i:i+1], got, c)
			}
		}
	}
	return nil
}

// get requests a thumbnail of picture n from x and checks the answer. A status other than 200 or a
// failed connection is an error; wrong bytes fail the test.
func (a *album) get(ctx context.Context, x *tier, n int) (answer, error) {
	return a.getPath(ctx, x, n, a.path(n))
}

func (a *album) getPath(ctx context.Context, x *tier, n int, path string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, x.public+path, nil)
	if err != nil {
		return answer{}, err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	got := answer{Response: resp}
	if got.body, err = io.ReadAll(resp.Body); err != nil {
		return got, err
	}
	if resp.StatusCode != http.StatusOK {
		return got, fmt.Errorf("%s: %s %s", path, resp.Status, firstBytes(got.body))
	}
	a.judge(n, path, got)
	return got, nil
}

// judge fails the test unless body is right for the path: a pinned URL always has the same answer,
// even when it is made again.
func (a *album) judge(n int, path string, got answer) {
	a.mu.Lock()
	right, known := a.right[path]
	a.mu.Unlock()
	if known {
		if !bytes.Equal(got.body, right) {
			a.t.Errorf("%s (%s): %d bytes that differ from the %d of the first answer",
				path, got.Header.Get("Cache-Status"), len(got.body), len(right))
		}
		return
	}
	if err := isPicture(n, got.body); err != nil {
		a.t.Errorf("%s (%s): wrong bytes: %v", path, got.Header.Get("Cache-Status"), err)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.right[path], a.seen[n] = got.body, true
}

// ask requests a range of pictures and returns how many were hits. Any wrong answer fails the test.
func (a *album) ask(x *tier, from, to int) (hits int) {
	a.t.Helper()
	for n := from; n < to; n++ {
		got, err := a.get(a.t.Context(), x, n)
		if err != nil {
			a.t.Fatal(err)
		}
		if isHit(got) {
			hits++
		}
	}
	return hits
}

// known returns the numbers of all pictures whose thumbnails were answered so far.
func (a *album) known() (numbers []int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for n := range a.seen {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return numbers
}

// askFor is like ask, for a list of pictures.
func (a *album) askFor(x *tier, numbers []int) (hits int) {
	a.t.Helper()
	for _, n := range numbers {
		hits += a.ask(x, n, n+1)
	}
	return hits
}

// isHit reports whether the answer is a hit.
func isHit(got answer) bool { return strings.Contains(got.Header.Get("Cache-Status"), "; hit;") }

// crowd requests pictures continuously.
type crowd struct {
	a     *album
	next  atomic.Int64 // the number of the next new picture
	asked atomic.Int64 // right answers
	dying atomic.Bool  // the tier is about to be killed: failures are expected
	stop  context.CancelFunc
	all   sync.WaitGroup
}

// crowd starts readers that alternately request a new picture and an earlier one from x. Any wrong
// answer fails the test.
func (a *album) crowd(x *tier, readers, first int) *crowd {
	ctx, stop := context.WithCancel(a.t.Context())
	c := &crowd{a: a, stop: stop}
	c.next.Store(int64(first))
	for range readers {
		c.all.Go(func() {
			pace := time.NewTicker(20 * time.Millisecond) // leaves CPU for other tests
			defer pace.Stop()
			for again := false; ctx.Err() == nil; again = !again {
				<-pace.C
				n := int(c.next.Load())
				if again {
					h := fnv.New32a()
					fmt.Fprint(h, n)
					n -= 1 + int(h.Sum32())%(n-first+1)
					n = max(n, first)
				} else {
					n = int(c.next.Add(1)) - 1
				}
				if _, err := a.get(ctx, x, n); err != nil && ctx.Err() == nil {
					if !c.dying.Load() {
						a.t.Error(err)
					}
					return
				} else if err == nil {
					c.asked.Add(1)
				}
			}
		})
	}
	a.t.Cleanup(c.leave)
	return c
}

// leave stops the readers.
func (c *crowd) leave() {
	c.stop()
	c.all.Wait()
}

// waitFor waits for n more answers.
func (c *crowd) waitFor(answers int) {
	c.a.t.Helper()
	target := c.asked.Load() + int64(answers)
	eventually(c.a.t, 60*time.Second, fmt.Sprintf("%d more right answers", answers), func() bool {
		return c.asked.Load() >= target || c.a.t.Failed()
	})
}

// eventually polls until the condition holds, and fails the test after a timeout. It returns how
// long it took.
func eventually(t testing.TB, limit time.Duration, condition string, done func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for tick := time.Tick(10 * time.Millisecond); !done(); <-tick {
		if time.Since(began) > limit {
			t.Fatalf("waited %v for %s", limit, condition)
		}
	}
	return time.Since(began)
}

// condition is the health of a tier in /v1/stats.
type condition struct {
	Status  string
	Reasons []string
}

func (x *tier) condition() condition {
	x.t.Helper()
	var stats struct{ Health condition }
	if err := json.Unmarshal(fetch(x.t, x.private+"/v1/stats").body, &stats); err != nil {
		x.t.Fatal(err)
	}
	return stats.Health
}

// waitCondition waits until the health has that status and all reasons have that prefix.
func (x *tier) waitCondition(limit time.Duration, status string, reasons ...string) time.Duration {
	x.t.Helper()
	var last condition
	took := eventually(x.t, limit, fmt.Sprintf("health %q %q", status, reasons), func() bool {
		last = x.condition()
		if last.Status != status {
			return false
		}
		for _, reason := range reasons {
			if !strings.Contains(strings.Join(last.Reasons, "\n"), reason) {
				return false
			}
		}
		return true
	})
	x.t.Logf("health is %v after %v", last, took.Round(time.Millisecond))
	return took
}

// number returns the value of a series, whose labels are in alphabetical order.
func (x *tier) number(series string) float64 {
	x.t.Helper()
	v, err := strconv.ParseFloat(metric(x.t, x, series), 64)
	if err != nil {
		x.t.Fatalf("%s: %v", series, err)
	}
	return v
}

// signedPath signs the part of a path after the signature.
func signedPath(t testing.TB, resource string) string {
	t.Helper()
	return signedWith(t, key, resource)
}

// signedWith returns the path of a variant, signed by the first of keys.
func signedWith(t testing.TB, keys, resource string) string {
	t.Helper()
	parsed, err := imageurl.ParseKeys(keys)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := imageurl.NewSigner(parsed...)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := imageurl.ParseRef(resource)
	if err != nil {
		t.Fatal(err)
	}
	return signer.Path(ref)
}
