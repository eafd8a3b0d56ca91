package workers_test

import (
	"testing"
	"time"

	"github.com/novasocial/imagetier/resize"
	"github.com/novasocial/imagetier/resize/resizetest"
	"github.com/novasocial/imagetier/resize/workers"
)

func TestPool_Conformance(t *testing.T) {
	resizetest.Run(t, func(t *testing.T) resize.Resizer {
		return withVips(t, workers.Config{Workers: 2, Timeout: time.Minute})
	})
}
