package imagecache

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/novasocial/imagetier/resize"
)

// flight is one running fill and its waiters. img, out and err are
// written before done is closed and only read after it.
type flight struct {
	key     Key
	epoch   uint64 // of key's original when it began; a purge since then makes it unfit to join
	done    chan struct{}
	cancel  context.CancelFunc
	waiters int // guarded by flights.mu
	// priority is the first one of the caller that started it, by which it is admitted to the resize queue.
	priority resize.Priority
	raise    func(resize.Priority) // raises that of its context

	img Image
	out Outcome
	err error
}

// flights are the running fills by key. The zero value is ready.
type flights struct {
	mu    sync.Mutex
	byKey map[Key]*flight
}

// join counts the caller as a waiter of key's flight, starting one that calls run if none began in this epoch. The
// flight's context keeps ctx's values but not its end: it ends after timeout, or when the last waiter leaves. A caller
// joins a flight of any priority, and raises it to its own if that is higher.
func (fs *flights) join(
	ctx context.Context, key Key, epoch uint64, timeout time.Duration, run func(context.Context, *flight),
) (f *flight, joined bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	priority := resize.PriorityOf(ctx)
	if f := fs.byKey[key]; f != nil && f.epoch == epoch {
		f.waiters++
		f.raise(priority)
		return f, true
	}
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), timeout, errFillTimeout)
	ctx, raise := resize.WithRaise(ctx)
	f = &flight{
		key: key, epoch: epoch, done: make(chan struct{}), cancel: cancel, waiters: 1,
		priority: resize.FirstPriorityOf(ctx), raise: raise,
	}
	if fs.byKey == nil {
		fs.byKey = make(map[Key]*flight)
	}
	fs.byKey[key] = f // a flight of an older epoch continues for its own waiters
	go func() {
		// Overwritten by run, unless run ends by runtime.Goexit.
		f.err = fmt.Errorf("fill %s: %w", key.path, resize.ErrFailed)
		defer func() {
			fs.remove(f)
			cancel()
			close(f.done)
		}()
		run(ctx, f)
	}()
	return f, false
}

// errFillTimeout is why a flight's context ends by itself.
var errFillTimeout = fmt.Errorf("fill timed out: %w", context.DeadlineExceeded)

// leave removes one waiter from f. The last one cancels it, and no caller joins it any more.
func (fs *flights) leave(f *flight) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f.waiters--
	if f.waiters > 0 {
		return
	}
	f.cancel()
	fs.removeLocked(f)
}

func (fs *flights) remove(f *flight) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.removeLocked(f)
}

func (fs *flights) removeLocked(f *flight) {
	if fs.byKey[f.key] == f {
		delete(fs.byKey, f.key)
	}
}

func stack() string { return string(debug.Stack()) }
