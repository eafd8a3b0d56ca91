package service

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/internal/jetstream"
	"github.com/novasocial/imagetier/prefetch/profile"
)

func TestQueueError(t *testing.T) {
	for from, to := range map[error]error{
		jetstream.ErrFull:        ErrQueueFull,
		jetstream.ErrTooLarge:    ErrTooLarge,
		jetstream.ErrUnavailable: ErrUnavailable,
		errors.New("EIO"):        ErrUnavailable,
	} {
		if err := queueError(fmt.Errorf("put: %w", from)); !errors.Is(err, to) || !errors.Is(err, from) {
			t.Errorf("%v becomes %v, want %v", from, err, to)
		}
	}
	if queueError(nil) != nil {
		t.Error("nil becomes an error")
	}
}

// fakeMetrics drops everything.
type fakeMetrics struct{}

func (fakeMetrics) Event(string, string) {}
func (fakeMetrics) Job(string)           {}
func (fakeMetrics) Lead(time.Duration)   {}
func (fakeMetrics) Path(string)          {}

// Without secrets events are refused, except on a developer's machine.
func TestService_Event_WithoutSecrets(t *testing.T) {
	profiles, err := profile.New(map[string][]string{"feed": {"440x.webp"}})
	if err != nil {
		t.Fatal(err)
	}
	open := func(dev bool) *Service {
		t.Helper()
		dir := t.TempDir()
		bus, err := jetstream.New(jetstream.Config{Dir: filepath.Join(dir, "queue")})
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(Config{Bus: bus, Metrics: fakeMetrics{}, Dir: dir, Profiles: profiles, Dev: dev})
		if err != nil {
			t.Fatal(err)
		}
		s.started = time.Time{} // do not wait for the queue, which does not run
		return s
	}
	body := func() ([]byte, error) { return []byte(`{"type":"post.deleted","data":{"posts":[{"id":"p1"}]}}`), nil }
	if _, err := open(false).Event(t.Context(), http.Header{}, body); !errors.Is(err, ErrForged) ||
		!strings.Contains(err.Error(), "--webhook-secrets") {
		t.Errorf("%v", err)
	}
	if taken, err := open(true).Event(t.Context(), http.Header{}, body); taken.Kind != "post.deleted" ||
		!errors.Is(err, ErrUnavailable) {
		t.Errorf("%s, %v", taken.Kind, err)
	}
}
