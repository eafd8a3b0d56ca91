package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	neturl "net/url"
	"slices"
	"strings"
	"testing"
)

// service answers with a post for each name, as the service of an app without a tier.
func service(t *testing.T, names []string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var posts []string
		for i, name := range names {
			posts = append(posts, fmt.Sprintf(`{"id":"p%d","imageUrl":"https://cdn.app.example/%s","thumbnailUrl":null,"author":{"id":"u%d","avatarUrl":"https://cdn.app.example/%s"}}`, i, name, i, name))
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"data":{"feed":{"posts":[%s]}}}`, strings.Join(posts, ","))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// page returns the URLs that a client receives.
func page(t *testing.T, gateway *program, headers ...string) (urls []string) {
	t.Helper()
	_, _, body := get(t, gateway.public+"/graphql", headers...)
	var answer struct {
		Data struct {
			Feed struct {
				Posts []struct {
					ImageURL, ThumbnailURL string
					Author                 struct{ AvatarURL string }
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	for _, p := range answer.Data.Feed.Posts {
		urls = append(urls, p.ImageURL, p.ThumbnailURL, p.Author.AvatarURL)
	}
	return urls
}

// Every URL of a page is made before its first request, and nothing else is.
func TestProxy_WarmsHandedOut(t *testing.T) {
	dir, names := photos(t)
	tier := start(t, "imagetier", "serve", "--keys="+key, "--source=posts=dir://"+dir,
		"--cache-dir="+t.TempDir(), "--webhook-secrets="+hookSecret, "--admin-token="+adminToken,
		"--image-prefix=https://cdn.app.example/=posts")
	gateway := start(t, "imagetier-gateway", "proxy", "--upstream="+service(t, names),
		"--keys="+key, "--image-base="+tier.public, "--image-prefix=https://cdn.app.example/=posts",
		"--tier="+tier.private, "--webhook-secret="+hookSecret, "--admin-token="+adminToken)
	var minted []string
	for _, client := range []string{"jpg@1x", "jpg@2x", "jpg@3x", "webp@1x", "webp@2x", "webp@3x", "avif@3x"} {
		for _, url := range page(t, gateway, "X-Image-Client: "+client) {
			if !slices.Contains(minted, url) {
				minted = append(minted, url)
			}
		}
	}
	if want := len(names) * 2 * 6; len(minted) != want {
		t.Errorf("%d URLs were minted, not %d", len(minted), want)
	}
	for _, url := range minted {
		until(t, url+" is held", func() bool {
			_, _, body := get(t, tier.private+"/v1/explain?url="+neturl.QueryEscape(url))
			return strings.Contains(body, `"where": "memory"`) || strings.Contains(body, `"where": "disk"`)
		})
	}
	_, _, metrics := get(t, tier.private+"/metrics")
	want := fmt.Sprintf("imagetier_prefetch_paths_total{outcome=\"made\"} %d\n", len(minted))
	if !strings.Contains(metrics, want) ||
		!strings.Contains(metrics, "imagetier_prefetch_queue_jobs 0\n") {
		t.Errorf("no line %s, or jobs are queued", want)
	}
	for _, url := range minted {
		status, header, _ := get(t, url)
		cacheStatus := header.Get("Cache-Status")
		if status != http.StatusOK || !strings.Contains(cacheStatus, "; hit") {
			t.Errorf("%s: %d, %s", url, status, cacheStatus)
		}
	}
}

// The version is requested from the tier; until it is known, the URL is live.
func TestProxy_PinnedURLs(t *testing.T) {
	dir, names := photos(t)
	tier := start(t, "imagetier", "serve", "--keys="+key, "--source=posts=dir://"+dir,
		"--cache-dir="+t.TempDir(), "--admin-token="+adminToken)
	if facts := info(t, tier, names[0]); strings.Contains(facts, `"error"`) {
		t.Skipf("this tier says no facts: %s", facts)
	}
	gateway := start(t, "imagetier-gateway", "proxy", "--upstream="+service(t, names),
		"--keys="+key, "--image-base="+tier.public, "--image-prefix=https://cdn.app.example/=posts?version=etag",
		"--tier="+tier.private, "--admin-token="+adminToken)
	for _, url := range page(t, gateway) {
		if !strings.Contains(url, "/live/") {
			t.Errorf("before the tier was asked: %s", url)
		}
	}
	var urls []string
	until(t, "all URLs are pinned", func() bool {
		urls = page(t, gateway)
		return !slices.ContainsFunc(urls, func(url string) bool { return !strings.Contains(url, "/e.") })
	})
	for _, url := range urls {
		status, header, body := get(t, url)
		if status != http.StatusOK || !strings.Contains(header.Get("Cache-Control"), "immutable") ||
			header.Get("Content-Type") != "image/webp" {
			t.Errorf("%s: %d %v %.200s", url, status, header, body)
		}
	}
}

// info asks the tier for the facts of an image.
func info(t *testing.T, tier *program, name string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, tier.private+"/v1/info",
		strings.NewReader(fmt.Sprintf(`{"images":[{"source":"posts","name":%q,"version":"live"}]}`, name)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
