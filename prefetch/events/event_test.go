package events

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/prefetch/profile"
	"github.com/novasocial/imagetier/resize"
)

func reader(t testing.TB) *Reader {
	t.Helper()
	var prefixes []profile.Prefix
	for _, text := range []string{
		"https://cdn.app.example/=posts?version=query:v", "https://tagged.example/=posts?version=etag",
	} {
		p, err := profile.ParsePrefix(text)
		if err != nil {
			t.Fatal(err)
		}
		prefixes = append(prefixes, p)
	}
	links, err := profile.NewLinks(prefixes...)
	if err != nil {
		t.Fatal(err)
	}
	return &Reader{
		Links:    links,
		Profiles: profile.BuiltIn(),
		Known:    func(source string) bool { return source == "posts" },
	}
}

const exampleEvent = `{"type":"post.published","timestamp":"2026-11-22T10:00:00Z",
 "data":{"profile":"feed","posts":[{"id":"p1","audience":120000,
         "image":{"source":"posts","name":"2026/11/abc.jpg","version":"e.9f86"},
         "author":{"id":"u1","avatar":{"url":"https://cdn.app.example/u1.jpg?v=7"}}}]}}`

func TestReader_ParseEvent(t *testing.T) {
	e, err := reader(t).ParseEvent([]byte(exampleEvent))
	if err != nil {
		t.Fatal(err)
	}
	if e.Type != PostPublished || e.Profile != "feed" || e.Time.Year() != 2026 || len(e.Posts) != 1 {
		t.Fatalf("%+v", e)
	}
	p := e.Posts[0]
	if p.ID != "p1" || p.Audience != 120000 || p.Image.String() != "e.9f86/posts/2026/11/abc.jpg" ||
		fmt.Sprint(p.Image.Tags) != "[post:p1]" {
		t.Errorf("%+v %v", p, p.Image)
	}
	if a := p.Author.Avatar; a.String() != "v.7/posts/u1.jpg" || fmt.Sprint(a.Tags) != "[user:u1]" {
		t.Errorf("%+v", a)
	}
	for body, want := range map[string]string{
		`{"type":"post.deleted","data":{"posts":[{"id":"p1"}]}}`:                                                        "post.deleted p1 <nil>",
		`{"type":"feed.page","data":{"profile":"avatar","posts":[{"image":{"source":"posts","name":"a"}}]}}`:            "feed.page  live/posts/a",
		`{"type":"post.updated","data":{"posts":[{"id":"1","image":{"url":"https://tagged.example/a%20b"}}]}}`:          "post.updated 1 live/posts/~YSBi",
		`{"type":"post.published","data":{"posts":[{"id":"1","image":{"url":"https://elsewhere.example/a"}}]}}`:         "post.published 1 <nil>",
		`{"specversion":"1.0","id":"x","source":"/f","type":"post.deleted","data":{"posts":[{"id":"p1","more":true}]}}`: "post.deleted p1 <nil>",
	} {
		e, err := reader(t).ParseEvent([]byte(body))
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		image := "<nil>"
		if img := e.Posts[0].Image; img != nil {
			image = img.String()
		}
		if got := e.Type + " " + e.Posts[0].ID + " " + image; got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
		if img := e.Posts[0].Image; img != nil && img.AskTag != strings.Contains(body, "tagged") {
			t.Errorf("%s: AskTag is %v", body, img.AskTag)
		}
	}
	e, err = reader(
		t,
	).ParseEvent([]byte(`{"type":"user.updated","data":{"user":{"id":"u1","avatar":{"source":"posts","name":"a","version":"v.2"}}}}`))
	if err != nil || e.User.ID != "u1" || e.User.Avatar.Version.Pin() != imageurl.Trusted {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestReader_ParseEvent_ErrorNamesTheField(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat(`{"id":"p"},`, MaxPosts+1), ",")
	post := func(text string) string {
		return `{"type":"post.published","data":{"posts":[{"id":"p0"},` + text + `]}}`
	}
	for body, field := range map[string]string{
		``:   "body",
		`[]`: "body",
		`{"type":"post.deleted","data":{"posts":[{"id":"p1"}]}} x`:                     "body",
		`{"type":"post.deleted","data":{"posts":[{"id":"p1"}],"posts":[{"id":"p2"}]}}`: "body",
		`{"data":{"posts":[]}}`:               "type",
		`{"type":7}`:                          "type",
		`{"type":"post.exploded","data":{}}`:  "type",
		`{"type":"post.deleted"}`:             "data",
		`{"type":"post.deleted","data":null}`: "data",
		`{"type":"post.deleted","timestamp":"yesterday","data":{"posts":[{"id":"1"}]}}`: "body",
		`{"type":"post.deleted","data":{}}`:                                             "data.posts",
		`{"type":"post.deleted","data":{"posts":[` + many + `]}}`:                       "data.posts",
		`{"type":"post.deleted","data":{"posts":[{"id":7}]}}`:                           "data.posts.id",
		`{"type":"post.published","data":{"profile":"none","posts":[{"id":"1"}]}}`:      "data.profile",
		post(`{}`): "data.posts[1].id",
		post(`{"id":"` + strings.Repeat("a", 300) + `"}`):                           "data.posts[1].id",
		post(`{"id":"1","audience":-1}`):                                            "data.posts[1].audience",
		post(`{"id":"1","image":{}}`):                                               "data.posts[1].image.source",
		post(`{"id":"1","image":{"source":"posts"}}`):                               "data.posts[1].image.name",
		post(`{"id":"1","image":{"source":"posts","name":"a","version":"9f86"}}`):   "data.posts[1].image.version",
		post(`{"id":"1","image":{"source":"other","name":"a","version":"v.1"}}`):    "data.posts[1].image.source",
		post(`{"id":"1","image":{"source":"Posts!","name":"a","version":"v.1"}}`):   "data.posts[1].image",
		post(`{"id":"1","image":{"url":"https://cdn.app.example/a/../b"}}`):         "data.posts[1].image.url",
		post(`{"id":"1","image":{"url":"https://cdn.app.example/a","name":"b"}}`):   "data.posts[1].image",
		post(`{"id":"1","image":{"source":"posts","name":"a","tags":["x\u0000"]}}`): "data.posts[1].image.tags[0]",
		post(`{"id":"1","image":{"source":"posts","name":"a","tags":[` +
			strings.Repeat(`"t",`, 16) + `"t"]}}`): "data.posts[1].image.tags",
		post(`{"id":"1","author":{"avatar":{"source":"posts","name":"a"}}}`): "data.posts[1].author.id",
		`{"type":"user.updated","data":{}}`:                                  "data.user",
		`{"type":"user.updated","data":{"user":{}}}`:                         "data.user.id",
	} {
		_, err := reader(t).ParseEvent([]byte(body))
		if !errors.Is(err, ErrEvent) || !strings.HasPrefix(err.Error(), ErrEvent.Error()+": "+field+": ") {
			t.Errorf("%.120s: %v, want %s", body, err, field)
		}
	}
}

func FuzzParseEvent(f *testing.F) {
	f.Add([]byte(exampleEvent))
	f.Add([]byte(`{"type":"user.updated","data":{"user":{"id":"u","avatar":{"url":"https://cdn.app.example/x?v=1"}}}}`))
	f.Add([]byte(`{"type":"post.deleted","data":{"posts":[{"id":"p1"}]}}`))
	r := reader(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := r.ParseEvent(body)
		if err != nil {
			if !errors.Is(err, ErrEvent) {
				t.Fatalf("%v is not ErrEvent", err)
			}
			return
		}
		if len(e.Posts) > MaxPosts || (e.User != nil) != (e.Type == UserUpdated) {
			t.Fatalf("%+v", e)
		}
		for _, p := range e.Posts {
			if p.Image != nil && p.Image.Source != "posts" {
				t.Fatalf("an image of source %q", p.Image.Source)
			}
		}
	})
}

