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

// Headers of a dead letter.
const (
	reasonHeader   = "Imagetier-Reason"
	attemptsHeader = "Imagetier-Attempts"
	priorityHeader = "Imagetier-Priority"
	queuedHeader   = "Imagetier-Queued"
)

// maxReason is the maximum length of a stored reason, in bytes.
const maxReason = 500

// Bury makes it a dead letter. It is stored as one before it leaves the queue; when the
// process dies in between, the next who gets it buries it again, under the same id, which
// leaves one letter.
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
