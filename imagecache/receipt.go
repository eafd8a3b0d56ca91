package imagecache

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
)

// MaxListed is how many Images a [Removed], and each list of a [Receipt], can tell apart.
const MaxListed = 10_000

// Sizes are bytes of Image.Body by [Key.Digest].
type Sizes map[uint64]int64

// Removed counts the Images that a purge took away. The zero value counts none.
type Removed struct {
	Images int
	Bytes  int64 // of Body
	// Sizes lists the Images, so that one which several tiers held is counted once. Images
	// beyond MaxListed are counted but not listed, and may be counted more than once.
	Sizes Sizes
}

// Add counts the Image of key, unless it was counted before.
func (r *Removed) Add(key Key, bytes int64) { r.AddDigest(key.Digest(), bytes) }

// AddDigest is Add for a tier that knows only the digest of the key.
func (r *Removed) AddDigest(digest uint64, bytes int64) {
	if _, listed := r.Sizes[digest]; listed {
		return
	}
	r.Images++
	r.Bytes += bytes
	if r.Sizes == nil {
		r.Sizes = make(Sizes)
	}
	if len(r.Sizes) < MaxListed {
		r.Sizes[digest] = bytes
	}
}

// Merge adds what other counts and r does not. An Image in both that differs in size counts
// with the larger one. Copies of r made before share its list: merge into one of them only.
func (r *Removed) Merge(other Removed) {
	images, bytes := r.Sizes.merge(other.Sizes)
	r.Images += other.Images - images
	r.Bytes += other.Bytes - bytes
}

// merge lists what other lists, up to MaxListed, and returns what both had listed.
func (s *Sizes) merge(other Sizes) (images int, bytes int64) {
	if *s == nil && len(other) > 0 {
		*s = make(Sizes, min(len(other), MaxListed))
	}
	for digest, size := range other {
		known, ok := (*s)[digest]
		switch {
		case ok:
			images++
			bytes += min(known, size)
			(*s)[digest] = max(known, size)
		case len(*s) < MaxListed:
			(*s)[digest] = size
		}
	}
	return images, bytes
}

// Receipt says what a purge removed. The nodes of a fleet exchange its JSON: less than 30 bytes for
// each Image that is listed, so less than 600 kB. The API has a type of its own.
type Receipt struct {
	Variants  int   `json:"variants"`  // made images, each counted once however many tiers and nodes held it
	Originals int   `json:"originals"` // kept originals and mezzanines, in the same way
	Bytes     int64 `json:"bytes"`     // of both
	// Applied of Known nodes of a fleet have applied it; both are 0 where there is no fleet.
	Applied int `json:"applied,omitempty"`
	Known   int `json:"known,omitempty"`
	// Superseded: some node that is counted knows a newer takedown or lift of the original, and
	// ignored this one.
	Superseded bool `json:"superseded,omitempty"`
	// Waiting says why other nodes have not been notified yet, as text for users; "" if they have.
	Waiting string `json:"-"`
	// The Images counted above, as in Removed.
	VariantSizes  Sizes `json:"variant_sizes,omitempty"`
	OriginalSizes Sizes `json:"original_sizes,omitempty"`
}

// Merge adds the receipt of another node or another target. Images that both removed are counted
// once. Of the two pairs of node counts it keeps the one with more missing nodes.
func (r *Receipt) Merge(other Receipt) {
	variants, bytes := r.VariantSizes.merge(other.VariantSizes)
	originals, more := r.OriginalSizes.merge(other.OriginalSizes)
	r.Variants += other.Variants - variants
	r.Originals += other.Originals - originals
	r.Bytes += other.Bytes - bytes - more
	r.Superseded = r.Superseded || other.Superseded
	r.Waiting = cmp.Or(r.Waiting, other.Waiting)
	if other.Known > 0 && (r.Known == 0 || other.Known-other.Applied > r.Known-r.Applied) {
		r.Applied, r.Known = other.Applied, other.Known
	}
}

// Digest returns the first 64 bits of the path's SHA-256, the same in every process and on
// every node: by it [Removed] and [Receipt] tell Images apart.
func (k Key) Digest() uint64 {
	sum := sha256.Sum256([]byte(k.path))
	return binary.BigEndian.Uint64(sum[:])
}
