package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Entry is an entry of a log.
type Entry struct {
	Data []byte
	At   time.Time // when it was appended
}

// Share delivers each entry of the purge stream to one of the nodes that call it, for work that is
// done once for all nodes. do returns the pause before the entry is delivered again, 0 for never.
// It returns nil when ctx is done.
func (b *Bus) Share(ctx context.Context, do func(ctx context.Context, e Entry) (again time.Duration)) error {
	b.repeat(ctx, Purges.stream, func(s *session) error { return b.share(ctx, s, do) })
	return nil
}

const shareConsumer = "deleters"

// sharedUpTo returns LogState.Shared. Without a consumer it is 0: Share creates one that begins with the
// first entry.
func sharedUpTo(ctx context.Context, stream jetstream.Stream) (uint64, error) {
	consumer, err := ask(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
		return stream.Consumer(ctx, shareConsumer)
	})
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return 0, nil
	case err != nil:
		return 0, err
	}
	return consumer.CachedInfo().AckFloor.Stream, nil
}

func (b *Bus) share(ctx context.Context, s *session, do func(context.Context, Entry) time.Duration) error {
	stream, err := b.stream(ctx, s.js, Purges.config())
	if err != nil {
		return err
	}
	consumer, err := ask(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
		return stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
			Durable: shareConsumer, AckPolicy: jetstream.AckExplicitPolicy, AckWait: 30 * time.Second,
			MaxDeliver: -1, MaxAckPending: 20_000,
		})
	})
	if err != nil {
		return fmt.Errorf("consumer of %s: %w", Purges.stream, err)
	}
	for {
		msg, err := nextMessage(ctx, consumer)
		if err != nil {
			return err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		if again := do(ctx, Entry{Data: msg.Data(), At: meta.Timestamp}); again > 0 {
			err = msg.NakWithDelay(again)
		} else {
			err = msg.DoubleAck(ctx)
		}
		if err != nil {
			return err
		}
	}
}
