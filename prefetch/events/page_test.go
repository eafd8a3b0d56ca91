package events_test

import (
	"strings"
	"testing"

	"github.com/novasocial/imagetier/prefetch/events"
	"github.com/novasocial/imagetier/prefetch/profile"
)

// A gateway before a service that it does not know tells what it handed out, and knows no ids.
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
