package sharedstore_test

import (
	"fmt"
	"testing"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/sharedstore"
)

func TestTrust_Trusts_AfterTheLastPurgeOnly(t *testing.T) {
	of := imagecache.Original{Source: "posts", Name: "a"}
	at := func(log, entry uint64) sharedstore.Position { return sharedstore.Position{Log: log, Entry: entry} }
	for name, test := range map[string]struct {
		notes     func(*sharedstore.Trust)
		object    sharedstore.Position
		here      uint64 // current log; 0 means 1
		untrusted bool
	}{
		"no purge": {notes: func(*sharedstore.Trust) {}, object: at(1, 1)},
		"older": {notes: func(x *sharedstore.Trust) { x.Purged(of, "p", at(1, 8)) },
			object: at(1, 7), untrusted: true},
		"newer": {notes: func(x *sharedstore.Trust) { x.Purged(of, "p", at(1, 8)) }, object: at(1, 8)},
		"an older purge is read again": {notes: func(x *sharedstore.Trust) {
			x.Purged(of, "q", at(1, 8))
			x.Purged(of, "p", at(1, 5))
		}, object: at(1, 7), untrusted: true},
		"a purge of a lost log is read late": {notes: func(x *sharedstore.Trust) {
			x.Purged(of, "q", at(2, 8))
			x.Purged(of, "p", at(1, 9))
		}, object: at(2, 8), here: 2},
		"no purge, and another log": {notes: func(*sharedstore.Trust) {}, object: at(1, 9), here: 2, untrusted: true},
		"another log": {
			notes: func(x *sharedstore.Trust) { x.Purged(of, "p", at(2, 1)) }, object: at(1, 9), untrusted: true,
		},
		"decided": {notes: func(x *sharedstore.Trust) { x.Purging(of, "p") }, object: at(1, 9), untrusted: true},
		"decided, and another is read": {notes: func(x *sharedstore.Trust) {
			x.Purging(of, "p")
			x.Purged(of, "q", at(1, 6))
		}, object: at(1, 7), untrusted: true},
		"two decided, one read": {notes: func(x *sharedstore.Trust) {
			x.Purging(of, "p")
			x.Purging(of, "q")
			x.Purged(of, "q", at(1, 6))
		}, object: at(1, 7), untrusted: true},
		"two decided, both read": {notes: func(x *sharedstore.Trust) {
			x.Purging(of, "p")
			x.Purging(of, "q")
			x.Purged(of, "q", at(1, 7))
			x.Purged(of, "p", at(1, 6))
		}, object: at(1, 7)},
		"the log was reset": {notes: func(x *sharedstore.Trust) { x.Forgotten(at(1, 8)) },
			object: at(1, 7), untrusted: true},
		"the log was reset behind deletions": {notes: func(x *sharedstore.Trust) {
			x.Deleted(at(1, 9))
			x.Forgotten(at(1, 5))
			x.Deleted(at(1, 5))
		}, object: at(1, 7), untrusted: true},
		"the log has passed the reset": {notes: func(x *sharedstore.Trust) {
			x.Forgotten(at(1, 8))
			x.Deleted(at(1, 8))
		}, object: at(1, 7)},
		"decided, and given up": {notes: func(x *sharedstore.Trust) {
			x.Purging(of, "p")
			x.Purged(of, "p", sharedstore.Position{})
		}, object: at(1, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			var trust sharedstore.Trust
			trust.Recalled()
			test.notes(&trust)
			here := sharedstore.Position{Log: max(test.here, 1), Entry: 9}
			if got := trust.Trusts(of, test.object, here); got == test.untrusted {
				t.Errorf("trusted: %v", got)
			}
		})
	}
}

func TestTrust_Purged_KeepsTheLatest(t *testing.T) {
	of := imagecache.Original{Source: "posts", Name: "often purged"}
	var trust sharedstore.Trust
	trust.Recalled()
	for i := range uint64(120_000) {
		if i%1000 == 0 {
			trust.Purged(of, "p", sharedstore.Position{Log: 1, Entry: i + 1})
		}
		trust.Purged(imagecache.Original{Source: "posts", Name: string(rune(i))}, "q",
			sharedstore.Position{Log: 1, Entry: i + 1})
	}
	if trust.Trusts(of, sharedstore.Position{Log: 1, Entry: 100_000}, sharedstore.Position{Log: 1, Entry: 120_000}) {
		t.Error("a purge of a moment ago is forgotten: it was the first of its original long ago")
	}
}

func TestTrust_Trusts_NothingBeforeAForgottenPurge(t *testing.T) {
	at := func(entry uint64) sharedstore.Position { return sharedstore.Position{Log: 1, Entry: entry} }
	original := func(i uint64) imagecache.Original {
		return imagecache.Original{Source: "posts", Name: fmt.Sprint(i)}
	}
	const purges = 250_000
	var trust sharedstore.Trust
	trust.Recalled()
	for i := range uint64(purges) {
		trust.Purged(original(i), "p", at(i+1))
	}
	for i := range uint64(purges) {
		if trust.Trusts(original(i), at(i), at(purges)) {
			t.Fatalf("purge %d of %d is forgotten", i+1, purges)
		}
	}
	other := imagecache.Original{Source: "posts", Name: "never purged"}
	if trust.Trusts(other, at(10), at(purges)) || !trust.Trusts(other, at(purges-10), at(purges)) {
		t.Error("want trust only in objects after the forgotten purges")
	}
	trust.Deleted(at(5))
	if trust.Trusts(other, at(10), at(purges)) {
		t.Error("an old object is trusted, though those of most purges are not deleted")
	}
	trust.Deleted(at(purges - 10))
	if !trust.Trusts(other, at(10), at(purges)) {
		t.Error("an old object is not trusted, though those of the forgotten purges are deleted")
	}
}

// The outbox has room for 100,000 of them.
func TestTrust_Purging_IsNeverForgotten(t *testing.T) {
	var trust sharedstore.Trust
	trust.Recalled()
	of := imagecache.Original{Source: "posts", Name: "decided"}
	trust.Purging(of, "p")
	for i := range uint64(250_000) {
		trust.Purged(imagecache.Original{Source: "posts", Name: fmt.Sprint(i)}, "q",
			sharedstore.Position{Log: 1, Entry: i + 1})
	}
	here := sharedstore.Position{Log: 1, Entry: 250_000}
	if trust.Trusts(of, here, here) {
		t.Error("an object is trusted before its purge is in the log")
	}
}
