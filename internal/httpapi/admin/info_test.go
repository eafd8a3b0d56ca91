package admin

import (
	"context"
	"encoding/json"
	"errors"
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
	locate := func(url string) (source, name, version string, err error) {
		if url == "https://cdn.app.example/p/7?v=3" {
			return "posts", "7", "v.3", nil
		}
		return "", "", "", errors.New("no image prefix matches")
	}
	return New(Config{
		Signer: signer, Dev: true, Locate: locate,
		Catalog: httpapi.Catalog{Sources: map[string]httpapi.Source{"posts": {}}},
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
				t.Errorf("unexpected request of %s", ref)
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
	type answer struct {
		Image struct{ Source, Name, Version string }
		Width int
		Error struct {
			Status              int
			Code, Title, Detail string
		}
	}
	var all struct{ Infos []answer }
	if err := json.Unmarshal([]byte(got), &all); err != nil || code != http.StatusOK {
		t.Fatalf("%d %s: %v", code, got, err)
	}
	want := []string{
		"posts 7 v.1: 7 0  ", "posts gone live: 0 404 original_not_found Not Found",
		"posts slow v.1: 0 504 timeout Gateway Timeout", "posts down v.1: 0 451 taken_down Unavailable For Legal Reasons",
		"nowhere 7 v.1: 0 400 source_unknown Bad Request", "posts 7 w.1: 0 400 url_invalid Bad Request",
		"posts boom v.1: 0 500 internal Internal Server Error", "posts 8 e.abc: 8 0  ",
	}
	for i, a := range all.Infos {
		text := fmt.Sprintf("%s %s %s: %d %d %s %s",
			a.Image.Source, a.Image.Name, a.Image.Version, a.Width, a.Error.Status, a.Error.Code, a.Error.Title)
		if i >= len(want) || text != want[i] || (a.Error.Status == 0) != (a.Error.Detail == "") {
			t.Errorf("info %d: %s, detail %q; want %q", i, text, a.Error.Detail, want)
		}
	}
	if len(all.Infos) != len(want) {
		t.Errorf("%d infos, want %d", len(all.Infos), len(want))
	}
}

func TestInfo_Post_ReadsURLs(t *testing.T) {
	code, got := postInfo(t, `{"images":[{"url":"https://cdn.app.example/p/7?v=3"},{"url":"https://elsewhere.example/7"},`+
		`{"url":"https://cdn.app.example/p/7","name":"7"}]}`)
	want := `{"infos":[{"image":{"name":"7","source":"posts","url":"https://cdn.app.example/p/7?v=3","version":"v.3"},` +
		`"width":7},`
	if code != http.StatusOK || !strings.HasPrefix(got, want) {
		t.Errorf("%d %s, want %s", code, got, want)
	}
	for _, detail := range []string{"mapped: no image prefix matches.", "both url and one of source"} {
		if !strings.Contains(got, detail) {
			t.Errorf("%s, want %q", got, detail)
		}
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
	if code, got := postInfo(t, images(101)); code != http.StatusRequestEntityTooLarge ||
		!strings.Contains(got, "images: it has more than 100 items.") {
		t.Errorf("101 images: %d %s, want 413", code, got)
	}
	for _, body := range []string{`{}`, `[]`, `{"images":[{"nonsense":1}]}`} {
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
	var all struct{ Infos []struct{ Version string } }
	if err := json.Unmarshal([]byte(got), &all); err != nil || code != http.StatusOK || len(all.Infos) != 4 {
		t.Fatalf("%d %s: %v", code, got, err)
	}
	for i, want := range []string{"e.9f86", "", "e.~YSBi", ""} {
		if all.Infos[i].Version != want {
			t.Errorf("info %d: version %q, want %q", i, all.Infos[i].Version, want)
		}
	}
}
