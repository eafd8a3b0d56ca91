package service

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/resize"
)

func refsOf(t *testing.T, paths ...string) (refs []imageurl.Ref) {
	t.Helper()
	for _, path := range paths {
		ref, err := imageurl.ParseRef(path)
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	return refs
}

func TestBalancer_Make_MapsStatusToOutcome(t *testing.T) {
	signer, err := imageurl.NewDevSigner()
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var asked []string
	answers := map[string]int{
		"busy":   503,
		"gone":   404,
		"down":   451,
		"large":  413,
		"kind":   415,
		"broken": 422,
		"bad":    502,
		"away":   302,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.Header.Get("Priority")+" "+r.URL.Path)
		mu.Unlock()
		if strings.Contains(r.URL.Path, "here") {
			w.Header().Set("Cache-Status", "imagetier; hit; ttl=31536000; detail=memory")
		}
		w.Header().Set("Retry-After", "7")
		w.Header().Set("Location", "http://elsewhere.example/")
		for word, status := range answers {
			if strings.Contains(r.URL.Path, word) {
				w.WriteHeader(status)
				return
			}
		}
	}))
	b := newBalancer(server.URL, signer, time.Minute)
	defer b.close()
	for i, out := range b.Make(t.Context(), refsOf(t, "/100x/v.1/posts/here.jpg.webp", "/100x/v.1/posts/a.jpg.jpg")) {
		if out.Err != nil || out.Hit != (i == 0) {
			t.Errorf("%d: %+v", i, out)
		}
	}
	slices.Sort(asked)
	want := []string{"u=7 /i/_/100x/v.1/posts/a.jpg.jpg", "u=7 /i/_/100x/v.1/posts/here.jpg.webp"}
	if !slices.Equal(asked, want) {
		t.Errorf("requested %q, want %q", asked, want)
	}
	for word, want := range map[string]error{
		"busy":   resize.ErrBusy,
		"gone":   origin.ErrNotFound,
		"down":   imagecache.ErrTakenDown,
		"large":  resize.ErrTooLarge,
		"kind":   resize.ErrUnsupported,
		"broken": resize.ErrCorrupt,
		"bad":    origin.ErrUnavailable,
		"away":   origin.ErrUnavailable,
	} {
		err := b.Make(t.Context(), refsOf(t, "/100x/v.1/posts/a.jpg.webp", "/100x/v.1/posts/"+word+".jpg"))[1].Err
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", word, err, want)
		}
		var busy *origin.Busy
		if word == "busy" && (!errors.As(err, &busy) || busy.RetryAfter != 7*time.Second) {
			t.Errorf("busy: %v does not say when to come again", err)
		}
	}
	server.Close()
	err = b.Make(t.Context(), refsOf(t, "/100x/v.1/posts/a.jpg.webp"))[0].Err
	if !errors.Is(err, origin.ErrUnavailable) {
		t.Errorf("without a balancer: %v", err)
	}
}

func TestBalancer_Make_BoundsHeaders(t *testing.T) {
	signer, err := imageurl.NewDevSigner()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("a", 100<<10))
	}))
	defer server.Close()
	b := newBalancer(server.URL, signer, time.Minute)
	defer b.close()
	out := b.Make(t.Context(), refsOf(t, "/100x/v.1/posts/a.jpg.webp"))
	if !errors.Is(out[0].Err, origin.ErrUnavailable) {
		t.Errorf("%+v", out)
	}
}