func TestReader_Image_Crop(t *testing.T) {
	for text, want := range map[string]string{
		"":                   "640x.webp",
		"100x50x800x900":     "640x-crop100x50x800x900.webp",
		"crop100x50x800x900": "640x-crop100x50x800x900.webp",
		"0x0x1000x1000":      "640x.webp",
		"0x0x1000x1001":      "data.image.crop: ",
		"1,2,3,4":            "data.image.crop: ",
		"0x0x0x0":            "data.image.crop: ",
	} {
		t.Run(text, func(t *testing.T) {
			img, err := reader(t).Image("data.image", ImageFields{Source: "posts", Name: "a", Crop: text})
			if err != nil {
				if !errors.Is(err, ErrEvent) || !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %s", err, want)
				}
				return
			}
			if got := (resize.Spec{Width: 640, Format: resize.WebP, Crop: img.Crop}).Name(); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
	e, err := reader(t).ParseEvent([]byte(`{"type":"post.published","data":{"posts":[
		{"id":"1","image":{"source":"posts","name":"a","crop":"0x0x500x500"}}]}}`))
	if err != nil || e.Posts[0].Image.Crop != (resize.Crop{Width: 500, Height: 500}) {
		t.Errorf("%+v, %v", e.Posts, err)
	}
}

// A name that the source cannot have is refused with the event, instead of failing later as a job.
func TestReader_ParseEvent_ImpossibleName(t *testing.T) {
	r := reader(t)
	r.CheckName = func(_, name string) error {
		if strings.Contains(name, "..") {
			return errors.New("segment \"..\"")
		}
		return nil
	}
	for image, field := range map[string]string{
		`{"source":"posts","name":"../a.jpg"}`:                           "data.posts[0].image.name: ",
		`{"source":"posts","name":"a/../a.jpg","version":"v.1"}`:         "data.posts[0].image.name: ",
		`{"url":"https://cdn.app.example/a/%2e%2e/a.jpg?v=1"}`:           "data.posts[0].image.url: ",
		`{"source":"posts","name":"fine.jpg","version":"v.1","tags":[]}`: "",
	} {
		_, err := r.ParseEvent([]byte(`{"type":"post.published","data":{"posts":[{"id":"p","image":` + image + `}]}}`))
		if field == "" && err != nil || field != "" && (err == nil || !strings.Contains(err.Error(), field)) {
			t.Errorf("%s: %v, want an error of %q", image, err, field)
		}
	}
}
