package metrics

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/resize"
)

func TestHistory_Run_KeepsLastHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set, _ := newSet(t, Config{})
		begun := time.Now()
		set.Workers(func() WorkerStats { // they wait for a moment in each minute
			if time.Since(begun).Round(time.Second)%time.Minute == 7*time.Second {
				return WorkerStats{Queued: map[string]int{"live": 2, "warm": 3}}
			}
			return WorkerStats{}
		})
		h := NewHistory(set)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = h.Run(ctx) }()
		time.Sleep(time.Second)
		for minute := range 90 {
			for range minute {
				set.Observe(Observation{
					Status: 200, Outcome: imagecache.Outcome{Detail: imagecache.Disk}, Duration: 3 * time.Millisecond,
				})
			}
			set.Observe(Observation{Status: 502, Duration: 2 * time.Second})
			set.Observe(Observation{Status: 499})
			set.Observe(Observation{Status: 404})
			time.Sleep(time.Minute)
		}
		points := h.Points(set.Snapshot())
		if len(points) != historyPoints+1 {
			t.Fatalf("%d points", len(points))
		}
		if current := points[historyPoints]; current.Seconds != 1 || !math.IsNaN(current.Latency.P99) {
			t.Errorf("the current interval is %+v", current)
		}
		p := points[historyPoints-2] // the first half of the last minute
		if p.Seconds != 30 || p.ByCache[imagecache.Disk] != 89 || p.Status5xx != 1 || p.Status4xx != 1 ||
			p.Queued != 5 {
			t.Errorf("the last minute is %+v", p)
		}
		if next := points[historyPoints-1]; next.Queued != 0 {
			t.Errorf("the second half of the minute is %+v", next)
		}
		if p.Latency.P50 < .0025 || p.Latency.P50 > .005 || p.Latency.P99 < 1 || p.Latency.P99 > 2.5 {
			t.Errorf("the latency of the last minute is %+v", p.Latency)
		}
		if got := time.Since(points[0].Start); got != time.Hour+time.Second {
			t.Errorf("the first point began %v ago", got)
		}
	})
}

func TestQuantile_Buckets_Interpolates(t *testing.T) {
	counts := make([]int64, len(buckets)+1)
	if got := quantile(.5, counts); !math.IsNaN(got) {
		t.Errorf("quantile without values: got %v, want NaN", got)
	}
	counts[4], counts[5] = 50, 50 // up to 1 ms, up to 2.5 ms
	if got := quantile(.5, counts); got != .001 {
		t.Errorf("median: %v", got)
	}
	if got := quantile(.75, counts); math.Abs(got-.00175) > 1e-9 {
		t.Errorf("third quartile: %v", got)
	}
	counts[len(buckets)] = 1000
	if got := quantile(.99, counts); got != 10 {
		t.Errorf("beyond the last bound: %v", got)
	}
}

func refOf(t testing.TB, name string) imageurl.Ref {
	t.Helper()
	ref, err := imageurl.NewRef("posts", name, imageurl.Version{}, resize.Spec{Width: 64, Format: resize.WebP})
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func TestSet_TopOriginals_EstimatesFromSample(t *testing.T) {
	set, _ := newSet(t, Config{})
	hot, cold := refOf(t, "hot.jpg"), refOf(t, "cold.jpg")
	const requests = 300_000
	for i := range requests {
		ref := hot
		if i%100 == 0 {
			ref = cold
		}
		set.Observe(Observation{Status: 200, Ref: ref, Found: true, Bytes: 10})
	}
	if every := set.top.every.Load(); every < 64 {
		t.Errorf("every %dth request is counted, want at most every 64th", every)
	}
	top, _ := set.TopOriginals(1)
	if len(top) != 1 || top[0].Original.Name != "hot.jpg" ||
		top[0].Requests < requests/2 || top[0].Requests > requests*3/2 || top[0].Bytes != top[0].Requests*10 {
		t.Errorf("top: %+v", top)
	}
}

func TestSet_TopOriginals_IsBounded(t *testing.T) {
	set, _ := newSet(t, Config{})
	hot := refOf(t, "hot.jpg")
	for i := range 3 * topEntries {
		set.top.every.Store(1)
		set.Observe(Observation{Status: 200, Ref: hot, Found: true})
		name := string(rune('a'+i%26)) + time.Duration(i).String()
		set.Observe(Observation{Status: 200, Ref: refOf(t, name), Found: true})
	}
	set.Observe(Observation{Status: 404, Ref: refOf(t, "missing.jpg")})
	if n := len(set.top.now); n > topEntries {
		t.Errorf("%d are counted", n)
	}
	if top, _ := set.TopOriginals(5); top[0].Requests < topEntries || top[0].Original.Name != "hot.jpg" {
		t.Errorf("top: %+v", top[0])
	}
	for range 2 * topInterval {
		set.top.tick()
	}
	if top, _ := set.TopOriginals(5); len(top) != 0 {
		t.Errorf("after an hour: %+v", top)
	}
}
