package metrics

import (
	"testing"
	"time"
)

func TestSet_Prefetch_CountsEventsAndJobs(t *testing.T) {
	set, scrape := newSet(t, Config{})
	set.Event("post.published", "accepted")
	set.Event("post.published", "repeated")
	set.Event("whatever a client sends", "forged")
	set.Event("unknown", "what")
	for _, outcome := range []string{"ok", "ok", "again", "dead", "invalid"} {
		set.Job(outcome)
	}
	set.Path("made")
	set.Lead(2 * time.Second)
	set.PurgedByTag()
	set.Prefetch(func() PrefetchStats {
		return PrefetchStats{
			Lag:         1500 * time.Millisecond,
			Waiting:     7,
			DeadLetters: 2,
			Available:   true,
			Used:        PrefetchAmount{40, 2 * time.Second, 4000},
			Wasted:      PrefetchAmount{5, time.Second / 4, 500},
		}
	})
	wantLines(t, scrape(),
		`imagetier_prefetch_events_total{outcome="accepted",type="post.published"} 1`,
		`imagetier_prefetch_events_total{outcome="repeated",type="post.published"} 1`,
		`imagetier_prefetch_events_total{outcome="forged",type="other"} 1`,
		`imagetier_prefetch_events_total{outcome="other",type="unknown"} 1`,
		`imagetier_prefetch_events_total{outcome="accepted",type="s3.removed"} 0`,
		`imagetier_prefetch_jobs_total{outcome="ok"} 2`,
		`imagetier_prefetch_jobs_total{outcome="skipped"} 0`,
		`imagetier_prefetch_paths_total{outcome="made"} 1`,
		`imagetier_prefetch_paths_total{outcome="late"} 0`,
		`imagetier_prefetch_dead_total 2`,
		`imagetier_prefetch_lead_seconds_bucket{le="5"} 1`,
		`imagetier_prefetch_lag_seconds 1.5`,
		`imagetier_prefetch_queue_jobs 7`,
		`imagetier_prefetch_dead_letters 2`,
		`imagetier_prefetch_queue_up 1`,
		`imagetier_prefetch_used_total 40`,
		`imagetier_prefetch_wasted_total 5`,
		`imagetier_prefetch_used_cpu_seconds_total 2`,
		`imagetier_prefetch_wasted_cpu_seconds_total 0.25`,
		`imagetier_prefetch_used_bytes_total 4000`,
		`imagetier_prefetch_wasted_bytes_total 500`,
		`imagetier_purges_total{kind="tag"} 1`,
	)
}
