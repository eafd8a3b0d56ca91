package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrUseless marks a notice that can never be taken in: it is dropped.
var ErrUseless = errors.New("the notice is of no use")

// Notices hands what S3 servers publish on NoticeSubject to take, one after the other, until
// ctx is done, and returns nil then. What take has returned nil for is gone, and so is what
// it calls ErrUseless; anything else is handed out again, to whichever node asks first. id
// is the same each time. An embedded server is not reachable from outside: then Notices waits.
func (b *Bus) Notices(ctx context.Context, take func(ctx context.Context, id string, data []byte) error) error {
	if b.cfg.URL == "" {
		<-ctx.Done()
		return nil
	}
	for ctx.Err() == nil {
		s, err := b.wait(ctx)
		if err != nil {
			return nil
		}
		err = b.notices(ctx, s, take)
		if ctx.Err() != nil {
			return nil
		}
		b.cfg.Log.Warn("notices of S3 servers cannot be read: trying again", "subject", NoticeSubject, "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(noticePause):
		}
	}
	return nil
}

// notices reads until something fails.
func (b *Bus) notices(ctx context.Context, s *session, take func(context.Context, string, []byte) error) error {
	stream, err := b.stream(ctx, s.js, noticeStream(b.cfg))
	if err != nil {
		return err
	}
	consumer, err := stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: "notices", AckPolicy: jetstream.AckExplicitPolicy, AckWait: b.cfg.AckWait,
		MaxDeliver: -1, MaxAckPending: 100,
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
			b.cfg.Log.Warn("a notice of an S3 server is dropped", "subject", NoticeSubject, "err", err)
			err = msg.Term()
		default:
			b.cfg.Log.Warn("a notice of an S3 server cannot be taken in now", "subject", NoticeSubject, "err", err)
			err = msg.NakWithDelay(noticePause)
		}
		if err != nil {
			return err
		}
	}
}
