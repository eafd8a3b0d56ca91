package origin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/novasocial/imagetier/origin"
)

// arrivals is an Arrival that records its calls.
type arrivals struct{ calls []string }

func (a *arrivals) Arrived(body []byte, size int64) {
	a.calls = append(a.calls, fmt.Sprintf("%s of %d", body, size))
}

func (a *arrivals) Failed() { a.calls = append(a.calls, "failed") }

func TestReadAll_TellsWhatArrives(t *testing.T) {
	body := func(text string, size int64, end error) sourceFunc {
		return gives(func(context.Context) *origin.Object {
			return object(io.MultiReader(iotest.OneByteReader(strings.NewReader(text)), iotest.ErrReader(end)), size)
		})
	}
	whole := gives(func(context.Context) *origin.Object { return origin.NewWhole([]byte("abc")) })
	var calls atomic.Int64
	digest := fmt.Errorf("%w: %w", origin.ErrUnavailable, origin.ErrDigest)
	for name, c := range map[string]struct {
		src  origin.Source
		want []string
		err  error
	}{
		"complete":     {body("abc", 3, io.EOF), []string{"a of 3", "ab of 3", "abc of 3"}, nil},
		"unknown size": {body("abc", -1, io.EOF), nil, nil},
		"in memory":    {whole, nil, nil},
		"cut":          {body("a", 2, io.EOF), []string{"a of 2", "failed"}, origin.ErrUnavailable},
		"longer":       {body("ab", 1, io.EOF), []string{"a of 1", "failed"}, origin.ErrUnavailable},
		"over a limit": {body("abcdef", 6, io.EOF), []string{"failed"}, origin.ErrTooLarge},
		"wrong digest, then right": {
			origin.Retry(inTurn(&calls, body("ab", 2, digest), body("xy", 2, io.EOF)), origin.RetryConfig{}),
			[]string{"a of 2", "ab of 2", "failed", "x of 2", "xy of 2"}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &arrivals{}
				_, err := origin.ReadAll(origin.WithArrival(t.Context(), a), c.src, "x", origin.Cond{}, 5)
				if !errors.Is(err, c.err) || c.err == nil && err != nil {
					t.Errorf("error %v, want %v", err, c.err)
				}
				if !slices.Equal(a.calls, c.want) {
					t.Errorf("calls %q, want %q", a.calls, c.want)
				}
			})
		})
	}
}
