package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/httpapi"
	"github.com/novasocial/imagetier/internal/httpapi/apitest"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/resize"
)

func infoServer(t *testing.T) http.Handler {
	t.Helper()
	signer, err := imageurl.NewDevSigner()
	if err != nil {
		t.Fatal(err)
	}
	return New(Config{
		Signer: signer, Dev: true, Catalog: httpapi.Catalog{Sources: map[string]httpapi.Source{"posts": {}}},
		Operator: &fakeOperator{info: func(_ context.Context, ref imageurl.Ref) (imagecache.Image, error) {
			switch ref.Name() {
			case "gone":
				return imagecache.Image{}, fmt.Errorf("fill: %w", origin.ErrNotFound)
			case "slow":
				return imagecache.Image{}, context.DeadlineExceeded
			case "down":
				return imagecache.Image{}, imagecache.ErrTakenDown
			case "boom":
				panic("boom")
			}
			if ref.Spec().Shape != resize.ShapeInfo {
				t.Errorf("asked for %s", ref)
			}
			tag := map[string]string{"71": `"9f86"`, "72": `W/"9f86"`, "73": `"a b"`, "74": "bare"}[ref.Name()]
			return imagecache.Image{
				Body:   []byte(`{"width":` + ref.Name() + `}`),
				Origin: imagecache.Validator{ETag: tag},
			}, nil
		}},
	})
}

func postInfo(t *testing.T, body string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(
		t.Context(),
		http.MethodPost,
		"http://localhost/v1/info",
		strings.NewReader(body),
	)
	infoServer(t).ServeHTTP(w, r)
	apitest.Described(t, r, w.Code, w.Header(), w.Body.Bytes())
	var compact any
	if err := json.Unmarshal(w.Body.Bytes(), &compact); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	b, err := json.Marshal(compact)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(b)
}

func TestInfo_Post_KeepsOrderAndIsolatesFailures(t *testing.T) {
	image := func(source, name, version string) string {
		return fmt.Sprintf(`{"source":%q,"name":%q,"version":%q,"tags":["post:p1"]}`, source, name, version)
	}
	code, got := postInfo(t, `{"images":[`+strings.Join([]string{
		image(
			"posts",
			"7",
			"v.1",
		), image("posts", "gone", "live"), image("posts", "slow", "v.1"), image("posts", "down", "v.1"),
		image(
			"nowhere",
			"7",
			"v.1",
		), image("posts", "7", "w.1"), image("posts", "boom", "v.1"), image("posts", "8", "e.abc"),
	}, ",")+`]}`)
	fault := func(status int, title string) string {
		return fmt.Sprintf(`{"error":{"status":%d,"title":%q}}`, status, title)
	}
	want := `{"infos":[{"width":7},` + strings.Join([]string{
		fault(404, "Not Found"), fault(504, "Gateway Timeout"), fault(451, "Unavailable For Legal Reasons"),
		fault(400, "Bad Request"), fault(400, "Bad Request"), fault(500, "Internal Server Error"),
	}, ",") + `,{"width":8}]}`
	if code != http.StatusOK || got != want {
		t.Errorf("%d\n got %s\nwant %s", code, got, want)
	}
}

func TestInfo_Post_AtMostHundredImages(t *testing.T) {
	images := func(n int) string {
		one := `{"source":"posts","name":"7","version":"v.1","tags":["` + strings.Repeat("x", 1000) + `"]}`
		return `{"images":[` + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + `]}`
	}
	if code, got := postInfo(t, images(100)); code != http.StatusOK || strings.Count(got, `"width":7`) != 100 {
		t.Errorf("%d %.200s", code, got)
	}
	for _, body := range []string{images(101), `{}`, `[]`, `{"images":[{"nonsense":1}]}`} {
		if code, _ := postInfo(t, body); code != http.StatusBadRequest {
			t.Errorf("%.60s: %d, want 400", body, code)
		}
	}
	if code, got := postInfo(t, `{"images":[]}`); code != http.StatusOK || got != `{"infos":[]}` {
		t.Errorf("%d %s", code, got)
	}
}

func TestInfo_Post_LiveOriginalNamesVersion(t *testing.T) {
	code, got := postInfo(
		t,
		`{"images":[{"source":"posts","name":"71","version":"live"},{"source":"posts","name":"72","version":"live"},{"source":"posts","name":"73","version":"live"},{"source":"posts","name":"74","version":"live"}]}`,
	)
	if want := `{"infos":[{"version":"e.9f86","width":71},{"width":72},{"version":"e.~YSBi","width":73},{"width":74}]}`; code != http.StatusOK ||
		got != want {
		t.Errorf("%d\n got %s\nwant %s", code, got, want)
	}
}
