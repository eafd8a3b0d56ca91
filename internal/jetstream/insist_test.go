package jetstream

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// A leader that is killed never answers the request that it had received.
func TestInsist_Retries(t *testing.T) {
	full := errors.New("full")
	for _, c := range []struct {
		name    string
		silent  int // tries that are not answered
		answer  error
		gone    time.Duration // when the caller leaves; 0: never
		asked   int
		took    time.Duration
		wrapped error
	}{
		{"answered", 0, nil, 0, 1, 0, nil},
		{"refused", 0, full, 0, 1, 0, full},
		{"a leader gone", 1, nil, 0, 2, tryTime, nil},
		{"a leader gone, and then refused", 2, full, 0, 3, 2 * tryTime, full},
		{"never", 9, nil, 0, tries, tries * tryTime, ErrUnavailable},
		{"a caller that leaves", 9, nil, time.Second, 1, time.Second, context.Canceled},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			if c.gone > 0 {
				time.AfterFunc(c.gone, leave)
			}
			began, asked := time.Now(), 0
			err := insist(ctx, 0, func(ctx context.Context) error {
				if asked++; asked <= c.silent {
					<-ctx.Done()
					return ctx.Err()
				}
				return c.answer
			})
			if asked != c.asked || time.Since(began) != c.took ||
				!errors.Is(err, c.wrapped) || (err == nil) != (c.wrapped == nil) {
				t.Errorf("%s: asked %d times in %v: %v", c.name, asked, time.Since(began), err)
			}
		})
	}
	if worst := tries * tryTime; worst >= 5*time.Second {
		t.Errorf("senders of events wait %v", worst)
	}
}

// A cluster does not answer requests about a stream that another node is creating just then.
func TestBus_Run_ClusterLeavesFirstRequestsUnanswered(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		silent string // the subject of the API whose first request is not answered
		use    func(ctx context.Context, url string) error
	}{
		{"a stream of the queue", "STREAM.INFO." + queueName, openQueue},
		{"a consumer of the queue", "CONSUMER.CREATE." + queueName + ".warmers-0." + subject(0), openQueue},
		{"a log at start", "STREAM.INFO." + Purges.stream, func(ctx context.Context, url string) error {
			_, err := PeekLog(ctx, url, Purges)
			return err
		}},
		{"the nodes", "STREAM.INFO.KV_" + memberBucket, func(ctx context.Context, url string) error {
			return withBus(ctx, url, func(b *Bus) error {
				_, err := b.memberStore(ctx)
				return err
			})
		}},
		{"a followed log", "STREAM.INFO." + Tags.stream, func(ctx context.Context, url string) error {
			return withBus(ctx, url, func(b *Bus) error {
				begun := errors.New("begun")
				err := b.Follow(ctx, Tags, Follower{Begin: func(LogState) (uint64, error) { return 0, begun }})
				if errors.Is(err, begun) {
					return nil
				}
				return fmt.Errorf("follow: %w", err)
			})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url, asked := fakeCluster(t, c.silent)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := c.use(ctx, url); err != nil {
				t.Errorf("%v after %d requests", err, asked())
			}
			if n := asked(); n < 2 {
				t.Errorf("%s was requested %d times, want a second time", c.silent, n)
			}
		})
	}
}

func openQueue(ctx context.Context, url string) error {
	return withBus(ctx, url, func(*Bus) error { return nil })
}

// withBus calls use with a Bus that is ready.
func withBus(ctx context.Context, url string, use func(*Bus) error) error {
	b, err := New(Config{URL: url, Replicas: 1})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	err = b.Ready(ctx)
	if err == nil {
		err = use(b)
	}
	stop()
	return errors.Join(err, <-ended)
}
