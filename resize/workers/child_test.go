package workers

import (
	"context"
	"errors"
	"testing"
)

func TestNothingIsSentOfAJobWhoseCallerIsGone(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	leave()
	j := &job{ctx: ctx, original: []byte("photo")}
	c := &child{} // without a pipe: sending would panic
	if _, err := c.exchange(j); !errors.Is(err, errUnsent) || c.jobs != 0 {
		t.Errorf("%v after %d jobs, want nothing sent", err, c.jobs)
	}
	if !j.reading.TryLock() {
		t.Error("its bytes are held, though nobody reads them")
	}
}
