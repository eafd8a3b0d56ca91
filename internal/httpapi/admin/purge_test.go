package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/httpapi"
	"github.com/novasocial/imagetier/internal/httpapi/apitest"
	"github.com/novasocial/imagetier/internal/httpapi/problem"
)

// targetsOf returns n targets named by their number.
func targetsOf(n int) (targets []imagecache.Target) {
	for i := range n {
		targets = append(
			targets,
			imagecache.Target{Original: imagecache.Original{Source: "posts", Name: strings.Repeat("a", i+1)}},
		)
	}
	return targets
}

// A node of the fleet is down, so each purge waits 5 s for it.
func TestChange_ManyTargets_RunTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		total, err := change(t.Context(), problem.ErrPurge, targetsOf(2*changesAtOnce),
			func(context.Context, imagecache.Target) (imagecache.Receipt, error) {
				time.Sleep(5 * time.Second)
				return imagecache.Receipt{Variants: 2, Originals: 1, Bytes: 10, Applied: 1, Known: 2}, nil
			})
		want := imagecache.Receipt{
			Variants:  4 * changesAtOnce,
			Originals: 2 * changesAtOnce,
			Bytes:     20 * changesAtOnce,
			Applied:   1,
			Known:     2,
		}
		if err != nil || total.Variants != want.Variants || total.Originals != want.Originals ||
			total.Bytes != want.Bytes || total.Applied != 1 || total.Known != 2 {
			t.Errorf("%+v, %v, want %+v", total, err, want)
		}
		if took := time.Since(begun); took != 10*time.Second {
			t.Errorf("took %s, want 10 s", took)
		}
	})
}

// The answer comes in time, and counts what was not done.
func TestChange_Deadline_ReportsFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const targets = 20 * changesAtOnce
		var done atomic.Int64
		begun := time.Now()
		_, err := change(t.Context(), problem.ErrPurge, targetsOf(targets),
			func(context.Context, imagecache.Target) (imagecache.Receipt, error) {
				time.Sleep(5 * time.Second)
				done.Add(1)
				return imagecache.Receipt{}, nil
			})
		if took := time.Since(begun); took > changeTime+5*time.Second {
			t.Errorf("took %s, more than the deadline", took)
		}
		row, want := problem.Of(err), fmt.Sprintf("%d of %d failed", targets-done.Load(), targets)
		if detail := row.DetailOf(err); row.Code != "purge_incomplete" || !strings.HasPrefix(detail, want) {
			t.Errorf("%s: %s, want %s", row.Code, detail, want)
		}
	})
}

func TestChange_Failure_DoesNotStopOthers(t *testing.T) {
	var done atomic.Int64
	_, err := change(t.Context(), problem.ErrTakedown, targetsOf(3),
		func(_ context.Context, target imagecache.Target) (imagecache.Receipt, error) {
			if target.Original.Name == "aa" {
				return imagecache.Receipt{}, errors.New("disk at /secret is read-only")
			}
			done.Add(1)
			return imagecache.Receipt{Variants: 1}, nil
		})
	row := problem.Of(err)
	if row.Code != "takedown_incomplete" || !strings.HasPrefix(row.DetailOf(err), "1 of 3 failed") || done.Load() != 2 {
		t.Errorf("%s: %s, %d done", row.Code, row.DetailOf(err), done.Load())
	}
	if !strings.Contains(err.Error(), "/secret") {
		t.Errorf("the log does not say why: %v", err)
	}
}

func TestChanges_Post_RecordedWithReceipt(t *testing.T) {
	cfg := privateConfig(t, &store{})
	cfg.Dev, cfg.Changes = true, &httpapi.RecentChanges{}
	h := New(cfg)
	signed := apitest.SignBytes(t, "/640x480/v.1/posts/cat.jpg.webp")
	for _, body := range []string{
		`{"path":"` + signed + `","soft":true}`, `{"tag":"post:p1"}`, `{"tag":"post:none","x":1}`,
	} {
		r := httptest.NewRequest(http.MethodPost, "/v1/purge", strings.NewReader(body))
		r.Host = "localhost"
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	got := cfg.Changes.Newest()
	if len(got) != 2 || got[0].Tag != "post:p1" || got[0].Kind != "purge" || got[0].Targets != 2 ||
		got[0].Receipt.Variants != 6 || !got[0].At.Equal(apitest.Noon) {
		t.Fatalf("recorded: %+v", got)
	}
	if got[1].Kind != "soft_purge" || got[1].Path != "/640x480/v.1/posts/cat.jpg.webp" {
		t.Errorf("recorded: %+v", got[1])
	}
}
