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
