package jetstream

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// While the first entries are applied, the stream drops all entries, also those that the client has
// not buffered yet. No later entry reveals the gap, so the follower has to check the state of the
// stream.
func TestBus_Follow_BeginsAgainAfterAGap(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds: the follower looks at the stream from time to time")
	}
	b := outside(t)
	s, err := b.session()
	if err != nil {
		t.Fatal(err)
	}
	stream, err := s.js.Stream(t.Context(), Purges.stream)
	if err != nil {
		t.Fatal(err)
	}
	const entries = 2000 // more than a client buffers
	for i := range entries {
		if _, err := b.Append(t.Context(), Purges, "x", fmt.Sprint(i), []byte("entry")); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var begun []LogState
	err = b.Follow(ctx, Purges, Follower{
		Begin: func(state LogState) (uint64, error) {
			if begun = append(begun, state); len(begun) == 2 {
				cancel()
			}
			return 1, nil
		},
		Apply: func(ctx context.Context, some []Numbered) error {
			if some[0].Number == 1 {
				return stream.Purge(ctx)
			}
			return nil
		},
	})
	if err != nil || len(begun) != 2 || begun[1].First != entries+1 {
		t.Errorf("begun with %+v, %v; want a second time, with what the stream has then", begun, err)
	}
}

// A node needs proof that it has all purges, and must know which of them are not worked off yet.
func TestBus_Follow_ReportsTheStateOfTheLog(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds: the follower looks at the stream from time to time")
	}
	b := outside(t)
	for i := range 3 {
		if _, err := b.Append(t.Context(), Purges, "x", fmt.Sprint(i), []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	// begin returns what Begin gets, and ends there unless look is set.
	begin := func(look func(LogState)) (begun LogState) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := b.Follow(ctx, Purges, Follower{
			Begin: func(state LogState) (uint64, error) {
				if begun = state; look == nil {
					cancel()
				}
				return 4, nil
			},
			Apply:  func(context.Context, []Numbered) error { return nil },
			Shared: true,
			Look: func(state LogState) {
				look(state)
				cancel()
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		return begun
	}
	if got := begin(nil); got.Shared != 0 || got.Last != 3 {
		t.Errorf("%+v, want all entries left to do before the first node shares them", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := 0
	err := b.Share(ctx, func(_ context.Context, e Entry) time.Duration {
		if done++; done == 3 {
			cancel()
		}
		if e.Data[0] == 1 {
			return time.Hour // the second one is not done
		}
		return 0
	})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var looked LogState
	begun := begin(func(state LogState) { looked = state })
	if begun.Shared != 1 {
		t.Errorf("done up to %d, want 1", begun.Shared)
	}
	if looked.Last != 3 || looked.Shared != 1 || looked.ID != begun.ID || !looked.Asked.After(begun.Asked) ||
		!begun.Asked.After(began) {
		t.Errorf("began %v with %+v, then %+v", began, begun, looked)
	}
}
