package jetstream

import (
	"context"
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// idleConsumer answers as the client does while a stream is idle.
type idleConsumer struct {
	jetstream.Consumer
	answers []error // the result of each call; nil is a message
}

func (c *idleConsumer) Next(...jetstream.FetchOpt) (jetstream.Msg, error) {
	err := c.answers[0]
	c.answers = c.answers[1:]
	return nil, err
}

func TestNextMessage_IdleStream_Continues(t *testing.T) {
	c := &idleConsumer{answers: []error{nats.ErrTimeout, nats.ErrTimeout, nil}}
	if _, err := nextMessage(t.Context(), c); err != nil || len(c.answers) > 0 {
		t.Errorf("%v with %d answers left", err, len(c.answers))
	}
	c = &idleConsumer{answers: []error{nats.ErrTimeout, jetstream.ErrConsumerDeleted}}
	if _, err := nextMessage(t.Context(), c); !errors.Is(err, jetstream.ErrConsumerDeleted) {
		t.Errorf("a deleted consumer: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := nextMessage(ended, &idleConsumer{answers: []error{nats.ErrTimeout}}); err == nil {
		t.Error("no error though ctx is done")
	}
}
