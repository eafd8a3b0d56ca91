package workers

import (
	"context"
	"errors"
	"testing"

	"github.com/novasocial/imagetier/resize"
)

func TestChild_Exchange_SkipsAbandonedJob(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	leave()
	j := jobOf(ctx, resize.Job{Original: []byte("photo")})
	c := &child{} // without a pipe: sending would panic
	if err := c.exchange(j, nil); !errors.Is(err, errNotSent) || c.jobs != 0 {
		t.Errorf("%v after %d jobs, want nothing sent", err, c.jobs)
	}
	if !j.using.TryLock() {
		t.Error("using is locked after the exchange")
	}
}
