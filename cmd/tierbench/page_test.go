package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// cast returns two GraphQL services, of which gateway is slow at first, and pictures of a megabyte
// (originals) or 25,000 bytes (thumbnails and avatars).
func cast(t *testing.T) func(*http.Request) (*http.Response, error) {
	asked := 0
	body := func(n int) string { return "\xff\xd8\xff" + strings.Repeat("x", n-3) }
	return func(req *http.Request) (*http.Response, error) {
		var text string
		switch {
		case req.URL.Host == "before":
			time.Sleep(900 * time.Millisecond)
			text = pageOf("https://cdn/original")
		case req.URL.Host == "gateway":
			time.Sleep(5 * time.Millisecond)
			if asked++; asked == 1 {
				time.Sleep(325 * time.Millisecond)
			}
			text = pageOf("https://img/thumb")
		case req.URL.Path[:2] == "/o":
			text = body(1_000_000)
		case req.URL.Path[:2] == "/t", req.URL.Path[:2] == "/u":
			text = body(25_000)
		default:
			t.Errorf("unexpected request of %s", req.URL)
		}
		return &http.Response{
			StatusCode: 200,
			Header:     http.Header{},
			Body:       io.NopCloser(strings.NewReader(text)),
			Request:    req,
		}, nil
	}
}

// pageOf has four posts of two authors, and is 1,000 bytes long.
func pageOf(image string) string {
	var posts []string
	for i := range 4 {
		posts = append(
			posts,
			fmt.Sprintf(`{"imageUrl":"%s%d","thumbnailUrl":null,"author":{"avatarUrl":"https://img/u%d"}}`,
				image, i, i%2),
		)
	}
	page := `{"data":{"feed":{"posts":[` + strings.Join(posts, ",") + `]}}}`
	return page + strings.Repeat(" ", 1000-len(page))
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// At 8 Mbit/s a byte takes a microsecond. The first screen needs two images, two avatars and the
// query's 1,000 bytes: 2,050,000 bytes with originals or 100,000 with thumbnails. The rows below
// need two images; their authors' avatars are already loaded.
func TestPage_SumsItsParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cmd := pageCmd{
			Before:    "https://before/graphql",
			Gateway:   "https://gateway/graphql",
			Tokens:    []string{"a"},
			RTT:       50 * time.Millisecond,
			Bandwidth: 8,
			Setup:     2,
			Limit:     4,
			Rounds:    3,
		}
		loads, err := cmd.play(t.Context(), roundTripper(cast(t)))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range cmd.reportOf(loads).rows {
			got = append(
				got,
				fmt.Sprintf(
					"%s: %s + %s + %s = %s, %s of %s, %d",
					r.name,
					millis(r.connections),
					millis(r.query),
					millis(r.images),
					millis(r.screen),
					millis(r.whole),
					millis(r.floor),
					r.downloads,
				),
			)
		}
		want := []string{
			"before: 200 + 951 + 2100 = 3251, 5301 of 4051, 6",
			"first phone: 200 + 381 + 150 = 731, 831 of 151, 6",
			"just started: 200 + 56 + 150 = 406, 506 of 151, 6",
			"running: 0 + 56 + 150 = 206, 306 of 151, 6",
			"cached: 0 + 56 + 0 = 56, 56 of 1, 0",
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

func TestPage_ReportAndChart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cmd := pageCmd{
			Gateway:   "https://gateway/graphql",
			Tokens:    []string{"a"},
			RTT:       200 * time.Millisecond,
			Bandwidth: 8,
			Limit:     4,
			Rounds:    1,
		}
		loads, err := cmd.play(t.Context(), roundTripper(cast(t)))
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		cmd.reportOf(loads).print(&text)
		for _, want := range []string{
			"running app: 506 ms, wanted 380: NOT held", "cached: 206 ms, wanted 150: NOT held",
			"| **first screen** | 831 | 506 | 506 | 206 |", "| KB of the first screen / page | 101 / 151 |",
		} {
			if !strings.Contains(text.String(), want) {
				t.Errorf("no %q in\n%s", want, &text)
			}
		}
		picture := cmd.reportOf(loads).picture()
		for dec := xml.NewDecoder(bytes.NewReader(picture)); ; {
			if _, err := dec.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%v in\n%s", err, picture)
			}
		}
		// The titles of the page, the query, six pictures and the two that were already loaded.
		if n := bytes.Count(picture, []byte("<title>")); n != 1+1+6+2 {
			t.Errorf("%d requests are drawn", n-1)
		}
	})
}

func TestPage_FailsWithItsPictures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := cast(t)
		bad := func(req *http.Request) (*http.Response, error) {
			resp, err := good(req)
			if req.URL.Path == "/thumb3" {
				resp.StatusCode, resp.Status = 403, "403 Forbidden"
			}
			return resp, err
		}
		cmd := pageCmd{Gateway: "https://gateway/graphql", Tokens: []string{"a"}, Bandwidth: 8, Limit: 4, Rounds: 1}
		if _, err := cmd.play(t.Context(), roundTripper(bad)); err == nil ||
			!strings.Contains(err.Error(), "https://img/thumb3") {
			t.Error(err)
		}
	})
}

func TestPage_ServesOriginals(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cat.jpg"), []byte("cat"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := pageCmd{Originals: dir, At: "https://cdn.app.example/posts/"}
	base, closeBase, err := cmd.servers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer closeBase()
	resp, err := base.RoundTrip(
		&http.Request{
			Method: http.MethodGet,
			URL:    &url.URL{Scheme: "https", Host: "cdn.app.example", Path: "/posts/cat.jpg"},
			Header: http.Header{},
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(body) != "cat" {
		t.Errorf("%s: %q", resp.Status, body)
	}
}
