package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/imagecache"
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
			t.Errorf("it took %s", took)
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
			t.Errorf("it took %s", took)
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
