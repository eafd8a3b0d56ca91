package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/circuit"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/origin/dirorigin"
	"github.com/novasocial/imagetier/origin/origintest"
	"github.com/novasocial/imagetier/resize"
)

var errDisk = errors.New("input/output error")

// fakeTier answers everything with its error.
type fakeTier struct{ err error }

func (t fakeTier) Get(context.Context, imagecache.Key) (imagecache.Image, error) {
	return imagecache.Image{}, t.err
}
func (t fakeTier) Put(context.Context, imagecache.Key, imagecache.Image) error { return t.err }
func (t fakeTier) Purge(context.Context, imagecache.Target) (imagecache.Removed, error) {
	return imagecache.Removed{Images: 3}, t.err
}

func (fakeTier) Count(context.Context, imagecache.Target) (imagecache.Removed, error) {
	return imagecache.Removed{}, nil
}

func TestSet_Tier_CountsHitsMissesAndErrors(t *testing.T) {
	set, scrape := newSet(t, Config{})
	key := imagecache.KeyOf(testRef(t))
	hit := set.Tier("memory", fakeTier{}, nil)
	miss := set.Tier("disk", fakeTier{imagecache.ErrMiss}, nil)
	broken := set.Tier("originals", fakeTier{errDisk}, nil)
	for range 2 {
		if _, err := hit.Get(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		// The cache compares with ==.
		if _, err := miss.Get(t.Context(), key); err != imagecache.ErrMiss {
			t.Fatalf("a miss is %v, not ErrMiss itself", err)
		}
	}
	_, err := broken.Get(t.Context(), key)
	if !errors.Is(err, errDisk) {
		t.Fatal(err)
	}
	if err := broken.Put(t.Context(), key, imagecache.Image{}); !errors.Is(err, errDisk) {
		t.Fatal(err)
	}
	if removed, err := broken.Purge(t.Context(), imagecache.Target{Key: key}); !errors.Is(err, errDisk) ||
		removed.Images != 3 {
		t.Fatal(removed, err)
	}
	wantLines(t, scrape(),
		`imagetier_cache_hits_total{tier="memory"} 2`,
		`imagetier_cache_misses_total{tier="memory"} 0`,
		`imagetier_cache_misses_total{tier="disk"} 2`,
		`imagetier_cache_errors_total{op="get",tier="disk"} 0`,
		`imagetier_cache_misses_total{tier="originals"} 1`,
		`imagetier_cache_errors_total{op="get",tier="originals"} 1`,
		`imagetier_cache_errors_total{op="put",tier="originals"} 1`,
		`imagetier_cache_errors_total{op="purge",tier="originals"} 1`,
		`imagetier_stage_duration_seconds_count{stage="lookup"} 5`,
		`imagetier_stage_duration_seconds_count{stage="store"} 1`,
	)
}

func TestSet_Tier_IgnoresCanceledCaller(t *testing.T) {
	set, scrape := newSet(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	tier := set.Tier("disk", fakeTier{fmt.Errorf("read: %w", context.Canceled)}, nil)
	_, _ = tier.Get(ctx, imagecache.KeyOf(testRef(t)))
	wantLines(t, scrape(), `imagetier_cache_errors_total{op="get",tier="disk"} 0`)
}

func TestSet_Tier_ReadsStatsAtEachScrape(t *testing.T) {
	set, scrape := newSet(t, Config{})
	stats := TierStats{Bytes: 100, Budget: 1000, Entries: 4, Evictions: map[string]int64{"space": 0, "age": 0}}
	set.Tier("memory", fakeTier{}, func() TierStats { return stats })
	set.Tier("disk", fakeTier{}, func() TierStats { return TierStats{Bytes: 7} })
	wantLines(
		t,
		scrape(),
		`imagetier_cache_evictions_total{reason="space",tier="memory"} 0`,
		`imagetier_cache_degraded{tier="memory"} 0`,
	)
	stats.Bytes, stats.Evictions["space"], stats.State = 90, 5, "off"
	wantLines(t, scrape(),
		`imagetier_cache_degraded{tier="memory"} 1`,
		`imagetier_cache_degraded{tier="disk"} 0`,
		`imagetier_cache_bytes{tier="memory"} 90`,
		`imagetier_cache_bytes{tier="disk"} 7`,
		`imagetier_cache_entries{tier="memory"} 4`,
		`imagetier_cache_evictions_total{reason="space",tier="memory"} 5`,
	)
}

func TestSet_Tier_CountsInternalFaults(t *testing.T) {
	set, scrape := newSet(t, Config{})
	disk := set.Tier("disk", fakeTier{errDisk}, func() TierStats {
		return TierStats{Faults: map[string]int64{"verify": 2, "put": 3}}
	})
	_ = disk.Put(t.Context(), imagecache.KeyOf(testRef(t)), imagecache.Image{})
	wantLines(t, scrape(),
		`imagetier_cache_errors_total{op="verify",tier="disk"} 2`,
		`imagetier_cache_errors_total{op="put",tier="disk"} 3`, // not 4
		`imagetier_cache_errors_total{op="get",tier="disk"} 0`,
	)
	if n := set.Snapshot().Tiers[0].Errors; n != 5 {
		t.Errorf("a snapshot counts %d faults, not 5", n)
	}
}

func TestSet_Tier_PanicsOnDuplicateName(t *testing.T) {
	set, _ := newSet(t, Config{})
	set.Tier("disk", fakeTier{}, nil)
	defer func() {
		if recover() == nil {
			t.Error("the second one was taken")
		}
	}()
	set.Tier("disk", fakeTier{}, nil)
}

func TestSet_Source_Conformance(t *testing.T) {
	origintest.Run(t, func(t *testing.T) origintest.Origin {
		dir := t.TempDir()
		src, err := dirorigin.Open(dirorigin.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { src.Close() })
		set, _ := newSet(t, Config{})
		return origintest.Origin{
			Source: set.Source("posts", src),
			Put: func(t testing.TB, name string, body []byte) {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, body, 0o644); err != nil {
					t.Fatal(err)
				}
			},
			Delete: func(t testing.TB, name string) { os.Remove(filepath.Join(dir, name)) },
			Date: func(t testing.TB, name string, modified time.Time) {
				if err := os.Chtimes(filepath.Join(dir, name), modified, modified); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

// sourceFunc is a Source.
type sourceFunc func(ctx context.Context) (*origin.Object, error)

func (f sourceFunc) Open(ctx context.Context, _ string, _ origin.Cond) (*origin.Object, error) {
	return f(ctx)
}

func (f sourceFunc) Head(ctx context.Context, _ string) (origin.Metadata, error) {
	obj, err := f(ctx)
	if err != nil {
		return origin.Metadata{}, err
	}
	return obj.Metadata, nil
}

// streamed is an Object whose body is not in memory.
func streamed(body io.Reader) *origin.Object {
	return &origin.Object{Metadata: origin.Metadata{Size: -1}, Body: io.NopCloser(body)}
}

func TestSet_Source_RequestEndsWithBody(t *testing.T) {
	set, scrape := newSet(t, Config{})
	src := set.Source("posts", sourceFunc(func(context.Context) (*origin.Object, error) {
		return streamed(strings.NewReader("picture")), nil
	}))
	obj, err := src.Open(t.Context(), "cat.jpg", origin.Cond{})
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, scrape(), `imagetier_origin_requests_total{outcome="ok",source="posts"} 0`)
	if body, err := io.ReadAll(obj.Body); err != nil || string(body) != "picture" {
		t.Fatal(string(body), err)
	}
	obj.Body.Close()
	obj.Body.Close()
	wantLines(t, scrape(),
		`imagetier_origin_requests_total{outcome="ok",source="posts"} 1`,
		`imagetier_origin_requests_total{outcome="unread",source="posts"} 0`,
		`imagetier_origin_duration_seconds_count{source="posts"} 1`,
		`imagetier_stage_duration_seconds_count{stage="origin"} 1`,
	)
}

func TestSet_Source_OutcomeLabels(t *testing.T) {
	cut := fmt.Errorf("read: %w", origin.ErrUnavailable)
	fails := func(err error) sourceFunc {
		return func(context.Context) (*origin.Object, error) { return nil, fmt.Errorf("get: %w", err) }
	}
	for label, src := range map[string]sourceFunc{
		"ok": func(context.Context) (*origin.Object, error) {
			return origin.NewWhole([]byte("picture")), nil
		},
		"not_modified": fails(&origin.NotModified{}),
		"not_found":    fails(origin.ErrNotFound),
		"changed":      fails(origin.ErrChanged),
		"denied":       fails(origin.ErrDenied),
		"name":         fails(origin.ErrName),
		"too_large":    fails(origin.ErrTooLarge),
		"busy":         fails(&origin.Busy{}),
		"timeout":      fails(fmt.Errorf("%w: %w", origin.ErrUnavailable, context.DeadlineExceeded)),
		"canceled":     fails(context.Canceled),
		"unavailable":  func(context.Context) (*origin.Object, error) { return streamed(failing{cut}), nil },
		"unread": func(context.Context) (*origin.Object, error) {
			return streamed(strings.NewReader("much too large")), nil
		},
		"error": fails(errors.New("something new")),
	} {
		t.Run(label, func(t *testing.T) {
			set, scrape := newSet(t, Config{})
			_, _ = origin.ReadAll(t.Context(), set.Source("posts", src), "cat.jpg", origin.Cond{}, 10)
			wantLines(t, scrape(), fmt.Sprintf(`imagetier_origin_requests_total{outcome=%q,source="posts"} 1`, label))
		})
	}
}

// failing is a reader that fails.
type failing struct{ err error }

func (r failing) Read([]byte) (int, error) { return 0, r.err }

func TestSet_Source_CountsHead(t *testing.T) {
	set, scrape := newSet(t, Config{})
	var fault error
	src := set.Source(
		"posts",
		sourceFunc(func(context.Context) (*origin.Object, error) { return streamed(nil), fault }),
	)
	for _, fault = range []error{nil, origin.ErrNotFound} {
		_, _ = src.Head(t.Context(), "cat.jpg")
	}
	wantLines(t, scrape(),
		`imagetier_origin_requests_total{outcome="ok",source="posts"} 1`,
		`imagetier_origin_requests_total{outcome="not_found",source="posts"} 1`,
	)
}

func TestSet_Source_CanceledIsNotUnread(t *testing.T) {
	set, scrape := newSet(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	src := set.Source("posts", sourceFunc(func(context.Context) (*origin.Object, error) {
		return streamed(strings.NewReader("picture")), nil
	}))
	obj, err := src.Open(ctx, "cat.jpg", origin.Cond{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	obj.Body.Close()
	wantLines(t, scrape(), `imagetier_origin_requests_total{outcome="canceled",source="posts"} 1`)
}

func TestSet_Source_CountsPanic(t *testing.T) {
	set, scrape := newSet(t, Config{})
	src := set.Source("posts", sourceFunc(func(context.Context) (*origin.Object, error) { panic("nil map") }))
	func() {
		defer func() { _ = recover() }()
		_, _ = src.Open(t.Context(), "cat.jpg", origin.Cond{})
	}()
	wantLines(t, scrape(), `imagetier_origin_requests_total{outcome="error",source="posts"} 1`)
}

func TestSet_Source_CountsEachTry(t *testing.T) { synctest.Test(t, testSourceCountsEachTry) }

func testSourceCountsEachTry(t *testing.T) {
	set, scrape := newSet(t, Config{})
	tries := 0
	src := origin.Retry(set.Source("posts", sourceFunc(func(context.Context) (*origin.Object, error) {
		if tries++; tries == 1 {
			return nil, origin.ErrUnavailable
		}
		return streamed(strings.NewReader("picture")), nil
	})), origin.RetryConfig{})
	if _, err := origin.ReadAll(t.Context(), src, "cat.jpg", origin.Cond{}, 100); err != nil {
		t.Fatal(err)
	}
	wantLines(t, scrape(),
		`imagetier_origin_requests_total{outcome="unavailable",source="posts"} 1`,
		`imagetier_origin_requests_total{outcome="ok",source="posts"} 1`)
}

// resizerFunc is a Resizer.
type resizerFunc func(specs []resize.Spec) ([]resize.Image, error)

func (f resizerFunc) Resize(_ context.Context, job resize.Job) error {
	images, err := f(job.All())
	if err != nil {
		return err
	}
	for i, img := range images {
		job.Made(i, img)
	}
	return nil
}

func TestSet_Resizer_CountsEachVariant(t *testing.T) {
	var err error
	set, scrape := newSet(t, Config{})
	r := set.Resizer(resizerFunc(func(specs []resize.Spec) ([]resize.Image, error) {
		return make([]resize.Image, len(specs)), err
	}))
	webp, jpg := resize.Spec{Format: resize.WebP}, resize.Spec{Format: resize.JPEG}
	if images, err := resize.Make(t.Context(), r, nil, webp, webp, jpg); err != nil || len(images) != 3 {
		t.Fatal(images, err)
	}
	for _, err = range []error{resize.ErrCorrupt, resize.ErrBusy,
		fmt.Errorf("%w: %w", resize.ErrTimeout, context.DeadlineExceeded)} {
		_, _ = resize.Make(t.Context(), r, nil, jpg)
	}
	_, _ = resize.Make(t.Context(), r, nil, resize.Spec{Format: resize.Auto})
	wantLines(t, scrape(),
		`imagetier_resize_jobs_total{format="webp",outcome="ok"} 2`,
		`imagetier_resize_jobs_total{format="jpg",outcome="ok"} 1`,
		`imagetier_resize_jobs_total{format="jpg",outcome="corrupt"} 1`,
		`imagetier_resize_jobs_total{format="jpg",outcome="busy"} 1`,
		`imagetier_resize_jobs_total{format="jpg",outcome="timeout"} 1`,
		`imagetier_resize_jobs_total{format="other",outcome="timeout"} 1`,
		`imagetier_stage_duration_seconds_count{stage="resize"} 5`,
	)
}

func TestSet_WorkersAndBreaker_ReadAtEachScrape(t *testing.T) {
	set, scrape := newSet(t, Config{})
	state := circuit.Closed
	set.Breaker("posts", func() circuit.State { return state })
	set.Breaker("avatars", func() circuit.State { return circuit.HalfOpen })
	set.Workers(func() WorkerStats {
		return WorkerStats{
			Queued:   map[string]int{"live": 4, "warm": 0},
			Workers:  map[string]int{"idle": 1, "busy": 2},
			Restarts: map[string]int64{"killed": 3},
		}
	})
	set.Waited(3 * time.Millisecond)
	state = circuit.Open
	wantLines(t, scrape(),
		`imagetier_origin_breaker_state{source="posts"} 2`,
		`imagetier_origin_breaker_state{source="avatars"} 1`,
		`imagetier_resize_queue_depth{lane="live"} 4`,
		`imagetier_resize_queue_depth{lane="warm"} 0`,
		`imagetier_resize_workers{state="busy"} 2`,
		`imagetier_resize_worker_restarts_total{reason="killed"} 3`,
		`imagetier_stage_duration_seconds_bucket{stage="queue",le="0.005"} 1`,
	)
}
