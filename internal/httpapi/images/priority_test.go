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

func TestPriorityOf_ParsesHeader(t *testing.T) {
	for line, want := range map[string]resize.Priority{
		"u=7": resize.PriorityWarm, "u=7, i": resize.PriorityWarm, "i, u=7": resize.PriorityWarm,
		"i,\tu=7;x=1": resize.PriorityWarm, "u=1, u=7": resize.PriorityWarm,
		"u=7, page": resize.PriorityPage, "page;x,u=7": resize.PriorityPage,
		"": 0, "u=6": 0, "i": 0, "u=7, u=3": 0, "u=77": 0, "page": 0, "u=6, page": 0,
		"u=-7": 0, "xu=7": 0, "u": 0, "U=7": 0, "u = 7": 0,
	} {
		if got := priorityOf([]string{line}); got != want {
			t.Errorf("Priority: %q is %d, want %d", line, got, want)
		}
	}
	if priorityOf(nil) != resize.PriorityLive || priorityOf([]string{"i", "u=7"}) != resize.PriorityWarm {
		t.Error("no line is not live, or the second line is not read")
	}
}

// lanes records which requests had the priority of warming.
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
