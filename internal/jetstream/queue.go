package jetstream

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// NumPriorities is how many priorities there are: 0 is taken first, whatever waits in the
// others.
const NumPriorities = 3

// Message is what is put.
type Message struct {
	Priority int // 0 to NumPriorities-1
	Data     []byte
}

// lookAgain is how often Next looks whether something has come that this process did not
// put: another node's messages, and those whose pause is over.
const lookAgain = time.Second

// Put queues messages under an id, and returns when all of them are stored durably.
// repeated reports that the id was accepted before, within Config.Window: nothing is
// queued then. Without an id ("") nothing is a repetition.
//
// After an error some of the messages may be queued; the same call again, with the same id,
// completes it and queues none of them twice. The error is ErrFull, ErrTooLarge,
// ErrUnavailable or ctx's, wrapped.
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
		digest = rand.Text() // for the second try below
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
	return false, insist(ctx, 0, func(ctx context.Context) error {
		if _, err := s.js.PublishMsg(ctx, &nats.Msg{Subject: seenSubject + digest}); err != nil {
			return putError("note the id", err)
		}
		return nil
	})
}

// How long the server may take for one thing, and how much longer for each message of many. Three
// tries, because what a leader was asked for that is gone now is never answered: its successor is
// asked again, and all of it is done within the five seconds that senders of events are promised.
const (
	tries       = 3
	tryTime     = 1500 * time.Millisecond
	messageTime = 10 * time.Millisecond
)

// insist does what can be done twice until it is answered, extra longer each time. The error is
// ErrUnavailable if it never is.
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

// Seen reports whether the id was accepted before, within Config.Window. The error is Put's.
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

// putAll publishes all messages and waits for each to be stored. Those that are, under that digest, are
// not stored again.
func (b *Bus) putAll(ctx context.Context, s *session, digest string, messages []Message) error {
	acks := make([]jetstream.PubAckFuture, 0, len(messages))
	for i, m := range messages {
		msg := &nats.Msg{
			Subject: subject(min(max(m.Priority, 0), NumPriorities-1)),
			Data:    m.Data,
			Header:  nats.Header{},
		}
		msg.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("%s.%d", digest, i))
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

// putError sorts what the server says. A stream that is full has the same code as one
// whose disk fails; the text tells.
func putError(doing string, err error) error {
	var api *jetstream.APIError
	kind := ErrUnavailable
	switch {
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w", doing, err)
	case errors.Is(err, nats.ErrMaxPayload):
		kind = ErrTooLarge
	case errors.As(err, &api) && api.ErrorCode == 10054:
		kind = ErrTooLarge
	case errors.As(err, &api) && (strings.Contains(api.Description, "maximum bytes exceeded") ||
		strings.Contains(api.Description, "maximum messages exceeded")):
		kind = ErrFull
	}
	return fmt.Errorf("%s: %w: %w", doing, kind, err)
}

// Delivery is a message that was handed out. One of its methods has to be called, once;
// until then the queue gets progress acks, so that it does not redeliver the message.
type Delivery struct {
	Data     []byte
	Priority int
	Queued   time.Time // when it was put
	Attempt  int       // from 1

	bus *Bus
	msg jetstream.Msg

	mu    sync.Mutex
	beat  *time.Timer // guarded by mu
	ended bool        // guarded by mu
}

// Next waits for the next message, or for ctx. Those of the first priority come first. One
// that was handed out Config.Attempts times, and never came back, is buried here: its
// worker has died of it each time.
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
				b.cfg.Log.Warn("cannot bury a message of the queue", "err", err)
			}
			continue
		}
		if err != nil {
			b.cfg.Log.Debug("cannot read the queue", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-b.put:
		case <-time.After(lookAgain):
		}
	}
}

// take returns what waits now, nil if nothing does.
func (b *Bus) take(s *session) (*Delivery, error) {
	for priority, consumer := range s.consumers {
		batch, err := consumer.FetchNoWait(1)
		if err != nil {
			return nil, err
		}
		for msg := range batch.Messages() {
			meta, err := msg.Metadata()
			if err != nil {
				return nil, err
			}
			select { // where there is one there may be more, for others that wait
			case b.put <- struct{}{}:
			default:
			}
			return &Delivery{
				Data: msg.Data(), Priority: priority, Queued: meta.Timestamp, Attempt: int(meta.NumDelivered),
				bus: b, msg: msg,
			}, nil
		}
		if err := batch.Error(); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (d *Delivery) keepAlive() {
	every := d.bus.cfg.AckWait / 3
	d.mu.Lock()
	defer d.mu.Unlock()
	d.beat = time.AfterFunc(every, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if !d.ended {
			_ = d.msg.InProgress() // lost: it is handed out again, which is allowed
			d.beat.Reset(every)
		}
	})
}

func (d *Delivery) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	if d.beat != nil {
		d.beat.Stop()
	}
}

// Done takes it out of the queue, durably.
func (d *Delivery) Done(ctx context.Context) error {
	d.end()
	if err := d.msg.DoubleAck(ctx); err != nil {
		return fmt.Errorf("take it out of the queue: %w: %w", ErrUnavailable, err)
	}
	return nil
}

// Again puts it back for another attempt, after Config.Backoff or after, if that is longer;
// or buries it if this attempt was its last. reason is for people.
func (d *Delivery) Again(ctx context.Context, reason string, after time.Duration) (buried bool, err error) {
	if d.Attempt >= d.bus.cfg.Attempts {
		return true, d.Bury(ctx, reason)
	}
	d.end()
	pause := d.bus.cfg.Backoff[min(d.Attempt, len(d.bus.cfg.Backoff))-1]
	if err := d.msg.NakWithDelay(max(pause, after)); err != nil {
		return false, fmt.Errorf("put it back into the queue: %w: %w", ErrUnavailable, err)
	}
	return false, nil
}

// Release returns the message for redelivery, because the process ends. The attempt counts.
func (d *Delivery) Release() error {
	d.end()
	if err := d.msg.Nak(); err != nil {
		return fmt.Errorf("give it back to the queue: %w: %w", ErrUnavailable, err)
	}
	return nil
}

// Stats of a queue.
type Stats struct {
	Waiting int       // messages, those being worked on included
	Bytes   int64     // that they take
	Oldest  time.Time // when the oldest of them was put; zero if there is none
	Dead    int       // dead letters
}

// Stats asks the server.
func (b *Bus) Stats(ctx context.Context) (Stats, error) {
	s, err := b.session()
	if err != nil {
		return Stats{}, err
	}
	queue, err := s.queue.Info(ctx)
	if err != nil {
		return Stats{}, fmt.Errorf("ask for the state of the queue: %w: %w", ErrUnavailable, err)
	}
	dead, err := s.dead.Info(ctx)
	if err != nil {
		return Stats{}, fmt.Errorf("ask for the number of dead letters: %w: %w", ErrUnavailable, err)
	}
	stats := Stats{Waiting: int(queue.State.Msgs), Bytes: int64(queue.State.Bytes), Dead: int(dead.State.Msgs)}
	if stats.Waiting > 0 {
		stats.Oldest = queue.State.FirstTime
	}
	return stats, nil
}
