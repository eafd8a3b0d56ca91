// Package memtier keeps images in memory: S3-FIFO (Yang et al., "FIFO queues are all you
// need for cache eviction", SOSP 2023) over two bigcaches, whose storage the garbage
// collector does not scan.
//
// New images enter a small queue, a tenth of the budget. An image that leaves it unread is
// evicted, and its id is kept in a ghost queue. An image that was read there, or that is Put
// again while it is a ghost, enters the main queue, which evicts only images that were not
// read since they entered. So a scan of images that are requested once passes through a tenth
// of the memory and evicts nothing from the rest.
//
// The read path is Tier.Get, the write path Tier.Put and settle.
package memtier

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/novasocial/imagetier/imagecache"
)

// MinBytes is the minimum budget.
const MinBytes = 4 << 20

// Config configures a Tier.
type Config struct {
	// MaxBytes is the budget: what the two queues allocate, images with their headers, is
	// never more. Beside it each image takes some 60 bytes of index, each ghost 40, and
	// copies of the images that are read most a 32nd of the budget, at most 64 MiB. At
	// least MinBytes; counted in whole mebibytes.
	MaxBytes int64
}

// Tier is an imagecache.Tier in memory. It is safe for concurrent use; it has no
// goroutines and needs no closing.
type Tier struct {
	small, main *queue
	index       index
	hot         hot
	seed        maphash.Seed

	storing sync.Mutex // held while the queues change
	// All of these are guarded by storing.
	ghosts     ghosts
	record     []byte          // buffer
	left       []evictedRecord // evicted from the queues by the running store
	mainFilled bool            // main has evicted: until then all images that leave small enter it
	evicted    [numReasons]int64
	refused    int64
}

// Reasons for which an image left.
const (
	unread   = iota // from the small queue: not read since it was Put
	aged            // from the main queue: not read since it entered or moved, or maxMoves was reached
	squeezed        // too large for the main queue
	numReasons
)

var reasonNames = [numReasons]string{"unread", "aged", "squeezed"}

// evictedRecord is an image that a queue evicted.
type evictedRecord struct {
	id     uint64
	from   queueID
	record []byte
}

// New returns an empty Tier and allocates its memory, which the kernel hands out as it is
// written to.
func New(cfg Config) (*Tier, error) {
	if cfg.MaxBytes < MinBytes {
		return nil, fmt.Errorf("memory tier of %d bytes: the minimum is %d", cfg.MaxBytes, MinBytes)
	}
	t := &Tier{seed: maphash.MakeSeed()}
	t.hot.max = min(cfg.MaxBytes/hotShare, maxHotBytes)
	t.index.hotBytes = &t.hot.bytes
	mib := int(cfg.MaxBytes >> 20)
	smallMiB := max(1, (mib+5)/10)
	var err error
	if t.small, err = newQueue(smallMiB, t.leaves(inSmall)); err != nil {
		return nil, fmt.Errorf("memory tier: %w", err)
	}
	if t.main, err = newQueue(mib-smallMiB, t.leaves(inMain)); err != nil {
		return nil, fmt.Errorf("memory tier: %w", err)
	}
	return t, nil
}

// leaves returns the callback of a queue. It is called with the queue's lock held and only
// notes what left.
func (t *Tier) leaves(from queueID) func(id uint64, record []byte) {
	return func(id uint64, record []byte) { t.left = append(t.left, evictedRecord{id, from, record}) }
}

// id returns the index key of a key: 24 bits of its original, so that all images of one original
// are in one shard of the index, and 40 of its path. Two keys may share an id: the record has the
// whole key. It is never 0, which means "deleted" in bigcache; a bit that does not select the shard
// ensures that.
func (t *Tier) id(key imagecache.Key) uint64 {
	const low = 1<<40 - 1
	return t.group(key.Original())<<40 | maphash.String(t.seed, key.String())&low | 1<<39
}

func (t *Tier) group(of imagecache.Original) uint64 {
	return (maphash.String(t.seed, of.Name) ^ maphash.String(t.seed, of.Source)*31) & (1<<24 - 1)
}

// Get returns the image under key. Its Body may be shared with other callers.
func (t *Tier) Get(_ context.Context, key imagecache.Key) (imagecache.Image, error) {
	id := t.id(key)
	found, ok := t.index.read(id)
	if !ok {
		return imagecache.Image{}, imagecache.ErrMiss
	}
	if found.hot != nil && found.hot.key == key {
		return found.hot.img, nil
	}
	record, ok := t.queue(found.at).get(id)
	if !ok { // it may have moved in between
		if record, ok = t.queue(found.at.other()).get(id); !ok {
			return imagecache.Image{}, imagecache.ErrMiss
		}
	}
	stored, img, err := imagecache.ParseRecord(record)
	if err != nil || stored != key {
		return imagecache.Image{}, imagecache.ErrMiss
	}
	if found.often && t.hot.due() {
		t.heat(id, found.changes, key, img)
	}
	return img, nil
}

