package images

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/httpapi"
	"github.com/novasocial/imagetier/internal/httpapi/apitest"
	"github.com/novasocial/imagetier/resize"
)

func TestLeastUrgent_ParsesPriority(t *testing.T) {
	for line, want := range map[string]bool{
		"u=7": true, "u=7, i": true, "i, u=7": true, "i,\tu=7;x=1": true, "u=1, u=7": true,
		"": false, "u=6": false, "i": false, "u=7, u=3": false, "u=77": false,
		"u=-7": false, "xu=7": false, "u": false, "U=7": false, "u = 7": false,
	} {
		if got := leastUrgent([]string{line}); got != want {
			t.Errorf("Priority: %q is least urgent %v, want %v", line, got, want)
		}
	}
	if leastUrgent(nil) || !leastUrgent([]string{"i", "u=7"}) {
		t.Error("without lines it is, or with several it is not")
	}
}

// lanes notes which requests can wait.
type lanes struct{ background []bool }

func (l *lanes) Get(ctx context.Context, ref imageurl.Ref) (imagecache.Image, imagecache.Outcome, error) {
	l.background = append(l.background, resize.PriorityOf(ctx) == resize.PriorityWarm)
	return imagecache.Image{
			Body:        []byte("x"),
			ContentType: "image/webp",
			ETag:        `"x"`,
		}, imagecache.Outcome{
			Detail: imagecache.Memory,
		}, nil
}

func TestHandler_LeastUrgent_IsBackground(t *testing.T) {
	l := &lanes{}
	h := New(
		Config{
			Signer:  apitest.NewSigner(t),
			Cache:   l,
			Catalog: httpapi.Catalog{Sources: map[string]httpapi.Source{"posts": {}}},
		},
	)
	for _, priority := range []string{"u=7", "u=1, i", ""} {
		r := httptest.NewRequest(
			http.MethodGet,
			"http://localhost"+apitest.NewSigner(t).Path(mustRef(t, "/100x/v.1/posts/a.jpg.webp")),
			nil,
		)
		if priority != "" {
			r.Header.Set("Priority", priority)
		}
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if !slices.Equal(l.background, []bool{true, false, false}) {
		t.Errorf("in the background are %v", l.background)
	}
}

func mustRef(t *testing.T, path string) imageurl.Ref {
	t.Helper()
	ref, err := imageurl.ParseRef(path)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}
