package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// lookBack is how far before its first start a batcher of a fleet's log begins, to include entries
// that were appended while this node was connecting.
const lookBack = time.Minute

// Batcher receives a log in batches, once for all nodes.
type Batcher struct {
	Name string // shared by the batchers of all nodes; one token of a subject
	Most int    // maximum entries of a batch
	// Do handles a batch: the entries so far, oldest first. The first done of them are finished;
	// the others are redelivered to any node after the pause again, in which this node takes no
	// batch.
	Do func(ctx context.Context, batch []Entry) (done int, again time.Duration)
}

// Batch delivers each entry of a log to one of the nodes that call it with that Batcher's name. If
// a node dies during a batch, the batch is redelivered to any node after Config.AckWait. It returns
// nil when ctx is done.
func (b *Bus) Batch(ctx context.Context, l Log, to Batcher) error {
	b.repeat(ctx, l.stream, func(s *session) error { return b.batch(ctx, s, l, to) })
	return nil
}

func (b *Bus) batch(ctx context.Context, s *session, l Log, to Batcher) error {
	consumer, err := b.batcher(ctx, s, l, to)
	if err != nil {
		return err
	}
	for {
		first, err := nextMessage(ctx, consumer)
		if err != nil {
			return err
		}
		messages := []jetstream.Msg{first}
		if to.Most > 1 {
			more, err := consumer.FetchNoWait(to.Most - 1)
			if err != nil {
				return err
			}
			for msg := range more.Messages() {
				messages = append(messages, msg)
			}
		}
		entries := make([]Entry, len(messages))
		for i, msg := range messages {
			meta, err := msg.Metadata()
			if err != nil {
				return err
			}
			entries[i] = Entry{Data: msg.Data(), At: meta.Timestamp}
		}
		working := b.keepAlive(messages)
		done, again := to.Do(ctx, entries)
		working()
		for i, msg := range messages {
			if i < done {
				err = msg.DoubleAck(context.WithoutCancel(ctx)) // bounded by the library's timeout
			} else {
				err = msg.NakWithDelay(again)
			}
			if err != nil {
				return err
			}
		}
		if done < len(messages) {
			pause(ctx, again)
		}
	}
}

// batcher opens or creates the consumer that all nodes share.
func (b *Bus) batcher(ctx context.Context, s *session, l Log, to Batcher) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	stream, err := b.stream(ctx, s.js, l.config())
	if err != nil {
		return nil, err
	}
	consumer, err := ask(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
		consumer, err := stream.Consumer(ctx, to.Name)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			cfg := jetstream.ConsumerConfig{
				Durable: to.Name, AckPolicy: jetstream.AckExplicitPolicy, AckWait: b.cfg.AckWait,
				MaxDeliver: -1, MaxAckPending: 10 * to.Most,
			}
			if l != Hooks { // other logs: do not replay a week of old entries
				since := time.Now().Add(-lookBack)
				cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &since
			}
			consumer, err = stream.CreateConsumer(ctx, cfg)
			if errors.Is(err, jetstream.ErrConsumerExists) { // another node has created it
				consumer, err = stream.Consumer(ctx, to.Name)
			}
		}
		return consumer, err
	})
	if err != nil {
		return nil, fmt.Errorf("consumer %s of %s: %w", to.Name, l.stream, err)
	}
	return consumer, nil
}

// keepAlive sends progress acks for messages until its result is called.
func (b *Bus) keepAlive(messages []jetstream.Msg) (end func()) {
	ended, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(b.cfg.AckWait / 3)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
			}
			for _, msg := range messages {
				_ = msg.InProgress() // if it is lost, the message is redelivered, which is allowed
			}
		}
	}()
	return func() {
		close(ended)
		<-gone
	}
}
