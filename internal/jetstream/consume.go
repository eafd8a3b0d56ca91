package jetstream

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// nextMessage waits for the next message of a consumer, or for ctx. A request that ends after 30 s
// without a message is repeated.
func nextMessage(ctx context.Context, consumer jetstream.Consumer) (jetstream.Msg, error) {
	for {
		msg, err := consumer.Next(jetstream.FetchContext(ctx))
		if err == nil || ctx.Err() != nil || !errors.Is(err, nats.ErrTimeout) {
			return msg, err
		}
	}
}

// repeat calls read, which reads a stream until it fails, with the current session until ctx is done, with a pause
// after each failure.
func (b *Bus) repeat(ctx context.Context, stream string, read func(*session) error) {
	for ctx.Err() == nil {
		s, err := b.wait(ctx)
		if err != nil {
			return
		}
		err = read(s)
		if ctx.Err() != nil {
			return
		}
		b.cfg.Log.Warn("reading a stream failed, retrying", "stream", stream, "err", err)
		pause(ctx, noticePause)
	}
}

// noticePause is the pause after a fault before entries and notices are read again.
const noticePause = 2 * time.Second

// pause waits for d or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
