package vips

import (
	"testing"

	"github.com/novasocial/imagetier/resize"
)

// Metadata is inserted only into files with the layout that encoders are known to write. Any other
// layout is an error, and never a broken file.
func TestCarried_Into_RejectsUnknownLayout(t *testing.T) {
	all := carried{displayP3, resize.Credit{Author: "A"}}
	for _, f := range formats {
		for _, file := range []string{
			"", "x", "\xff\xd8\xff\xe0\xff\xff", string(make([]byte, 40)),
			"\x00\x00\x00\x0cftypavif\x00\x00\x00\x10meta\x00\x00\x00\x00\x00\x00\x00\x09",
			"\xff\x0b",
		} {
			if got, err := all.into([]byte(file), f); err == nil {
				t.Errorf("%s: %q became %.60q", f, file, got)
			}
		}
	}
}
