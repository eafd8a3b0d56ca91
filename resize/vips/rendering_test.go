package vips

import (
	"testing"

	"github.com/novasocial/imagetier/resize"
)

// The decoder leaves 1.33 of the factor to the resampler, or 1.1 where it halves a large photo.
func TestJob_Shrink_JPEG(t *testing.T) {
	photo, mezzanine := size{4032, 3024}, size{1440, 1080}
	for _, c := range []struct {
		stored size
		factor float64
		want   int
	}{
		{photo, 1, 1}, {photo, 2.1, 1}, {photo, 2.29, 2}, {photo, 5.3, 2}, {photo, 5.4, 4}, {photo, 10.6, 4},
		{photo, 10.7, 8}, {photo, 60, 8}, {mezzanine, 2.29, 1}, {mezzanine, 2.7, 2},
	} {
		j := &job{kind: resize.KindJPEG, stored: c.stored}
		if got := j.shrink(c.factor); got != c.want {
			t.Errorf("%v by %v: the decoder scales down by %d, want %d", c.stored, c.factor, got, c.want)
		}
	}
}
