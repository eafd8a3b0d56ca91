package warmlist

import (
	"encoding/json"
	"strings"
	"testing"
)

// Any line is a path, an image, nothing to warm or an error, and every path begins with /i/.
func FuzzParse(f *testing.F) {
	for _, line := range []string{
		"/i/_/880x/v.1/posts/a.jpg.webp", `1.2.3.4 - - [x] "GET /i/_/a HTTP/1.1" 200 1`,
		`{"path":"/i/x"}`, `{"msg":"request","method":"GET","path":"/i/x","status":200}`,
		`{"source":"a","name":"b"}`, "https://cdn.app.example/x", "# no", `"" 200`, `{"url":"\u0000"}`, "\"GET", "x",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		item, err := parse(line, "feed")
		if err != nil {
			return
		}
		if (item.Path == "") == (item.Image == nil) {
			t.Errorf("%q is %q and %q", line, item.Path, item.Image)
		}
		if item.Path != "" && !strings.HasPrefix(item.Path, "/i/") || item.Image != nil && !json.Valid(item.Image) {
			t.Errorf("%q is %q and %q", line, item.Path, item.Image)
		}
	})
}

func TestParse_KeepsFieldsOfImage(t *testing.T) {
	const line = `{"source":"posts","name":"a.jpg","version":"1","crop":"0x0x5x5","tags":["album:1"]}`
	item, err := parse(line, "feed")
	if err != nil || string(item.Image) != line || item.Profile != "feed" {
		t.Errorf("%+v, %v", item, err)
	}
}
