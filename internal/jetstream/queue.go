package jetstream

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Message is an entry of the queue.
type Message struct {
	Priority int // 0 to NumPriorities-1
	Data     []byte
	Queued   time.Time // when it was first queued, for a retried letter; zero: now
}

// lookAgain is how often Next polls for messages that this process did not put: those of other
// nodes, and those whose pause is over.
const lookAgain = time.Second

// Put queues messages under an id, and returns when all of them are stored durably.
// repeated reports that the id was accepted within Config.Window; nothing is queued then. Calls
// without an id ("") are never repetitions.
//
// After an error some of the messages may be queued; repeating the call with the same id queues the
// rest. The error wraps ErrFull, ErrTooLarge, ErrUnavailable or that of ctx.
func (b *Bus) Put(ctx context.Context, id string, messages ...Message) (repeated bool, err error) {
	s, err := b.session()
	if err != nil {
		return false, err
	}
	if seen, err := s.has(ctx, id); seen || err != nil {
		return seen, err
	}
	digest := digestOf(id)
	if id == "" {
		digest = rand.Text() // for the second attempt below
	}
	limit := time.Duration(len(messages)) * messageTime
	err = insist(ctx, limit, func(ctx context.Context) error { return b.putAll(ctx, s, digest, messages) })
	if err != nil {
		return false, err
	}
	select {
	case b.put <- struct{}{}:
	default:
	}
	if id == "" {
		return false, nil
	}
	return s.note(ctx, seenSubject+digest)
}

// note records an id, and reports whether another call has recorded it before: of concurrent calls
// on any nodes, exactly one is the first.
func (s *session) note(ctx context.Context, subject string) (before bool, err error) {
	mine := rand.Text() // distinguishes a retry of this call from another call
	err = insist(ctx, 0, func(ctx context.Context) error {
		_, err := s.js.Publish(ctx, subject, []byte(mine), jetstream.WithExpectLastSequencePerSubject(0))
		if err == nil || !isWrongSequence(err) {
			return putError("note the id", err)
		}
		noted, err := s.seen.GetLastMsgForSubject(ctx, subject)
		if err != nil {
			return putError("note the id", err)
		}
		before = string(noted.Data) != mine
		return nil
	})
	return before, err
}

// Seen reports whether the id was accepted before, within Config.Window. The errors are those of
// Put.
func (b *Bus) Seen(ctx context.Context, id string) (bool, error) {
	s, err := b.session()
	if err != nil {
		return false, err
	}
	return s.has(ctx, id)
}

func (s *session) has(ctx context.Context, id string) (bool, error) {
	if id == "" {
		return false, nil
	}
	seen := false
	err := insist(ctx, 0, func(ctx context.Context) error {
		_, err := s.seen.GetLastMsgForSubject(ctx, seenSubject+digestOf(id))
		switch {
		case err == nil:
			seen = true
			return nil
		case errors.Is(err, jetstream.ErrMsgNotFound):
			return nil
		}
		return putError("look for the id", err)
	})
	return seen, err
}

// putAll publishes all messages and waits until each is stored. Messages that were stored under
// that digest before are not stored again; a message that is given twice is stored once.
func (b *Bus) putAll(ctx context.Context, s *session, digest string, messages []Message) error {
	acks := make([]jetstream.PubAckFuture, 0, len(messages))
	for _, m := range messages {
		msg := &nats.Msg{
			Subject: subject(min(max(m.Priority, 0), NumPriorities-1)),
			Data:    m.Data,
			Header:  nats.Header{},
		}
		// Not its place in the call: a repeated call may have other messages.
		msg.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("%s.%d.%s", digest, m.Priority, digestOf(string(m.Data))))
		if !m.Queued.IsZero() {
			msg.Header.Set(queuedHeader, m.Queued.UTC().Format(time.RFC3339Nano))
		}
		ack, err := s.js.PublishMsgAsync(msg)
		if err != nil {
			return putError("queue", err)
		}
		acks = append(acks, ack)
	}
	for _, ack := range acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			return putError("queue", err)
		case <-ctx.Done():
			return fmt.Errorf("queue: %w", ctx.Err())
		}
	}
	return nil
}

// digestOf makes a subject of an id, which may be any bytes.
func digestOf(id string) string {
	sum := sha256.Sum256([]byte(id))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// Next waits for the next message, or for ctx. Messages of the first priority come first. A message
// that was delivered Config.Attempts times and never acknowledged is buried: its worker has died
// each time.
func (b *Bus) Next(ctx context.Context) (*Delivery, error) {
	for {
		s, err := b.wait(ctx)
		if err != nil {
			return nil, err
		}
		d, err := b.take(s)
		if err == nil && d != nil {
			if d.Attempt <= b.cfg.Attempts {
				d.keepAlive()
				return d, nil
			}
			reason := "it was handed out " + fmt.Sprint(d.Attempt-1) + " times and never came back"
			if err := d.Bury(ctx, reason); err != nil {
				b.cfg.Log.Warn("moving a message to the dead letters failed", "err", err)
			}
			continue
		}
		if err != nil {
			b.cfg.Log.Debug("queue read failed", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-b.put:
		case <-time.After(lookAgain):
		}
	}
}

// take returns a waiting message, or nil and the errors of the priorities that could not be read.
func (b *Bus) take(s *session) (*Delivery, error) {
	var errs []error
	for priority, consumer := range s.consumers {
		batch, err := consumer.FetchNoWait(1)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for msg := range batch.Messages() {
			meta, err := msg.Metadata()
			if err != nil {
				return nil, err
			}
			select { // there may be more, for other waiting calls
			case b.put <- struct{}{}:
			default:
			}
			queued := meta.Timestamp
			if first, err := time.Parse(time.RFC3339Nano, msg.Headers().Get(queuedHeader)); err == nil {
				queued = first
			}
			return &Delivery{
				Data: msg.Data(), Priority: priority, Queued: queued, Attempt: int(meta.NumDelivered),
				bus: b, msg: msg,
			}, nil
		}
		errs = append(errs, batch.Error())
	}
	return nil, errors.Join(errs...)
}

// Stats of a queue.
type Stats struct {
	Waiting int       // messages, those being worked on included
	Bytes   int64     // size of these messages
	Oldest  time.Time // when the oldest of them was put; zero if the queue is empty
	Dead    int       // dead letters
}

// Stats requests the state of the queue from the server.
func (b *Bus) Stats(ctx context.Context) (Stats, error) {
	s, err := b.session()
	if err != nil {
		return Stats{}, err
	}
	queue, err := s.queue.Info(ctx)
	if err != nil {
		return Stats{}, fmt.Errorf("read the state of the queue: %w: %w", ErrUnavailable, err)
	}
	dead, err := s.dead.Info(ctx)
	if err != nil {
		return Stats{}, fmt.Errorf("read the number of dead letters: %w: %w", ErrUnavailable, err)
	}
	stats := Stats{Waiting: int(queue.State.Msgs), Bytes: int64(queue.State.Bytes), Dead: int(dead.State.Msgs)}
	if stats.Waiting > 0 {
		stats.Oldest = queue.State.FirstTime
	}
	return stats, nil
}
