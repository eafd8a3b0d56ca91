package fleet

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/novasocial/imagetier/internal/jsonlog"
)

// Bounds of the outbox. At 200 bytes an entry they are hours of purges without a cluster.
const (
	maxOutboxEntries = 100_000
	maxOutboxBytes   = 64 << 20
)

// outbox has every decision of this node until the streams have it, oldest first. Every
// decision goes through it, so none overtakes an older one.
//
// The file is appended to, emptied when nothing waits, and written anew only when most of it
// was sent: an entry costs one sync, which entries of the same moment share.
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

// sentAlready reports whether the streams have it.
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
	var err error
	o.log, err = jsonlog.Open(cfg, func(e Entry) {
		o.waiting = append(o.waiting, &outgoing{Entry: e, durable: true, sent: make(chan struct{})})
	})
	if err != nil {
		return nil, fmt.Errorf("read the outbox: %w", err)
	}
	return o, nil
}

// add makes an entry durable. Its error is ErrOutboxFull, or the disk's.
func (o *outbox) add(e Entry) (*outgoing, error) {
	out := &outgoing{Entry: e, sent: make(chan struct{})}
	o.mu.Lock()
	if len(o.waiting) >= o.maxEntries || o.log.Size() >= o.maxBytes && !o.shortenLocked() {
		o.mu.Unlock()
		return nil, ErrOutboxFull
	}
	o.waiting = append(o.waiting, out) // before it is written, so that shorten knows of it
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

// oldest returns the oldest entries that are wanted, at most n. want is called in their order; nil
// wants all.
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

// remove takes out entries that the streams have. Until the file says so, too, a restart sends
// them again, which changes nothing.
func (o *outbox) remove(sent []*outgoing) error {
	if len(sent) == 0 {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	gone := make(map[*outgoing]bool, len(sent))
	for _, out := range sent {
		gone[out] = true
		close(out.sent)
	}
	o.waiting = slices.DeleteFunc(o.waiting, func(out *outgoing) bool { return gone[out] })
	if len(o.waiting) == 0 {
		return o.log.Clear()
	}
	if o.log.Size() >= o.maxBytes/2 && o.log.Lines() > 2*len(o.waiting)+1000 && !o.shortenLocked() {
		return errors.New("the outbox cannot be shortened")
	}
	return nil
}

// shortenLocked writes the file anew with what waits. It reports whether there is room then.
func (o *outbox) shortenLocked() bool {
	err := o.log.Rewrite(func(yield func(Entry) bool) {
		for _, out := range o.waiting {
			if !yield(out.Entry) {
				return
			}
		}
	})
	return err == nil && o.log.Size() < o.maxBytes
}

func (o *outbox) len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.waiting)
}
