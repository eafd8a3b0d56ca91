package server

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/jetstream"
	"github.com/novasocial/imagetier/prefetch/tags"
)

// Without a cluster an event's tags are noted here, and wait, across a restart, for the others.
func TestWhatTheFleetCannotBeTaughtNowWaitsInAFile(t *testing.T) {
	dir := t.TempDir()
	open := func() *fleetTags {
		store, _, err := tags.Open(tags.Config{Path: filepath.Join(dir, "tags")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		nobody, err := jetstream.New(jetstream.Config{URL: "nats://127.0.0.1:1"}) // never run: there is no connection
		if err != nil {
			t.Fatal(err)
		}
		return newFleetTags(store, nobody, filepath.Join(dir, "tags.place"), slog.New(slog.DiscardHandler))
	}
	of := imagecache.Original{Source: "posts", Name: "a.jpg"}
	f := open()
	if err := f.Take(t.Context(), "event 1", []tags.Pair{{Tag: "post:p1", Of: of}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := f.Take(t.Context(), "event 2", nil, []string{"post:p1"}); err != nil {
		t.Fatal(err)
	}
	if got := f.Store.Of("post:p1"); !slices.Equal(got, []imagecache.Original{of}) ||
		!f.Ended("post:p1", time.Now().Add(-time.Hour)) {
		t.Errorf("%v is known here", got)
	}
	again := open()
	if len(again.outbox) != 2 || again.outbox[0].ID != "event 1.0" ||
		string(again.outbox[0].Entry.Learn[0].Name) != "a.jpg" ||
		again.outbox[1].Entry.End[0] != "post:p1" {
		t.Errorf("after a restart there waits %+v", again.outbox)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	again.flush(ctx) // in vain
	if len(again.outbox) != 2 {
		t.Errorf("%d wait after nobody was told", len(again.outbox))
	}
}
