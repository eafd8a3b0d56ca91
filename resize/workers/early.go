package workers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/novasocial/imagetier/resize"
	"github.com/novasocial/imagetier/resize/workers/wire"
)

// An early job (resize.Job.Early) is sent to its child while its original arrives. So that no origin, slow or hostile,
// can occupy the children:
//
//   - it begins only on an idle child while no live or page job waits (queue.pushEarly), and no child is
//     started for it;
//   - its original must be complete within the job's predicted CPU time and Config.EarlyPatience more, or it is
//     given up: the child is free again as soon as its decoder needs another byte;
//   - it is tried once: whatever goes wrong, the caller makes the job again with the complete original.
//
// The child sends nothing before the parent says that the original is complete and verified.

// earlyPiece is how many bytes are sent together, so that neither process wakes for every packet.
const earlyPiece = 64 << 10

// doEarly runs an early job, and ends it before it renews the child: its requests wait for another job.
func (w *worker) doEarly(ctx context.Context, j *job) {
	c := w.children[j.family]
	if c == nil || c.watermarks != w.watermarks.Load() {
		j.end(fmt.Errorf("%w: no child is ready", resize.ErrNotEarly))
		return
	}
	err := w.exchange(j, time.Now().Add(w.cfg.Timeout))
	if err == nil || j.missing == 0 || errors.Is(err, resize.ErrNotEarly) {
		j.end(err)
	} else {
		j.end(fmt.Errorf("%w: %w", resize.ErrNotEarly, err))
	}
	var refusal *wire.JobError
	switch {
	case err == nil, errors.As(err, &refusal), errors.Is(err, resize.ErrNotEarly):
		w.failures = 0
		w.recycle(ctx, j.family)
	case errors.Is(err, errNotSent):
	case errors.Is(err, errAbandoned):
		w.replace(j.family, Abandoned, "early resize job abandoned by its caller")
	case errors.Is(err, errDeadline):
		w.replace(j.family, Deadline, "early resize job timed out")
	case errors.Is(err, wire.ErrProtocol):
		w.replace(j.family, InvalidAnswer, "resize process failed during an early job", "err", err)
	default:
		w.replace(j.family, c.fate(), "resize process failed during an early job", "err", err)
	}
}

// feed sends the original of j as it arrives, and its end. givenUp is why the child must not use it.
func (c *child) feed(j *job) (givenUp, err error) {
	late := time.NewTimer(j.cost.cpu + c.patience)
	defer late.Stop()
	for sent := 0; ; {
		p := j.Early.Progress()
		if n := len(p.Bytes); n > sent && (n >= sent+earlyPiece || p.Ended) {
			if err := c.sendPiece(j, p.Bytes[sent:]); err != nil {
				return nil, err
			}
			sent = n
			continue
		}
		switch {
		case p.Usable:
			return nil, wire.WriteEnd(c.in, true)
		case p.Ended:
			return resize.ErrNotEarly, wire.WriteEnd(c.in, false)
		}
		select {
		case <-p.Change:
		case <-c.dead:
			return nil, errGone
		case <-j.ctx.Done():
			return resize.ErrNotEarly, wire.WriteEnd(c.in, false)
		case <-late.C:
			err := fmt.Errorf("%w: the rest is late: %w", resize.ErrNotEarly, context.DeadlineExceeded)
			return err, wire.WriteEnd(c.in, false)
		}
	}
}

// sendPiece sends the next bytes of the original of j, unless its caller has left.
func (c *child) sendPiece(j *job, piece []byte) error {
	j.using.Lock()
	defer j.using.Unlock()
	if j.ctx.Err() != nil {
		return nil
	}
	return wire.WritePiece(c.in, piece)
}
