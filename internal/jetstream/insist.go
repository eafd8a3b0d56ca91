package jetstream

import (
	"context"
	"fmt"
	"time"
)

// Timeouts of one operation, and the addition for each message of a batch. There are three tries,
// because some requests are never answered and must be sent again: those that a leader had received
// when it failed, and those about a stream that another node is creating. All tries together take
// at most the five seconds that are promised to senders of events.
const (
	tries       = 3
	tryTime     = 1500 * time.Millisecond
	messageTime = 10 * time.Millisecond
)

// insist repeats an idempotent call until it is answered, with a timeout that grows by extra. The
// error is ErrUnavailable if it is never answered.
func insist(ctx context.Context, extra time.Duration, do func(context.Context) error) (err error) {
	for range tries {
		try, cancel := context.WithTimeout(ctx, tryTime+extra)
		err = do(try)
		late := try.Err() != nil && ctx.Err() == nil
		cancel()
		if err == nil || !late {
			return err
		}
	}
	return fmt.Errorf("%w: the server does not answer: %w", ErrUnavailable, err)
}

// ask is insist for a call with a result.
func ask[T any](ctx context.Context, do func(context.Context) (T, error)) (answer T, err error) {
	err = insist(ctx, 0, func(ctx context.Context) error {
		answer, err = do(ctx)
		return err
	})
	return answer, err
}
