package fleet

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/jetstream"
)

// Instant is a time in nanoseconds since 1970. Its text form is that of time.Time, in UTC.
type Instant int64

// instantOf is the inverse of Time; 0 for the zero time.
func instantOf(t time.Time) Instant {
	if t.IsZero() {
		return 0
	}
	return Instant(t.UnixNano())
}

// Time returns it as a time.
func (i Instant) Time() time.Time { return time.Unix(0, int64(i)).UTC() }

// MarshalText writes it as RFC 3339.
func (i Instant) MarshalText() ([]byte, error) { return i.Time().MarshalText() }

// lastYear is the last year of an Instant that is read. The decision after one at the end of the range of
// nanoseconds, in 2262, would count as older.
const lastYear = 2200

// UnmarshalText reads it.
func (i *Instant) UnmarshalText(text []byte) error {
	var t time.Time
	if err := t.UnmarshalText(text); err != nil {
		return err
	}
	if t.Year() < 1970 || t.Year() > lastYear {
		return fmt.Errorf("the time %.40q is not between 1970 and %d", text, lastYear)
	}
	*i = Instant(t.UnixNano())
	return nil
}

// Stamp orders decisions about one original.
type Stamp struct {
	// At is when the decision was made: the time by the clock of its node, or, where that is not
	// later, one nanosecond after the newest decision about the original that the node knew. So a
	// decision made after seeing another is ordered after it, even if clocks differ.
	At   Instant `json:"at"`
	Node string  `json:"node,omitempty"`
	ID   string  `json:"id,omitempty"`
}

// Compare is negative if s was decided before t.
func (s Stamp) Compare(t Stamp) int {
	return cmp.Or(cmp.Compare(s.At, t.At), cmp.Compare(s.Node, t.Node), cmp.Compare(s.ID, t.ID))
}

// Kind is what an Entry does.
type Kind string

// Kinds of entries.
const (
	KindPurge    Kind = "purge"
	KindSoft     Kind = "soft"
	KindTakedown Kind = "takedown" // and a purge of the original
	KindLift     Kind = "lift"
	KindTags     Kind = "tags"
)

// Entry is one decision, as JSON in the outbox and in the streams.
type Entry struct {
	Stamp
	Kind   Kind   `json:"kind,omitempty"`
	Source string `json:"source,omitempty"`
	Name   []byte `json:"name,omitempty"` // base64: a name may be any bytes
	Path   string `json:"path,omitempty"` // of a variant; "" is the original and all its variants

	// Of KindTags.
	Learn  []learnt `json:"learn,omitempty"`
	End    []string `json:"end,omitempty"`
	Forget string   `json:"forget,omitempty"`
}

// check returns an error if a name is longer than that of any image. No log might accept such an
// entry, which would block the outbox.
func (e Entry) check() error {
	names := [][]byte{e.Name}
	for _, p := range e.Learn {
		names = append(names, p.Name)
	}
	for _, name := range names {
		if len(name) > imageurl.MaxName {
			return fmt.Errorf("%w: a name has %d bytes, more than %d", imageurl.ErrSyntax, len(name), imageurl.MaxName)
		}
	}
	return nil
}

// decides reports whether the entry changes the register of takedowns.
func (e Entry) decides() bool { return e.Kind == KindTakedown || e.Kind == KindLift }

// purges reports whether the entry removes something from caches.
func (e Entry) purges() bool { return e.Kind != KindLift && e.Kind != KindTags }

func (e Entry) original() imagecache.Original {
	return imagecache.Original{Source: e.Source, Name: string(e.Name)}
}

func (e Entry) target() imagecache.Target {
	target := imagecache.Target{Original: e.original()}
	if e.Path != "" {
		target.Key = imagecache.NewKey(e.Path, target.Original)
	}
	return target
}

// log returns the log that every node follows for entries of this kind.
func (e Entry) log() jetstream.Log {
	if e.Kind == KindTags {
		return jetstream.Tags
	}
	return jetstream.Purges
}

// subject is one token: the takedown stream keeps the last message of each.
func (e Entry) subject() string {
	if e.Kind == KindTags {
		return "of"
	}
	sum := sha256.Sum256([]byte(e.Source + "\x00" + string(e.Name)))
	return hex.EncodeToString(sum[:16])
}
