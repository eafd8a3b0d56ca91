package events_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/prefetch/events"
	"github.com/novasocial/imagetier/prefetch/profile"
)

// A gateway that does not know the service behind it reports the paths that it served, without post
// ids.
func TestReader_ParseEvent_PagePostsNeedNoID(t *testing.T) {
	links, err := profile.NewLinks()
	if err != nil {
		t.Fatal(err)
	}
	r := &events.Reader{Links: links, Profiles: profile.BuiltIn()}
	const body = `{"type":"feed.page","data":{"profile":"avatar","posts":[{"image":{"source":"posts","name":"a.jpg","version":"v.0"}}]}}`
	e, err := r.ParseEvent([]byte(body))
	if err != nil || len(e.Posts) != 1 || e.Posts[0].Image == nil || len(e.Posts[0].Image.Tags) != 0 ||
		e.Posts[0].ID != "" {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := r.ParseEvent([]byte(strings.Replace(body, "feed.page", "post.published", 1))); err == nil {
		t.Error("a post that is published needs no id")
	}
}

// The paths of a page are verified one by one, and the error names the first bad one.
func TestReader_ParseEvent_PagePaths(t *testing.T) {
	links, err := profile.NewLinks()
	if err != nil {
		t.Fatal(err)
	}
	signer, err := imageurl.NewDevSigner()
	if err != nil {
		t.Fatal(err)
	}
	r := &events.Reader{Links: links, Profiles: profile.BuiltIn(), Path: signer.Parse}
	page := func(kind string, paths ...string) []byte {
		return fmt.Appendf(nil, `{"type":%q,"data":{"paths":["%s"]}}`, kind, strings.Join(paths, `","`))
	}
	good := []string{"/i/_/440x/v.1/posts/b.jpg.webp", "/i/_/32x32-cover/v.1/posts/a.jpg.jpg"}
	e, err := r.ParseEvent(page("feed.page", good...))
	if err != nil || len(e.Paths) != 2 || e.Paths[0].String() != "/440x/v.1/posts/b.jpg.webp" {
		t.Errorf("%v, %v", e.Paths, err)
	}
	for want, body := range map[string][]byte{
		"data.paths[1]: ":                        page("feed.page", good[0], "/i/k1.x/440x/v.1/posts/b.jpg.webp"),
		"data.paths[2]: ":                        page("feed.page", good[0], good[1], "/i/_/044x/v.1/posts/b.jpg.webp"),
		"data.paths[0]: clients negotiate":       page("feed.page", "/i/_/440x/v.1/posts/b.jpg.auto"),
		"data.paths: only feed.page":             page("post.published", good...),
		"data.paths: it has more than 200 items": page("feed.page", slices.Repeat(good[:1], 201)...),
		"data.posts: at least one post":          []byte(`{"type":"feed.page","data":{"paths":[]}}`),
		"a JSON number is not expected here":     []byte(`{"type":"feed.page","data":{"paths":[1]}}`),
	} {
		if _, err := r.ParseEvent(body); !errors.Is(err, events.ErrEvent) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
