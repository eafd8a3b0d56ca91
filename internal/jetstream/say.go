package jetstream

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
)

// Say publishes data to all nodes that listen to a subject. Delivery is not guaranteed, and nothing
// is stored.
func (b *Bus) Say(subject string, data []byte) {
	if s, err := b.session(); err == nil {
		_ = s.conn.Publish("imagetier.say."+subject, data)
	}
}

// Listen calls heard with everything that Say publishes to a subject until ctx is done. It returns nil.
func (b *Bus) Listen(ctx context.Context, subject string, heard func([]byte)) error {
	for ctx.Err() == nil {
		s, err := b.wait(ctx)
		if err != nil {
			return nil
		}
		b.mu.Lock()
		changed := b.changed
		b.mu.Unlock()
		sub, err := s.conn.Subscribe("imagetier.say."+subject, func(m *nats.Msg) { heard(m.Data) })
		if err == nil {
			select {
			case <-ctx.Done():
			case <-changed:
			}
			_ = sub.Unsubscribe() // fails if the connection is closed
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(firstRetry):
		}
	}
	return nil
}
