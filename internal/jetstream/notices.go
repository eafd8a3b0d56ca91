package jetstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrUseless marks a notice that can never be accepted: it is dropped.
var ErrUseless = errors.New("notification is not usable")

// Notices calls take with each message that S3 servers publish on NoticeSubject, one after another,
// until ctx is done; then it returns nil. A message is removed if take returns nil or ErrUseless,
// and redelivered to any node with the same id otherwise. An embedded server is not reachable from
// outside: then Notices only waits.
func (b *Bus) Notices(ctx context.Context, take func(ctx context.Context, id string, data []byte) error) error {
	if b.cfg.URL == "" {
		<-ctx.Done()
		return nil
	}
	b.repeat(ctx, noticeName, func(s *session) error { return b.notices(ctx, s, take) })
	return nil
}

// notices reads messages until an error.
func (b *Bus) notices(ctx context.Context, s *session, take func(context.Context, string, []byte) error) error {
	stream, err := b.stream(ctx, s.js, noticeStream(b.cfg))
	if err != nil {
		return err
	}
	consumer, err := ask(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
		return stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
			Durable: "notices", AckPolicy: jetstream.AckExplicitPolicy, AckWait: b.cfg.AckWait,
			MaxDeliver: -1, MaxAckPending: 100,
		})
	})
	if err != nil {
		return fmt.Errorf("consumer of %s: %w", noticeName, err)
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
		id := fmt.Sprintf("s3 notice %d of %d", meta.Sequence.Stream, meta.Timestamp.UnixNano())
		switch err = take(ctx, id, msg.Data()); {
		case err == nil:
			err = msg.DoubleAck(ctx)
		case errors.Is(err, ErrUseless):
			b.cfg.Log.Warn("S3 notification dropped", "subject", NoticeSubject, "err", err)
			err = msg.Term()
		default:
			b.cfg.Log.Warn("S3 notification not accepted, will be redelivered", "subject", NoticeSubject, "err", err)
			err = msg.NakWithDelay(noticePause)
		}
		if err != nil {
			return err
		}
	}
}
