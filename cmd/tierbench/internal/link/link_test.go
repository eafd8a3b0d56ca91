package link

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// far is the server behind the network: it answers after a delay with a body of n bytes.
type far struct {
	takes time.Duration
	bytes int
	body  io.Reader // instead of bytes
}

func (f far) RoundTrip(req *http.Request) (*http.Response, error) {
	time.Sleep(f.takes)
	body := f.body
	if body == nil {
		body = bytes.NewReader(make([]byte, f.bytes))
	}
	return &http.Response{StatusCode: 200, Body: io.NopCloser(body), Request: req}, nil
}

// play runs a network in a synctest bubble.
func play(t *testing.T, cfg Config, base http.RoundTripper, test func(t *testing.T, n *Network)) {
	synctest.Test(t, func(t *testing.T) {
		n := New(cfg, base)
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { n.Run(ctx) })
		test(t, n)
		stop()
		running.Wait()
	})
}

// fetch returns the times to the headers and to the end of an answer.
func fetch(t *testing.T, n *Network, url string) (head, whole time.Duration) {
	t.Helper()
	began := time.Now()
	resp, err := n.RoundTrip(request(t, t.Context(), url))
	if err != nil {
		t.Error(err)
		return
	}
	head = time.Since(began)
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Error(err)
	}
	whole = time.Since(began)
	resp.Body.Close()
	return head, whole
}

func request(t *testing.T, ctx context.Context, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

const ms = time.Millisecond

// megabyte a second: a packet of 1,460 bytes takes 1.46 ms.
const megabyte = 8e6

func TestLink_ResponseTime(t *testing.T) {
	play(
		t,
		Config{RTT: 50 * ms, Bandwidth: megabyte},
		far{takes: 30 * ms, bytes: 100_000},
		func(t *testing.T, n *Network) {
			head, whole := fetch(t, n, "https://a/")
			if head != 80*ms || whole != 180*ms {
				t.Errorf("headers after %s and all after %s, want 80 and 180 ms", head, whole)
			}
		},
	)
}

func TestLink_UnlimitedBandwidth(t *testing.T) {
	play(t, Config{RTT: 50 * ms}, far{bytes: 10_000_000}, func(t *testing.T, n *Network) {
		if head, whole := fetch(t, n, "https://a/"); head != 50*ms || whole != 50*ms {
			t.Errorf("headers after %s and all after %s, want 50 ms", head, whole)
		}
	})
}

// Six answers of 100 packets together take as long as 600 packets. They take turns, so none ends
// before the last two rounds (the first one is two packets ahead).
func TestLink_SharesBandwidth(t *testing.T) {
	const packets, all = 100, 6
	play(t, Config{Bandwidth: megabyte}, far{bytes: packets * packet}, func(t *testing.T, n *Network) {
		var took [all]time.Duration
		var group sync.WaitGroup
		for i := range all {
			group.Go(func() { _, took[i] = fetch(t, n, "https://a/") })
		}
		group.Wait()
		total := n.cfg.Takes(packets * packet * all)
		var last time.Duration
		for _, d := range took {
			last = max(last, d)
			if d > total || d < total-2*all*n.cfg.Takes(packet) {
				t.Errorf("one of six transfers took %s of %s", d, total)
			}
		}
		if last.Round(time.Microsecond) != total {
			t.Errorf("the last was there after %s, want %s", last, total)
		}
	})
}

// A small answer during a large one waits for at most one packet.
func TestLink_SmallResponseBesideLarge(t *testing.T) {
	base := roundTripper(func(req *http.Request) (*http.Response, error) {
		if req.URL.Path == "/large" {
			return far{bytes: 1_000_000}.RoundTrip(req)
		}
		return far{takes: 100 * ms, bytes: packet}.RoundTrip(req)
	})
	play(t, Config{Bandwidth: megabyte}, base, func(t *testing.T, n *Network) {
		var group sync.WaitGroup
		group.Go(func() { fetch(t, n, "https://a/large") })
		_, small := fetch(t, n, "https://a/small")
		if one := n.cfg.Takes(packet); small <= 100*ms || small > 100*ms+3*one {
			t.Errorf("took %s, want 100 ms and at most three packets of %s", small, one)
		}
		group.Wait()
	})
}

func TestLink_IdleDoesNotCatchUp(t *testing.T) {
	play(t, Config{Bandwidth: megabyte}, far{bytes: 10_000}, func(t *testing.T, n *Network) {
		for range 2 {
			if _, whole := fetch(t, n, "https://a/"); whole != 10*ms {
				t.Errorf("10,000 bytes took %s, want 10 ms", whole)
			}
			time.Sleep(time.Minute)
		}
	})
}

func TestLink_OneConnectionPerHost(t *testing.T) {
	play(t, Config{RTT: 50 * ms, SetupRTTs: 2}, far{}, func(t *testing.T, n *Network) {
		var group sync.WaitGroup
		for range 3 { // requests wait while the connection is being opened
			group.Go(func() {
				if head, _ := fetch(t, n, "https://a/"); head != 150*ms {
					t.Errorf("the first to a host took %s, want 150 ms", head)
				}
			})
		}
		group.Wait()
		for url, want := range map[string]time.Duration{"https://a/again": 50 * ms, "https://b/": 150 * ms} {
			if head, _ := fetch(t, n, url); head != want {
				t.Errorf("%s took %s, want %s", url, head, want)
			}
		}
	})
}

func TestLink_BrokenBody(t *testing.T) {
	broken := errors.New("broken off")
	body := io.MultiReader(strings.NewReader("half a picture"), errReader{broken})
	play(t, Config{RTT: 50 * ms, Bandwidth: megabyte}, far{body: body}, func(t *testing.T, n *Network) {
		resp, err := n.RoundTrip(request(t, t.Context(), "https://a/"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		if string(got) != "half a picture" || !errors.Is(err, broken) {
			t.Errorf("%q, %v", got, err)
		}
		resp.Body.Close()
	})
}

func TestLink_Canceled(t *testing.T) {
	play(t, Config{RTT: time.Hour, Bandwidth: 8}, far{bytes: 100}, func(t *testing.T, n *Network) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := n.RoundTrip(request(t, ctx, "https://a/")); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		n.cfg.RTT = 0
		resp, err := n.RoundTrip(request(t, ctx, "https://a/"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Second) // the link is in the middle of 100 bytes
		cancel()
		if _, err := io.ReadAll(resp.Body); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		resp.Body.Close()
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }
