package service

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/prefetch/events"
	"github.com/novasocial/imagetier/prefetch/profile"
	"github.com/novasocial/imagetier/prefetch/warmer"
	"github.com/novasocial/imagetier/resize"
)

// The answer to a published post lists the variants that will be made, or the reason why none will.
func TestService_Planned_SpecsOrReason(t *testing.T) {
	v, err := imageurl.ParseVersion("v.1")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1e9, 0)
	open := func(mode warmer.Mode) *Service {
		return &Service{cfg: Config{Mode: mode}, watch: warmer.NewWatch(warmer.WatchConfig{
			Mode: mode, Profiles: profile.BuiltIn(), Now: func() time.Time { return now },
		})}
	}
	image := func(name string) *events.Image {
		img, err := profile.NewImage("posts", name, v)
		if err != nil {
			t.Fatal(err)
		}
		return &events.Image{Image: img}
	}
	e := events.Event{Type: events.PostPublished, Profile: "feed", Posts: []events.Post{
		{ID: "p1", Audience: 120000, Image: image("a.jpg")}, {ID: "p2", Audience: 3, Image: image("b.jpg")}, {ID: "p3"},
	}}
	s := open(warmer.Adaptive)
	got := s.planned(e)
	if len(got) != 3 || !slices.Contains(got[0].Specs, "1320x.webp") || len(got[0].Specs) < 3 ||
		!slices.Equal(got[1].Specs, []string{"1320x.webp"}) || !strings.Contains(got[2].Reason, "--image-prefix") {
		t.Errorf("planned %+v", got)
	}
	for i := range 50 { // posts of three followers are never requested
		img := image(strings.Repeat("x", i+1))
		s.watch.Made(img.Image, "feed", warmer.ReachOf(3), []resize.Spec{})
	}
	now = now.Add(7 * time.Hour)
	s.watch.Counts()
	if got := s.planned(e)[1]; len(got.Specs) != 0 || !strings.Contains(got.Reason, "too rarely") {
		t.Errorf("planned %+v", got)
	}
	if got := open(warmer.None).planned(e)[0]; len(got.Specs) != 0 || !strings.Contains(got.Reason, "--warm none") {
		t.Errorf("planned %+v", got)
	}
	if got := s.planned(events.Event{Type: events.PostDeleted, Posts: e.Posts}); got != nil {
		t.Errorf("planned for deleted posts: %+v", got)
	}
}
