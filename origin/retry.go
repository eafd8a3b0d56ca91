package origin

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// RetryConfig configures Retry.
type RetryConfig struct {
	// MaxBytes is the size limit of an object; a larger one is ErrTooLarge. 0 means 32 MiB.
	MaxBytes int64
	// Pause is the average wait before the second try, jittered from half to one and
	// a half of it so that many callers do not retry together. It doubles with each try.
	// 0 means 50 ms.
	Pause time.Duration
}

// maxTries is how often an object is requested at most. If 30 % of all requests fail, four
// tries leave 0.8 % (0.3⁴).
const maxTries = 4

// Retry returns a Source that tries again, up to three times, if src returns ErrUnavailable
// or Busy. Other errors (not found, rejected, …) would be the same on another try; so would
// ErrBusy without Busy, which is of a limit of our own. No try
// starts if ctx would be done before it, and none is cut short to make room for another.
//
// The pause after an answer with Retry-After (see Busy) is at least that long. Retries have a
// budget (see budget), so that they never double the load on an origin that is down.
//
// Most faults of an origin come after its headers: a truncated body, a reset, a mismatch of a
// digest. Bytes that a reader already has cannot be taken back, so Open reads the whole
// object before it returns; the Object is in memory (Object.Whole).
func Retry(src Source, cfg RetryConfig) Source {
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = 32 << 20
	}
	if cfg.Pause <= 0 {
		cfg.Pause = 50 * time.Millisecond
	}
	return &retry{src: src, cfg: cfg, budget: budget{tokens: maxTokens}}
}

type retry struct {
	src    Source
	cfg    RetryConfig
	budget budget
}

func (r *retry) Open(ctx context.Context, name string, cond Cond) (*Object, error) {
	return tryAll(ctx, r, func() (*Object, error) {
		o, err := ReadAll(ctx, r.src, name, cond, r.cfg.MaxBytes)
		if err != nil {
			return nil, err
		}
		obj := NewWhole(o.Body)
		obj.Metadata = o.Metadata
		return obj, nil
	})
}

// Head implements Source. It is retried as Open is.
func (r *retry) Head(ctx context.Context, name string) (Metadata, error) {
	return tryAll(ctx, r, func() (Metadata, error) { return r.src.Head(ctx, name) })
}

// tryAll calls try until it succeeds, fails for good, or may not be repeated.
func tryAll[T any](ctx context.Context, r *retry, try func() (T, error)) (got T, err error) {
	wait := r.cfg.Pause
	for tries := 1; ; tries++ {
		got, err = try()
		var busy *Busy
		if !errors.Is(err, ErrUnavailable) && !errors.As(err, &busy) {
			if err == nil || IsSentinel(err) && !errors.Is(err, ErrBusy) && !errors.Is(err, ErrName) {
				r.budget.earn() // the origin has answered
			}
			return got, err
		}
		if tries > 1 {
			err = fmt.Errorf("%w (try %d)", err, tries)
		}
		pause := wait/2 + rand.N(wait)
		if busy != nil {
			pause = max(pause, busy.RetryAfter+rand.N(wait))
		}
		wait *= 2
		// The budget is asked after the pause: in a burst, the requests that succeed meanwhile
		// pay for the retries of those that failed.
		if tries == maxTries || ctx.Err() != nil || !sleep(ctx, pause) || !r.budget.spend() {
			return got, err
		}
	}
}

// sleep waits for d and reports true. If ctx ends before that, or its deadline will,
// it reports false without waiting further.
func sleep(ctx context.Context, d time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// budget limits the retries of one source: a retry costs a token, and each answer of the
// origin earns one. So there are never more retries than answers, plus maxTokens: an
// origin that is down gets maxTokens retries in all, and one that fails half of the time
// still gets all that it needs.
type budget struct {
	mu     sync.Mutex
	tokens int // guarded by mu
}

// maxTokens is as many requests as a circuit breaker counts before it opens.
const maxTokens = 10

func (b *budget) earn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens = min(b.tokens+1, maxTokens)
}

func (b *budget) spend() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tokens == 0 {
		return false
	}
	b.tokens--
	return true
}
