package phone

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const jpeg = "\xff\xd8\xff\xe0 a picture"

// script is a server that answers according to a script and records requests.
type script struct {
	answer func(req *http.Request) (status int, body string)
	takes  time.Duration

	mu    sync.Mutex
	asked []*http.Request
	busy  int
	most  int // requests at once
}

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.asked = append(s.asked, req)
	s.busy++
	s.most = max(s.most, s.busy)
	s.mu.Unlock()
	defer func() { s.mu.Lock(); s.busy--; s.mu.Unlock() }()
	select {
	case <-time.After(s.takes):
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	status, body := http.StatusOK, jpeg
	if s.answer != nil {
		status, body = s.answer(req)
	}
	header := http.Header{"Set-Cookie": {"a=b"}, "Cache-Control": {"no-store"}}
	if to, ok := strings.CutPrefix(body, "to "); ok {
		header.Set("Location", to)
	}
	return &http.Response{
		StatusCode: status,
		Status:     fmt.Sprint(status),
		Header:     header,
		Body:       io.NopCloser(strings.NewReader(body)),
		Request:    req,
	}, nil
}

// paths are the requested paths, in order.
func (s *script) paths() (paths []string) {
	for _, req := range s.asked {
		paths = append(paths, req.URL.Path)
	}
	return paths
}

func numbered(n int) (urls []string) {
	for i := range n {
		urls = append(urls, fmt.Sprintf("https://img/%02d", i))
	}
	return urls
}

func TestPhone_SixDownloadsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{takes: time.Second}
		began := time.Now()
		pictures, err := New(s).Show(t.Context(), numbered(13))
		if err != nil || s.most != 6 {
			t.Fatalf("%d at once, %v", s.most, err)
		}
		for i, pic := range pictures {
			if seconds := pic.Began.Sub(began).Seconds(); seconds != float64(i/6) ||
				pic.Ended.Sub(pic.Began) != time.Second ||
				!pic.Asked.Equal(began) {
				t.Errorf("picture %d: from %s to %s", i, pic.Began.Sub(began), pic.Ended.Sub(began))
			}
		}
	})
}

func TestPhone_SDWebImageHeaders(t *testing.T) {
	s := &script{}
	p := New(s)
	for _, url := range numbered(2) {
		if _, err := p.Show(t.Context(), []string{url}); err != nil {
			t.Fatal(err)
		}
	}
	for _, req := range s.asked {
		want := http.Header{"Accept": {"image/*,*/*;q=0.8"}, "User-Agent": {"App/1.0 (iPhone; iOS 17.4; Scale/3.00)"}}
		if fmt.Sprint(req.Header) != fmt.Sprint(want) { // no cookie, and no condition
			t.Errorf("request headers %v, want %v", req.Header, want)
		}
	}
}

func TestPhone_CachesByURL(t *testing.T) {
	s := &script{}
	p := New(s)
	for _, urls := range [][]string{
		{"https://img/a", "https://img/a"}, // two views, one download
		{"https://img/a"},                  // cached, despite Cache-Control
		{"https://img/a?v=2", "https://other/a"},
	} {
		if _, err := p.Show(t.Context(), urls); err != nil {
			t.Fatal(err)
		}
	}
	pictures, err := p.Show(t.Context(), []string{"https://img/a", "https://img/b"})
	if err != nil || !pictures[0].Cached || pictures[0].Bytes != 0 || pictures[1].Cached ||
		pictures[1].Bytes != int64(len(jpeg)) {
		t.Errorf("%+v, %v", pictures, err)
	}
	if got := s.paths(); len(got) != 4 {
		t.Errorf("requested %q", got)
	}
}

func TestPhone_RetriesErrorsOnly(t *testing.T) {
	s := &script{answer: func(req *http.Request) (int, string) {
		if req.URL.Path == "/html" {
			return 200, "<!doctype html>"
		}
		return 503, "later"
	}}
	p := New(s)
	for range 2 {
		_, _ = p.Show(t.Context(), []string{"https://img/html"})
		if _, err := p.Show(t.Context(), []string{"https://img/busy"}); !errors.Is(err, ErrStatus) {
			t.Error(err)
		}
	}
	if got, want := s.paths(), []string{"/html", "/busy", "/busy"}; !slices.Equal(got, want) {
		t.Errorf("requested %q, want %q", got, want)
	}
	if _, err := p.Show(t.Context(), []string{"https://img/html"}); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
}

func TestPhone_DownloadTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, err := New(&script{takes: time.Minute}).Show(t.Context(), numbered(1))
		if err == nil || time.Since(began) != 15*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}

func TestPhone_FollowsRedirects(t *testing.T) {
	s := &script{answer: func(req *http.Request) (int, string) {
		if req.URL.Path == "/old" {
			return 302, "to https://img/new"
		}
		return 200, "RIFF\x00\x00\x00\x00WEBPVP8 "
	}}
	if _, err := New(s).Show(t.Context(), []string{"https://img/old"}); err != nil {
		t.Fatal(err)
	}
	if got := s.paths(); !slices.Equal(got, []string{"/old", "/new"}) {
		t.Errorf("requested %q", got)
	}
}

func TestPhone_RecognizesFormats(t *testing.T) {
	for head, want := range map[string]bool{
		jpeg: true, "\x89PNG\r\n\x1a\n": true, "GIF89a": true, "RIFF\x00\x00\x00\x00WEBPVP": true,
		"\x00\x00\x00\x20ftypavif": true, "\x00\x00\x00\x20ftypheic": true,
		"": false, "\xff": false, "<svg": false, "{}": false, "\x00\x00\x00\x20ftypisom": false,
	} {
		if got := isPicture([]byte(head)); got != want {
			t.Errorf("%q: %v", head, got)
		}
	}
}
