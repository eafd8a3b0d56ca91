// Package imagecache caches image variants in tiers and makes each missing one once, however
// many requests ask for it. A Tier stores images (memtier, disktier, sharedstore; tiertest is
// their conformance suite), a Filler makes them (fill), and Cache combines the two.
//
// The read path is Cache.Get in cache.go. Purges are in purge.go and soft.go, and epoch.go
// explains how they are ordered against stores.
package imagecache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/inflight"
)

// Image is a stored answer: encoded bytes and their metadata. It is immutable, and Body may be
// shared by many readers.
type Image struct {
	Body         []byte
	ContentType  string
	ETag         string // strong, quoted, of Body
	LastModified time.Time
	Origin       Validator // validator of the original that it was made from; live only
	Fresh        Freshness

	// Hold is the share of Body in the budget of originals in flight; nil for other bodies. A
	// reader must keep it reachable while it uses Body.
	Hold *inflight.Hold
	// Buffer is the pooled memory of Body, nil if Body is not pooled or may be shared.
	Buffer *Buffer
}

// Validator has the fields by which an origin's answer can be revalidated.
type Validator struct {
	ETag         string // as the origin spelled it: quoted, W/ before a weak one
	LastModified time.Time
}

// A Key names one stored Image: the canonical path of a Ref without its signature.
// It is comparable. Keys of one original share their Original.
type Key struct {
	path     string // "/640x640-cover/v.1/posts/cat.jpg.webp"
	original Original
}

// Original names an original in every version: all that a purge of it removes.
type Original struct{ Source, Name string }

// KeyOf returns the key of the variant that ref names.
func KeyOf(ref imageurl.Ref) Key {
	return Key{path: ref.String(), original: Original{ref.Source(), ref.Name()}}
}

// NewKey returns the key with that path, as a Tier reads it back from its store.
func NewKey(path string, of Original) Key { return Key{path: path, original: of} }

// String returns the path: it and the signature are the whole URL path after /i/.
func (k Key) String() string { return k.path }

// Original returns what the key's Image was made from.
func (k Key) Original() Original { return k.original }

// Hash returns 64 bits of the path, the same in every process and on every node.
func (k Key) Hash() uint64 { return fnv1a(fnvOffset, k.path) }

// Hash returns 64 bits of source and name, the same in every process and on every node.
func (o Original) Hash() uint64 {
	return fnv1a(fnv1a(fnv1a(fnvOffset, o.Source), "\x00"), o.Name)
}

// CDNTagLen is the length of a CDNTag, in bytes.
const CDNTagLen = 2 + 16

// AppendCDNTag appends the CDN cache tag of all variants of the original: "o-" and the first 16 hex
// digits of SHA-256 of the source, a "/" and the name. No source has a "/" in it, so the text is
// unique. Two of 2³² originals may share a tag by chance, and are then purged together, which is
// harmless.
func (o Original) AppendCDNTag(b []byte) []byte {
	var text [256]byte // longer ones are rare, and allocate
	spelled := append(append(append(text[:0], o.Source...), '/'), o.Name...)
	sum := sha256.Sum256(spelled)
	return hex.AppendEncode(append(b, "o-"...), sum[:8])
}

// CDNTag returns the CDN cache tag as a string.
func (o Original) CDNTag() string { return string(o.AppendCDNTag(make([]byte, 0, CDNTagLen))) }

// 64-bit FNV-1a (Fowler, Noll, Vo).
const fnvOffset = 14695981039346656037

func fnv1a(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// Target is what a purge removes: one variant if Key is set, else all of Original.
type Target struct {
	Key      Key
	Original Original
}

// ErrMiss is the error of a Tier that does not hold the key. It is compared with ==
// on the read path and never wrapped.
var ErrMiss = errors.New("not in this tier")

// ErrTakenDown is the error of an original that was taken down, and stays so until that is lifted.
var ErrTakenDown = errors.New("taken down")

// A Tier stores Images within a budget. It is safe for concurrent use.
type Tier interface {
	// Get returns the Image that was last Put under key, byte for byte, or ErrMiss. Any other error
	// is a fault of the tier, which the caller treats as a miss. The caller must not change
	// Image.Body.
	Get(ctx context.Context, key Key) (Image, error)
	// Put stores img. A tier may refuse images that do not fit, and evict any image at any time; an
	// error is a fault of the tier. The tier must not read img.Body after Put has returned, and
	// must never change it.
	Put(ctx context.Context, key Key, img Image) error
	// Purge removes what the target names, and returns which Images it removed. When it
	// returns, no Get that begins later finds any of them, and no Put that returned before
	// it brings them back, also after a restart.
	Purge(ctx context.Context, target Target) (Removed, error)
	// Count returns which Images Purge would remove, and changes nothing.
	Count(ctx context.Context, target Target) (Removed, error)
}
