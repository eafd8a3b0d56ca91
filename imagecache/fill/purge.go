package fill

import (
	"context"
	"sync"

	"github.com/novasocial/imagetier/imagecache"
)

// Purge removes the original in every version, and its mezzanines. Fills that begin later
// fetch it again.
//
// Each fill notes its original's epoch before it reads anything:
//
//  1. Purge marks the original as being purged and moves its epoch.
//  2. A fill that began before the move is not shared with later ones and stores nothing.
//  3. A fill that begins after the move, but before the tier is emptied, does not use the
//     tier: it could read an entry that is about to be removed and store it again.
func (f *Filler) Purge(ctx context.Context, of imagecache.Original) (imagecache.Removed, error) {
	defer f.purging.begin(of)()
	f.epochs.Move(of)
	if f.cfg.Originals == nil {
		return imagecache.Removed{}, nil
	}
	return f.cfg.Originals.Purge(ctx, imagecache.Target{Original: of})
}

// purging counts the running purges by original. The zero value is ready.
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
