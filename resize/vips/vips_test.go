package vips

import (
	"testing"

	"github.com/novasocial/imagetier/resize"
	"github.com/novasocial/imagetier/resize/resizetest"
)

func TestResizer_Conformance(t *testing.T) {
	resizetest.Run(t, func(t *testing.T) resize.Resizer {
		r, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		return r
	})
}
