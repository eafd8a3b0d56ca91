package service

import (
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/prefetch/profile"
	"github.com/novasocial/imagetier/prefetch/warmer"
	"github.com/novasocial/imagetier/resize"
)

func TestService_Requested_CountsUsed(t *testing.T) {
	profiles, err := profile.New(map[string][]string{"feed": {"440x.webp"}})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := imageurl.ParseRef("/440x/v.1/posts/cat.jpg.webp")
	if err != nil {
		t.Fatal(err)
	}
	hit, made := imagecache.Outcome{Forward: imagecache.Hit}, imagecache.Outcome{Forward: imagecache.URIMiss}
	for name, c := range map[string]struct {
		balancer *balancer
		out      imagecache.Outcome
		used     int64
	}{
		"another node had it made": {&balancer{}, made, 1},
		"another node found it":    {&balancer{}, hit, 0},
		"it was made for a client": {&balancer{}, imagecache.Outcome{Forward: imagecache.URIMiss, Collapsed: true}, 0},
		"no balancer":              {nil, made, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Service{
				balancer: c.balancer,
				watch:    warmer.NewWatch(warmer.WatchConfig{Profiles: profiles, For: time.Hour}),
			}
			s.Requested(ref, c.out, resize.PriorityWarm)
			s.Requested(ref, hit, resize.PriorityLive)
			if used, _ := s.watch.Counts(); used.Variants != c.used {
				t.Errorf("%d used, want %d", used.Variants, c.used)
			}
		})
	}
}
