package jetstream

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func words(batch []Entry) (all []string) {
	for _, e := range batch {
		all = append(all, string(e.Data))
	}
	return all
}

func appendAll(t *testing.T, b *Bus, data ...string) {
	t.Helper()
	for _, d := range data {
		if _, err := b.Append(t.Context(), Hooks, "x", d, []byte(d)); err != nil {
			t.Fatal(err)
		}
	}
}

// take waits for the next batch of a batcher.
func take[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(time.Minute):
		t.Fatal("no batch was delivered")
		panic("unreachable")
	}
}

// batching runs do as a batcher until it is ended.
func batching(t *testing.T, b *Bus, do func(context.Context, []Entry) (int, time.Duration)) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Batch(ctx, Hooks, Batcher{Name: "test", Most: 10, Do: do}) }()
	end = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	return end
}

func TestBus_Batch_ReturnsAvailableJobs(t *testing.T) {
	b, _ := run(t, Config{Dir: filepath.Join(t.TempDir(), "queue"), AckWait: 2 * time.Second})
	appendAll(t, b, "a", "b", "c", "a") // the second a has the id of the first
	got := make(chan []string)
	answers := make(chan int)
	end := batching(t, b, func(_ context.Context, batch []Entry) (int, time.Duration) {
		got <- words(batch)
		return take(t, answers), 10 * time.Millisecond
	})
	var seen []string
	first := take(t, got)
	if strings.Join(first, "")[:1] != "a" {
		t.Errorf("the first batch is %q", first)
	}
	answers <- 1
	for len(seen) < 2 { // unfinished entries are redelivered
		batch := take(t, got)
		seen = append(seen, batch...)
		answers <- len(batch)
	}
	slices.Sort(seen)
	if !slices.Equal(seen, []string{"b", "c"}) {
		t.Errorf("then %q, want b and c", seen)
	}
	appendAll(t, b, "d")
	if batch := take(t, got); !slices.Equal(batch, []string{"d"}) {
		t.Errorf("then %q, want d", batch)
	}
	answers <- 1
	end()
}

func TestBus_Batch_LongerThanAckWait(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for redeliveries")
	}
	b, _ := run(t, Config{Dir: filepath.Join(t.TempDir(), "queue"), AckWait: 3 * time.Second}) // also on busy machines
	appendAll(t, b, "slow")
	got := make(chan []string, 10)
	release := make(chan struct{})
	do := func(_ context.Context, batch []Entry) (int, time.Duration) {
		got <- words(batch)
		if string(batch[0].Data) == "slow" {
			<-release
		}
		return len(batch), 0
	}
	batching(t, b, do)
	take(t, got)
	batching(t, b, do) // another node
	time.Sleep(b.cfg.AckWait * 3 / 2)
	appendAll(t, b, "next")
	if batch := take(t, got); !slices.Equal(batch, []string{"next"}) {
		t.Errorf("%q, want next alone", batch)
	}
	close(release)
}

func TestBus_Batch_KeepsUnfinishedAcrossRestart(t *testing.T) {
	cfg := Config{Dir: filepath.Join(t.TempDir(), "queue"), AckWait: time.Second}
	b, stop := run(t, cfg)
	appendAll(t, b, "kept")
	taken := make(chan struct{})
	end := batching(t, b, func(ctx context.Context, _ []Entry) (int, time.Duration) {
		close(taken)
		<-ctx.Done()
		return 0, time.Millisecond
	})
	take(t, taken)
	end()
	stop()
	b, _ = run(t, cfg)
	got := make(chan string, 10)
	batching(t, b, func(_ context.Context, batch []Entry) (int, time.Duration) {
		got <- fmt.Sprint(words(batch), time.Since(batch[0].At) < time.Hour)
		return len(batch), 0
	})
	if batch := take(t, got); batch != "[kept] true" {
		t.Error(batch)
	}
}
