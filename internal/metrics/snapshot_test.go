package metrics

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/circuit"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/resize"
)

func TestSet_Snapshot_Requests(t *testing.T) {
	set, _ := newSet(t, Config{})
	set.Observe(Observation{
		Status:   200,
		Outcome:  imagecache.Outcome{Detail: imagecache.Memory},
		Format:   "webp",
		Duration: 80 * time.Microsecond,
		Bytes:    1000,
	})
	set.Observe(Observation{
		Status:   206,
		Outcome:  imagecache.Outcome{Detail: imagecache.Memory},
		Format:   "jpg",
		Duration: 30 * time.Second,
		Bytes:    500,
	})
	set.Observe(Observation{Status: 404, Outcome: imagecache.Outcome{Detail: imagecache.Negative}, Format: "jpg"})
	snap := set.Snapshot()

	if want := (map[string]int64{"200": 1, "206": 1, "404": 1}); !reflect.DeepEqual(snap.ByStatus, want) {
		t.Errorf("by status: %v, not %v", snap.ByStatus, want)
	}
	memory := snap.ByCache["memory"]
	if memory.Count != 2 || memory.Bytes != 1500 || memory.Seconds < 30 {
		t.Errorf("requests served from memory: %+v", memory)
	}
	bounds := BucketBounds()
	if len(memory.Buckets) != len(bounds)+1 {
		t.Fatalf("%d buckets for %d bounds", len(memory.Buckets), len(bounds))
	}
	if memory.Buckets[1] != 1 || bounds[1] != .0001 || memory.Buckets[len(bounds)] != 1 {
		t.Errorf("80 µs and 30 s are in the buckets %v of %v", memory.Buckets, bounds)
	}
	if len(snap.ByCache) != int(imagecache.NumDetails) {
		t.Errorf("%d of %d cache labels are there", len(snap.ByCache), imagecache.NumDetails)
	}
}

func TestSet_Snapshot_WrappedParts(t *testing.T) {
	set, _ := newSet(t, Config{})
	if snap := set.Snapshot(); snap.Workers != nil || len(snap.Tiers) != 0 || len(snap.Origins) != 0 {
		t.Errorf("an empty Set has parts: %+v", snap)
	}
	tier := set.Tier("memory", fakeTier{}, func() TierStats { return TierStats{Bytes: 5, Budget: 10, State: "off"} })
	_, _ = tier.Get(t.Context(), imagecache.KeyOf(testRef(t)))
	_, _ = set.Tier("disk", fakeTier{errDisk}, nil).Get(t.Context(), imagecache.KeyOf(testRef(t)))
	src := set.Source(
		"posts",
		sourceFunc(func(context.Context) (*origin.Object, error) { return nil, origin.ErrDenied }),
	)
	set.Source("avatars", src)
	set.Breaker("posts", func() circuit.State { return circuit.Open })
	_, _ = src.Open(t.Context(), "cat.jpg", origin.Cond{})
	set.Workers(func() WorkerStats { return WorkerStats{Queued: map[string]int{"live": 2}} })
	r := set.Resizer(resizerFunc(func([]resize.Spec) ([]resize.Image, error) { return nil, resize.ErrBusy }))
	_, _ = resize.Make(t.Context(), r, nil, resize.Spec{Format: resize.JPEG}, resize.Spec{Format: resize.PNG})

	snap := set.Snapshot()
	want := []TierSnapshot{
		{Name: "memory", Hits: 1, TierStats: TierStats{Bytes: 5, Budget: 10, State: "off"}},
		{Name: "disk", Misses: 1, Errors: 1},
	}
	if !reflect.DeepEqual(snap.Tiers, want) {
		t.Errorf("tiers: %+v, not %+v", snap.Tiers, want)
	}
	if len(snap.Origins) != 2 || snap.Origins[0].Name != "posts" || snap.Origins[0].Breaker != "open" ||
		snap.Origins[0].Requests["denied"] != 1 || snap.Origins[1].Breaker != "" || len(snap.Origins[1].Requests) != 0 {
		t.Errorf("origins: %+v", snap.Origins)
	}
	if snap.Workers == nil || snap.Workers.Queued["live"] != 2 {
		t.Errorf("workers: %+v", snap.Workers)
	}
	if want := (map[string]int64{"busy": 2}); !reflect.DeepEqual(snap.Resizes, want) {
		t.Errorf("resizes: %v, not %v", snap.Resizes, want)
	}
}
