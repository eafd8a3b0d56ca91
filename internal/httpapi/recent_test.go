package httpapi

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestRecentErrors_Add_KeepsNewestOfBothKinds(t *testing.T) {
	var r RecentErrors
	start := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	r.Add(RequestError{At: start, Status: 502, RequestID: "fault"})
	for i := range 3 * recentMax {
		r.Add(RequestError{At: start.Add(time.Duration(i+1) * time.Second), Status: 404, RequestID: fmt.Sprint(i)})
	}
	got := r.Newest()
	if len(got) != recentMax+1 || got[0].RequestID != "149" || got[recentMax].RequestID != "fault" {
		t.Errorf("%d errors, from %+v to %+v", len(got), got[0], got[len(got)-1])
	}
	(*RecentErrors)(nil).Add(RequestError{})
	if (*RecentErrors)(nil).Newest() != nil || (*RecentChanges)(nil).Newest() != nil {
		t.Error("nil keeps something")
	}
}

func TestWithoutSignature_Paths(t *testing.T) {
	const signature = "k1.Jf3kPq0u2mVbXyWc8tRz1A"
	for path, want := range map[string]string{
		"/i/" + signature + "/640x/live/posts/cat.jpg.webp":            "/640x/live/posts/cat.jpg.webp",
		"/i/" + signature + ".1767225600/640x/live/posts/cat.jpg.webp": "/640x/live/posts/cat.jpg.webp",
		"/i/" + signature:                          "/i/…",
		"/i//" + signature + "/640x/live/posts/a":  "/…/640x/live/posts/a",
		"/i/./" + signature + "/640x/live/posts/a": "/…/640x/live/posts/a",
		"/i/_/i/" + signature + "/640x":            "/i/…/640x",
		"/i%2F" + signature + "%2F640x":            "/i%…%2F640x",
		"/" + signature + "/640x/live/posts/a":     "/…/640x/live/posts/a",
		"/img/i/" + signature + ".1767225600/640x": "/img/i/…/640x",
		"/favicon.ico":                             "/favicon.ico",
		"/640x/live/posts/cat.jpg.webp":            "/640x/live/posts/cat.jpg.webp",
	} {
		if got := WithoutSignature(path); got != want || strings.Contains(got, "Jf3k") {
			t.Errorf("%s becomes %s, not %s", path, got, want)
		}
	}
}

func TestRecentErrors_Add_BoundsPath(t *testing.T) {
	var r RecentErrors
	r.Add(RequestError{Status: 400, Path: "/i/k1.x/" + strings.Repeat("a", 5000)})
	if got := r.Newest()[0].Path; len(got) != maxErrorPath {
		t.Errorf("the path has %d bytes", len(got))
	}
}
