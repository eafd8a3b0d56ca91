package imagecache

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"weak"

	"golang.org/x/sync/singleflight"

	"github.com/novasocial/imagetier/internal/inflight"
)

// originals reads Images of ShapeOriginal, whose bodies are large, from their tier: all readers
// of one key share one body, for as long as one of them has it.
type originals struct {
	budget  *inflight.Budget // nil has no bound
	reading singleflight.Group

	mu      sync.Mutex
	sending map[Key]sending
}

// sending is an original that readers may still have.
type sending struct {
	img   Image // without Body, Hold and Buffer
	epoch uint64
	hold  weak.Pointer[inflight.Hold]
}

// get returns the original of key from memory or from tier. The error is that of tier.
func (o *originals) get(ctx context.Context, tier Tier, key Key, epoch uint64) (Image, error) {
	if img, ok := o.shared(key, epoch); ok {
		return img, nil
	}
	ctx = context.WithoutCancel(ctx) // others may join; the wait for room is bounded
	read, err, _ := o.reading.Do(key.path+" "+strconv.FormatUint(epoch, 10), func() (any, error) {
		if img, ok := o.shared(key, epoch); ok {
			return img, nil
		}
		hold := o.budget.Hold()
		if err := hold.Answer(ctx); err != nil {
			return nil, err
		}
		img, err := tier.Get(inflight.With(ctx, hold), key)
		if err != nil {
			return nil, err
		}
		img.Hold, img.Buffer = hold, nil // shared
		o.share(key, epoch, img)
		return img, nil
	})
	if err != nil {
		return Image{}, err
	}
	img, ok := read.(Image)
	if !ok {
		return Image{}, fmt.Errorf("read %s: the reader panicked", key.path)
	}
	return img, nil
}

// share lets later readers of key use the body of img, unless a purge has moved the epoch.
func (o *originals) share(key Key, epoch uint64, img Image) {
	hold := img.Hold
	if hold == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if hold.Body == nil {
		hold.Body = img.Body
	}
	img.Body, img.Hold, img.Buffer = nil, nil, nil
	if o.sending == nil {
		o.sending = make(map[Key]sending)
	}
	o.sending[key] = sending{img, epoch, weak.Make(hold)}
	runtime.AddCleanup(hold, o.forget, key)
}

// shared returns the original of key if a reader still has it.
func (o *originals) shared(key Key, epoch uint64) (Image, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.sending[key]
	hold := s.hold.Value()
	if hold == nil || s.epoch != epoch {
		return Image{}, false
	}
	s.img.Body, s.img.Hold = hold.Body, hold
	return s.img, true
}

// forget removes key if its last reader is gone.
func (o *originals) forget(key Key) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s, ok := o.sending[key]; ok && s.hold.Value() == nil {
		delete(o.sending, key)
	}
}
