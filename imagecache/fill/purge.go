package fill

import (
	"context"
	"sync"

	"github.com/novasocial/imagetier/imagecache"
)

// Purge forgets the original in every version, and its mezzanines; fills that begin later
// fetch it again.
//
// A fill notes its original's epoch before it reads anything. One of before the Move joins
// none that begins after it, and stores nothing any more; one that begins after it, while
// the tier is being emptied, reads and stores nothing that is kept: it could read what is
// about to be removed and put it back when it is renewed.
func (f *Filler) Purge(ctx context.Context, of imagecache.Original) (imagecache.Removed, error) {
	defer f.purging.begin(of)()
	f.epochs.Move(of)
	if f.cfg.Originals == nil {
		return imagecache.Removed{}, nil
	}
	return f.cfg.Originals.Purge(ctx, imagecache.Target{Original: of})
}

// purging are the originals that are being purged. The zero value is ready.
type purging struct {
	mu sync.Mutex
	of map[imagecache.Original]int
}

func (p *purging) begin(of imagecache.Original) (end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = make(map[imagecache.Original]int)
	}
	p.of[of]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.of[of]--; p.of[of] == 0 {
			delete(p.of, of)
		}
	}
}

func (p *purging) has(of imagecache.Original) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.of[of] > 0
}
