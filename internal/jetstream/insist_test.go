package jetstream

import (
	"context"
	"errors"
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
