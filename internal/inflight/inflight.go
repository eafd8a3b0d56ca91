// Package inflight bounds the memory of originals in flight: while they are fetched, read from
// disk, decoded and sent.
//
// A [Hold] is a share of a [Budget]. The code that starts work on an original makes one and passes it
// down in the context ([With]); the code that allocates a body calls [Grow] before it does.
package inflight

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// ErrFull is returned for a body for which the budget has no room after waiting.
var ErrFull = errors.New("too many bytes of originals in flight")

// maxWait is how long [Grow] waits for room. It is less than half of the default --origin-timeout,
// so that waiting does not make an origin look slow.
const maxWait = 2 * time.Second

// Budget is a number of bytes for all originals in flight. A nil Budget has no bound.
type Budget struct {
	size    int64
	all     *semaphore.Weighted
	answers *semaphore.Weighted // half of size: slow clients leave room for fills

	used, waits, refusals atomic.Int64
	waiting, answering    atomic.Int64
	collecting            atomic.Bool
	sinceGC               atomic.Int64 // bytes released since giveBack has collected
	idle                  *time.Timer  // calls giveBack
	gc                    func()       // runtime.GC, except in tests
}

// New returns a Budget of size bytes.
func New(size int64) *Budget {
	b := &Budget{
		size: size, all: semaphore.NewWeighted(size), answers: semaphore.NewWeighted(max(size/2, 1)), gc: runtime.GC,
	}
	b.idle = time.AfterFunc(idleTime, b.giveBack)
	return b
}

// Stats is the state of a Budget.
type Stats struct {
	Bytes, Size     int64 // in flight, and the most of them
	Waits, Refusals int64 // bodies that waited for room, and those that got none
}

// Stats returns the current state.
func (b *Budget) Stats() Stats {
	return Stats{Bytes: b.used.Load(), Size: b.size, Waits: b.waits.Load(), Refusals: b.refusals.Load()}
}

// Hold returns a Hold of 0 bytes.
func (b *Budget) Hold() *Hold {
	h := &Hold{account: &account{budget: b}}
	if b != nil {
		runtime.AddCleanup(h, (*account).release, h.account)
	}
	return h
}

// Hold is the share of the body of one original. It is safe for concurrent use. The share ends
// with Release or, once the body is sent to clients ([Hold.Answer]), when the garbage collector
// finds that no reader of the body has the Hold any more: readers share both, and need not agree
// on who is the last.
type Hold struct {
	// Body is the body, for readers that share it. It is set before the Hold is shared.
	Body []byte

	*account
}

// account is the part of a Hold that outlives it.
type account struct {
	budget *Budget

	mu       sync.Mutex
	bytes    int64 // acquired from budget.all
	answer   int64 // acquired from budget.answers
	isAnswer bool
	released bool
}

// Answer marks the body as one that is sent to clients. Together these bodies get half of the
// budget. The error wraps ErrFull or ctx's error.
func (h *Hold) Answer(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.budget == nil || h.isAnswer || h.released {
		return nil
	}
	if err := h.budget.acquire(ctx, h.budget.answers, min(h.bytes, h.budget.size/2)); err != nil {
		return err
	}
	h.answer, h.isAnswer = min(h.bytes, h.budget.size/2), true
	h.budget.answering.Add(1)
	return nil
}

// Release ends the share, unless it is an answer.
func (h *Hold) Release() {
	h.mu.Lock()
	isAnswer := h.isAnswer
	h.mu.Unlock()
	if !isAnswer {
		h.account.release()
	}
}

func (a *account) release() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.released || a.budget == nil {
		return
	}
	a.released = true
	a.budget.all.Release(a.bytes)
	if a.budget.sinceGC.Add(a.bytes); a.budget.used.Add(-a.bytes) == 0 && a.budget.sinceGC.Load() >= giveBackFrom {
		a.budget.idle.Reset(idleTime)
	}
	if a.isAnswer {
		a.budget.answers.Release(a.answer)
		a.budget.answering.Add(-1)
	}
}

// grow makes the share at least n bytes. A body larger than the budget gets all of it.
func (a *account) grow(ctx context.Context, n int64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.budget
	if b == nil || a.released {
		return nil
	}
	if n = min(n, b.size); n <= a.bytes {
		return nil
	}
	answer := int64(0)
	if a.isAnswer {
		answer = min(n, b.size/2) - a.answer
		if err := b.acquire(ctx, b.answers, answer); err != nil {
			return err
		}
	}
	if err := b.acquire(ctx, b.all, n-a.bytes); err != nil {
		if answer > 0 {
			b.answers.Release(answer)
		}
		return err
	}
	b.used.Add(n - a.bytes)
	a.bytes, a.answer = n, a.answer+answer
	return nil
}

// acquire gets n bytes, and waits for them for at most maxWait.
func (b *Budget) acquire(ctx context.Context, from *semaphore.Weighted, n int64) error {
	if from.TryAcquire(n) {
		return nil
	}
	b.waits.Add(1)
	b.waiting.Add(1)
	go b.collect()
	defer b.waiting.Add(-1)
	bounded, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	if from.Acquire(bounded, n) == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	b.refusals.Add(1)
	return fmt.Errorf("%w: no room for %d bytes after %v", ErrFull, n, maxWait)
}

// collect runs the garbage collector, which ends the shares of answers, while bodies wait. Only one
// call at a time has an effect.
func (b *Budget) collect() {
	for b.waiting.Load() > 0 && b.collecting.CompareAndSwap(false, true) {
		for b.waiting.Load() > 0 {
			if b.answering.Load() > 0 {
				b.gc()
			}
			time.Sleep(100 * time.Millisecond)
		}
		b.collecting.Store(false) // and look again: a body may have begun to wait just before
	}
}

// A process that allocates little after a burst of originals would keep their memory: the garbage
// collector runs when the heap grows. So it runs once no original has been in flight for
// idleTime, if giveBackFrom bytes have been since the last time. The runtime then returns the
// memory to the system within seconds.
const (
	idleTime     = 10 * time.Second
	giveBackFrom = 32 << 20
)

func (b *Budget) giveBack() {
	if b.used.Load() == 0 && b.sinceGC.Swap(0) >= giveBackFrom {
		b.gc()
	}
}

type key struct{}

// With returns a context in which [Grow] grows h.
func With(ctx context.Context, h *Hold) context.Context { return context.WithValue(ctx, key{}, h) }

// Grow makes the Hold of ctx at least n bytes, before a body of n bytes is allocated. If there is
// no room it waits for up to two seconds; then the error wraps ErrFull. Without a Hold it does nothing.
func Grow(ctx context.Context, n int64) error {
	if h, ok := ctx.Value(key{}).(*Hold); ok {
		return h.grow(ctx, n)
	}
	return nil
}
