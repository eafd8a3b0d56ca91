package e2e

import (
	"context"
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

	"github.com/valyala/fasthttp"
)

// An asker requests variants and records the answers. It is safe for concurrent use.
type asker struct {
	x      *tier
	client *http.Client
	lean   *fasthttp.HostClient // used instead of client if it is not nil
	serial *atomic.Int64        // makes every URL of a fill unique
}

func newAsker(x *tier) *asker {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	return &asker{x: x, client: client, serial: new(atomic.Int64)}
}

// newLeanAsker is like newAsker, but takes much less CPU time, of which hits take little. It ends no request early.
func newLeanAsker(x *tier) *asker {
	a := newAsker(x)
	a.lean = &fasthttp.HostClient{Addr: strings.TrimPrefix(x.public, "http://"), MaxConns: 20_000}
	x.t.Cleanup(a.lean.CloseIdleConnections)
	return a
}

// reply is an answer and its time.
type reply struct {
	status     int
	retryAfter bool
	took       time.Duration
}

// ask fetches a path completely. A missing or truncated answer has the status 0.
func (a *asker) ask(ctx context.Context, path string) reply {
	began := time.Now()
	if a.lean != nil {
		req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
		defer fasthttp.ReleaseRequest(req)
		defer fasthttp.ReleaseResponse(resp)
		req.SetRequestURI(a.x.public + path)
		if ctx.Err() != nil || a.lean.DoTimeout(req, resp, 2*time.Minute) != nil {
			return reply{}
		}
		return reply{resp.StatusCode(), len(resp.Header.Peek("Retry-After")) > 0, time.Since(began)}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.x.public+path, nil)
	if err != nil {
		return reply{}
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return reply{}
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != resp.ContentLength {
		return reply{}
	}
	return reply{resp.StatusCode, resp.Header.Get("Retry-After") != "", time.Since(began)}
}

// fill returns the path of a variant that was not requested before.
func (a *asker) fill(t testing.TB, spec, name string) string {
	return signedPath(t, "/"+spec+"/v."+strconv.FormatInt(a.serial.Add(1), 10)+"/posts/"+name)
}

// phoneJPEGs are the 12-megapixel photos of phones among the real ones.
var phoneJPEGs = []string{
	"phone-srgb.jpg",
	"phone-orient6-p3.jpg",
	"phone-android.jpg",
	"phone-p3-b.jpg",
	"phone-portrait-p3.jpg",
	"vertical.jpg",
	"portrait-book.jpg",
}

// capacity returns the fills of phone photos per second if there are always more waiting requests
// than workers.
func (a *asker) capacity(t testing.TB, clients int, d time.Duration) float64 {
	t.Helper()
	return a.throughput(t, clients, d, func(i int) string {
		return a.fill(t, "640x", phoneJPEGs[i%len(phoneJPEGs)]+".jpg")
	})
}

// throughput returns how many answers per second clients get if each requests the next path as soon as the
// previous one is answered.
func (a *asker) throughput(t testing.TB, clients int, d time.Duration, next func(i int) string) float64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var made atomic.Int64
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for k := i; ctx.Err() == nil; k++ {
				got := a.ask(ctx, next(k))
				switch {
				case ctx.Err() != nil: // too late
				case got.status == http.StatusOK:
					made.Add(1)
				default:
					t.Errorf("a request at capacity is answered with %d", got.status)
					return
				}
			}
		})
	}
	all.Wait()
	return float64(made.Load()) / d.Seconds()
}

// pace requests the paths that next returns at random times, rate per second on average, whether or
// not answers come, for d. It returns the replies when all have arrived. The same seed gives the
// same times.
func (a *asker) pace(t testing.TB, rate float64, d time.Duration, seed uint64, next func(i int) string) []reply {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	var moments []time.Duration
	for at := 0.0; at < d.Seconds(); at += random.ExpFloat64() / rate {
		moments = append(moments, time.Duration(at*float64(time.Second)))
	}
	replies := make([]reply, len(moments))
	began := time.Now()
	var all sync.WaitGroup
	for i, at := range moments {
		path := next(i)
		if !pause(t.Context(), time.Until(began.Add(at))) {
			break
		}
		all.Go(func() { replies[i] = a.ask(t.Context(), path) })
	}
	all.Wait()
	return replies
}

// pause waits for d, and reports whether ctx lasted as long.
func pause(ctx context.Context, d time.Duration) bool {
	over := time.NewTimer(d)
	defer over.Stop()
	select {
	case <-over.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// quantile returns the time in which the share q of the replies with that status came.
func quantile(replies []reply, status int, q float64) time.Duration {
	var took []time.Duration
	for _, r := range replies {
		if r.status == status {
			took = append(took, r.took)
		}
	}
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[min(int(q*float64(len(took))), len(took)-1)]
}

// count returns how many replies have that status.
func count(replies []reply, status int) (n int) {
	for _, r := range replies {
		if r.status == status {
			n++
		}
	}
	return n
}
