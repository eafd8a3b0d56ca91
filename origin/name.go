package origin

import (
	"fmt"
	"strings"
)

// CheckName refuses what no path can mean safely: an empty name, a NUL, and empty, "." and
// ".." segments between slashes. Sources whose names become paths (directories, HTTP) ask
// it before anything else; S3 does not, where each of these names an object of its own.
// name is decoded: the bytes, not what a URL spells. For HTTP it is what stands before the
// query. The error wraps ErrName.
func CheckName(name string) error {
	if strings.IndexByte(name, 0) >= 0 {
		return fmt.Errorf("%w: it has a NUL", ErrName)
	}
	for segment := range strings.SplitSeq(name, "/") {
		switch segment {
		case "":
			return fmt.Errorf("%w: it has an empty segment", ErrName)
		case ".", "..":
			return fmt.Errorf("%w: it has a segment %s", ErrName, segment)
		}
	}
	return nil
}
