package server

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/httpapi/problem"
	"github.com/novasocial/imagetier/internal/jetstream"
	"github.com/novasocial/imagetier/internal/metrics"
	"github.com/novasocial/imagetier/internal/settings"
)

func TestWhatTheQueueSaysIsToldAsTheContractWants(t *testing.T) {
	for from, to := range map[error]error{jetstream.ErrFull: problem.ErrQueueFull, jetstream.ErrTooLarge: problem.ErrQueueTooLarge, jetstream.ErrUnavailable: problem.ErrQueue, errors.New("EIO"): problem.ErrQueue} {
		if err := queued(fmt.Errorf("put: %w", from)); !errors.Is(err, to) || !errors.Is(err, from) {
			t.Errorf("%v becomes %v, want %v", from, err, to)
		}
	}
	if queued(nil) != nil {
		t.Error("nothing becomes an error")
	}
}

// Without secrets nobody can send events, but to a developer's own machine.
func TestEventsWithoutSecretsAreForDevelopersAlone(t *testing.T) {
	open := func(flags ...string) *prefetch {
		t.Helper()
		cfg, _, err := config.Load(config.Input{Input: settings.Input{Environ: append(flags, "IMAGETIER_CACHE_DIR="+filepath.Join(t.TempDir(), "cache"))}})
		if err != nil {
			t.Fatal(err)
		}
		p, err := openPrefetch(cfg, prefetchParts{set: metrics.New(metrics.Config{Registerer: prometheus.NewRegistry()})})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.close() })
		p.started = time.Time{} // nothing is waited for
		return p
	}
	body := func() ([]byte, error) { return []byte(`{"type":"post.deleted","data":{"posts":[{"id":"p1"}]}}`), nil }
	p := open("IMAGETIER_KEYS=k1=" + strings.Repeat("00", 32))
	if _, _, err := p.Event(t.Context(), http.Header{}, body); !errors.Is(err, problem.ErrForged) || !strings.Contains(err.Error(), "--webhook-secrets") {
		t.Errorf("%v", err)
	}
	p = open("IMAGETIER_DEV=true")
	if kind, _, err := p.Event(t.Context(), http.Header{}, body); kind != "post.deleted" || !errors.Is(err, problem.ErrQueue) { // its queue does not run
		t.Errorf("%s, %v", kind, err)
	}
}
