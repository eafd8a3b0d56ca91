package workers

import (
	"context"
	"errors"
	"testing"
)

func TestChild_Exchange_SkipsAbandonedJob(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	leave()
	j := &job{ctx: ctx, original: []byte("photo")}
	c := &child{} // without a pipe: sending would panic
	if _, err := c.exchange(j); !errors.Is(err, errNotSent) || c.jobs != 0 {
		t.Errorf("%v after %d jobs, want nothing sent", err, c.jobs)
	}
	if !j.reading.TryLock() {
		t.Error("reading is locked after the exchange")
	}
}
