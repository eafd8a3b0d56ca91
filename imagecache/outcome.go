package imagecache

import "time"

// Detail says where an answer came from: the detail parameter of Cache-Status and the
// cache label of the metrics.
type Detail uint8

const (
	None         Detail = iota // no cache took part
	Memory                     // hit in the memory tier
	Disk                       // hit in the disk tier
	Derived                    // hit in the shared store of a fleet
	FromOriginal               // made from an original (or mezzanine) that was kept
	FromOrigin                 // made from an original that was fetched
	Stale                      // served past its freshness
	Negative                   // a refusal that was kept for its own short time
	NumDetails
)

var detailNames = [NumDetails]string{"none", "memory", "disk", "derived", "original", "origin", "stale", "negative"}

// String returns the label.
func (d Detail) String() string { return detailNames[d] }

// Forward says why the cache went forward (RFC 9211, 2.2); its zero value is a hit.
type Forward uint8

const (
	Hit      Forward = iota
	URIMiss          // fwd=uri-miss
	FwdStale         // fwd=stale
	Bypass           // fwd=bypass
)

// Outcome is how the Cache came to its answer, as Cache-Status (RFC 9211) reports it.
type Outcome struct {
	Detail    Detail
	Forward   Forward
	Status    int           // status of the origin's answer (200, 304, …), 0 if the origin was not asked
	Stored    bool          // at least one tier was given the answer
	Collapsed bool          // joined another caller's fill
	TTL       time.Duration // of a hit: how long it stays fresh, negative past it; Pinned: PinnedTTL
}

// PinnedTTL is the lifetime that pinned variants are announced with: one year.
const PinnedTTL = 365 * 24 * time.Hour
