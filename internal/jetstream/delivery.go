package jetstream

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Delivery is a delivered message. Exactly one of its methods must be called, once. Until then
// progress acks are sent, so that the message is not redelivered.
type Delivery struct {
	Data     []byte
	Priority int
	Queued   time.Time // when it was put, or first put if it was a dead letter
	Attempt  int       // from 1

	bus *Bus
	msg jetstream.Msg

	mu    sync.Mutex
	beat  *time.Timer // guarded by mu
	ended bool        // guarded by mu
}

func (d *Delivery) keepAlive() {
	every := d.bus.cfg.AckWait / 3
	d.mu.Lock()
	defer d.mu.Unlock()
	d.beat = time.AfterFunc(every, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if !d.ended {
			_ = d.msg.InProgress() // if it is lost, the message is redelivered, which is allowed
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

// Done removes the message from the queue, durably.
func (d *Delivery) Done(ctx context.Context) error {
	d.end()
	if err := d.msg.DoubleAck(ctx); err != nil {
		return fmt.Errorf("remove the message from the queue: %w: %w", ErrUnavailable, err)
	}
	return nil
}

// Again returns the message for another attempt, after Config.Backoff or after, whichever is
// longer. After the last attempt it buries it. reason is shown to operators.
func (d *Delivery) Again(ctx context.Context, reason string, after time.Duration) (buried bool, err error) {
	if d.Attempt >= d.bus.cfg.Attempts {
		return true, d.Bury(ctx, reason)
	}
	d.end()
	pause := d.bus.cfg.Backoff[min(d.Attempt, len(d.bus.cfg.Backoff))-1]
	if err := d.msg.NakWithDelay(max(pause, after)); err != nil {
		return false, fmt.Errorf("return the message for another attempt: %w: %w", ErrUnavailable, err)
	}
	return false, nil
}

// Release returns the message for redelivery, because the process ends. The attempt counts.
func (d *Delivery) Release() error {
	d.end()
	if err := d.msg.Nak(); err != nil {
		return fmt.Errorf("release the message: %w: %w", ErrUnavailable, err)
	}
	return nil
}

// Headers of a dead letter. A retried one keeps queuedHeader.
const (
	reasonHeader   = "Imagetier-Reason"
	attemptsHeader = "Imagetier-Attempts"
	priorityHeader = "Imagetier-Priority"
	queuedHeader   = "Imagetier-Queued"
)

// maxReason is the maximum length of a stored reason, in bytes.
const maxReason = 500

// Bury makes the message a dead letter. It is stored as one before it is removed from the queue. If
// the process dies in between, it is redelivered and buried again under the same id, so there is
// only one letter.
func (d *Delivery) Bury(ctx context.Context, reason string) error {
	d.end()
	s, err := d.bus.session()
	if err != nil {
		return err
	}
	meta, err := d.msg.Metadata()
	if err != nil {
		return err
	}
	reason = strings.ToValidUTF8(strings.Join(strings.Fields(reason), " "), "?")
	msg := &nats.Msg{Subject: deadSubject, Data: d.Data, Header: nats.Header{}}
	msg.Header.Set(reasonHeader, strings.ToValidUTF8(reason[:min(len(reason), maxReason)], ""))
	msg.Header.Set(attemptsHeader, strconv.Itoa(d.Attempt))
	msg.Header.Set(priorityHeader, strconv.Itoa(d.Priority))
	msg.Header.Set(queuedHeader, d.Queued.UTC().Format(time.RFC3339Nano))
	id := fmt.Sprintf("%d.%d", meta.Sequence.Stream, meta.Timestamp.UnixNano())
	if _, err := s.js.PublishMsg(ctx, msg, jetstream.WithMsgID(id)); err != nil {
		return putError("bury", err)
	}
	return d.Done(ctx)
}
