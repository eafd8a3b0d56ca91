package fleet

import (
	"fmt"
	"slices"
	"sync"

	"github.com/novasocial/imagetier/internal/jsonlog"
)

// Bounds of the outbox. With 200 bytes per entry they allow hours of purges without a cluster.
const (
	maxOutboxEntries = 100_000
	maxOutboxBytes   = 64 << 20
)

// outbox has the decisions of this node that the streams do not have yet, oldest first. Every
// decision goes through it, so none overtakes an older one.
//
// The file is appended to, emptied when nothing waits, and rewritten only when most of its entries
// were sent. An entry costs one sync, which concurrent entries share.
type outbox struct {
	log *jsonlog.Log[Entry]

	mu         sync.Mutex // guards all below
	waiting    []*outgoing
	maxEntries int
	maxBytes   int64
}

// outgoing is an entry in the outbox; its flags are guarded by outbox.mu.
type outgoing struct {
	Entry
	durable bool
	sent    chan struct{} // closed when the streams have it
}

// sentAlready reports whether the streams have the entry.
func (out *outgoing) sentAlready() bool {
	select {
	case <-out.sent:
		return true
	default:
		return false
	}
}

func openOutbox(cfg jsonlog.Config) (*outbox, error) {
	o := &outbox{maxEntries: maxOutboxEntries, maxBytes: maxOutboxBytes}
	cfg.MaxBytes = 2 * maxOutboxBytes // entries that are added at the same time may exceed maxBytes a little
	var err error
	o.log, err = jsonlog.Open(cfg, func(e Entry) {
		o.waiting = append(o.waiting, &outgoing{Entry: e, durable: true, sent: make(chan struct{})})
	})
	if err != nil {
		return nil, fmt.Errorf("read the outbox: %w", err)
	}
	return o, nil
}

// add stores an entry durably. The error is ErrOutboxFull or an error of the disk.
//
// Tags have half of the room. Their log may be the only one that cannot be appended to, and senders
// repeat their events: purges and takedowns must not be refused because of them.
func (o *outbox) add(e Entry) (*outgoing, error) {
	out := &outgoing{Entry: e, sent: make(chan struct{})}
	entries, bytes := o.maxEntries, o.maxBytes
	if e.Kind == KindTags {
		entries, bytes = entries/2, bytes/2
	}
	o.mu.Lock()
	if len(o.waiting) >= entries || !o.fitsLocked(bytes) {
		o.mu.Unlock()
		return nil, ErrOutboxFull
	}
	o.waiting = append(o.waiting, out) // before it is written, so that shorten includes it
	o.mu.Unlock()

	err := o.log.Append(e)
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.waiting = slices.DeleteFunc(o.waiting, func(other *outgoing) bool { return other == out })
		return nil, fmt.Errorf("write the outbox: %w", err)
	}
	out.durable = true
	return out, nil
}

// oldest returns at most n of the oldest entries for which want returns true. want is called in
// order; nil selects all.
func (o *outbox) oldest(n int, want func(Entry) bool) (found []*outgoing) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, out := range o.waiting {
		if !out.durable || len(found) == n {
			break
		}
		if want == nil || want(out.Entry) {
			found = append(found, out)
		}
	}
	return found
}

// tags returns the durable entries of tags, also those behind an entry that is being written.
func (o *outbox) tags() (found []*outgoing) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, out := range o.waiting {
		if out.durable && out.Kind == KindTags {
			found = append(found, out)
		}
	}
	return found
}

// remove removes entries that the streams have, perhaps again. Until the file is updated, a restart sends them
// again, which changes nothing.
func (o *outbox) remove(sent []*outgoing) error {
	if len(sent) == 0 {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	gone := make(map[*outgoing]bool, len(sent))
	for _, out := range sent {
		gone[out] = true
		if !out.sentAlready() {
			close(out.sent)
		}
	}
	o.waiting = slices.DeleteFunc(o.waiting, func(out *outgoing) bool { return gone[out] })
	if len(o.waiting) == 0 {
		return o.log.Clear()
	}
	if o.log.Size() >= o.maxBytes/2 && o.log.Lines() > 2*len(o.waiting)+1000 {
		return o.shortenLocked()
	}
	return nil
}

// fitsLocked reports whether the file is smaller than bytes. It rewrites a larger one if an eighth of
// its entries were sent; otherwise each entry that is refused would cost a rewrite.
func (o *outbox) fitsLocked(bytes int64) bool {
	if o.log.Size() < bytes {
		return true
	}
	return o.log.Lines()-len(o.waiting) > o.log.Lines()/8 && o.shortenLocked() == nil && o.log.Size() < bytes
}

// shortenLocked rewrites the file with the waiting entries.
func (o *outbox) shortenLocked() error {
	return o.log.Rewrite(func(yield func(Entry) bool) {
		for _, out := range o.waiting {
			if !yield(out.Entry) {
				return
			}
		}
	})
}

func (o *outbox) len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.waiting)
}