// Put stores img, unless it is large. An image of more than half a shard of small (5 % of budgets
// up to 320 MiB, at least 8 MiB beyond) would evict too many others: it is stored at its second
// Put, if that comes soon. An image of more than half a shard of main (8 MiB with budgets from 36
// MiB on) is never stored. If img is not stored, an older image under key is removed, and the error
// is nil.
func (t *Tier) Put(_ context.Context, key imagecache.Key, img imagecache.Image) error {
	id := t.id(key)
	t.storing.Lock()
	defer t.storing.Unlock()
	t.record = imagecache.AppendRecord(t.record[:0], key, img)
	if at, ok := t.index.at(id); ok {
		if old, ok := t.queue(at).get(id); ok && string(old) == string(t.record) {
			return nil // a second copy would only waste memory
		}
		t.removeLocked(id, at)
		t.store(id, at, t.record)
	} else if t.ghosts.take(id) {
		t.store(id, inMain, t.record)
	} else if size := len(t.record); size > t.small.largest && size <= t.main.largest {
		t.ghosts.add(id, t.maxGhosts()) // it would evict half of small: store it at its next Put
	} else {
		t.store(id, inSmall, t.record)
	}
	t.settle()
	if cap(t.record) > 4<<20 {
		t.record = nil
	}
	return nil
}

// store appends to a queue. Images that it evicted are in t.left.
func (t *Tier) store(id uint64, at queueID, record []byte) {
	q := t.queue(at)
	if len(record) > q.largest {
		t.refused++
		return
	}
	if !q.set(id, record) {
		t.refused++
		return
	}
	t.index.add(id, at, len(record))
}

// maxMoves bounds the images that one Put moves to the end of main. If all of main is read
// between two Puts, it would otherwise copy all of them; the next image is then evicted
// although it was read.
const maxMoves = 64

// settle moves or evicts every image in t.left. Moving one may add others.
func (t *Tier) settle() {
	for moves := 0; len(t.left) > 0; {
		last := len(t.left) - 1
		l := t.left[last]
		t.left[last] = evictedRecord{}
		t.left = t.left[:last]
		reads, ok := t.index.remove(l.id, l.from)
		if !ok {
			continue // it was replaced meanwhile
		}
		if l.from == inMain {
			t.mainFilled = true
		}
		switch {
		case l.from == inSmall && reads == 0 && t.mainFilled:
			t.evicted[unread]++
			t.ghosts.add(l.id, t.maxGhosts())
		case l.from == inMain && (reads == 0 || moves >= maxMoves):
			t.evicted[aged]++
		case len(l.record) > t.main.largest:
			t.evicted[squeezed]++
		case t.main.set(l.id, l.record):
			t.index.add(l.id, inMain, len(l.record))
			if l.from == inMain {
				t.index.setReads(l.id, reads-1)
				moves++
			}
		default:
			t.evicted[squeezed]++
		}
	}
}

// maxGhosts is the maximum number of ghosts: nine for ten images of main, as in the paper.
func (t *Tier) maxGhosts() int { return max(64, t.main.len()*9/10) }

func (t *Tier) removeLocked(id uint64, at queueID) {
	t.index.remove(id, at)
	t.queue(at).remove(id)
}

// Purge removes one image or all of an original. The latter scans a 1,024th of the index.
func (t *Tier) Purge(_ context.Context, target imagecache.Target) (removed imagecache.Removed, _ error) {
	t.storing.Lock()
	defer t.storing.Unlock()
	t.eachLocked(target, func(id uint64, at queueID, key imagecache.Key, size imagecache.RecordLen) {
		t.removeLocked(id, at)
		removed.Add(key, size.Body)
	})
	return removed, nil
}

// Count returns which images Purge would remove.
func (t *Tier) Count(_ context.Context, target imagecache.Target) (held imagecache.Removed, _ error) {
	t.storing.Lock()
	defer t.storing.Unlock()
	t.eachLocked(target, func(_ uint64, _ queueID, key imagecache.Key, size imagecache.RecordLen) {
		held.Add(key, size.Body)
	})
	return held, nil
}

// eachLocked calls do for each image of a target, which do may remove.
func (t *Tier) eachLocked(
	target imagecache.Target, do func(id uint64, at queueID, key imagecache.Key, size imagecache.RecordLen),
) {
	one := target.Key != (imagecache.Key{})
	var ids []uint64
	if one {
		ids = []uint64{t.id(target.Key)}
	} else {
		ids = t.index.group(t.group(target.Original))
	}
	for _, id := range ids {
		at, ok := t.index.at(id)
		if !ok {
			continue
		}
		record, ok := t.queue(at).get(id)
		if !ok {
			continue
		}
		key, _, size, err := imagecache.ParseRecordHeader(record)
		if err != nil || one && key != target.Key || !one && key.Original() != target.Original {
			continue // another that shares the id, or the group
		}
		do(id, at, key, size)
	}
}

func (t *Tier) queue(at queueID) *queue {
	if at == inMain {
		return t.main
	}
	return t.small
}

// Stats are the statistics of a Tier. Counters start at New.
type Stats struct {
	Bytes     int64            // of images and their headers
	Entries   int64            // images
	Evictions map[string]int64 // images, by reason: unread, aged, squeezed
	Refused   int64            // images that were too large
	Ghosts    int64
	Hot       int64 // bytes of the copies of the most read images
}

// Stats returns the current statistics.
func (t *Tier) Stats() Stats {
	t.storing.Lock()
	defer t.storing.Unlock()
	s := Stats{
		Evictions: make(map[string]int64, numReasons), Refused: t.refused,
		Ghosts: int64(t.ghosts.len()), Hot: t.hot.bytes.Load(),
	}
	s.Entries, s.Bytes = t.index.totals()
	for reason, n := range t.evicted {
		s.Evictions[reasonNames[reason]] = n
	}
	return s
}
