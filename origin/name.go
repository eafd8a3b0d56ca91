package origin

import (
	"fmt"
	"strings"
)

// CheckName refuses names that are not safe as paths: an empty name, a NUL, and empty, "."
// and ".." segments between slashes. Sources whose names become paths (directories, HTTP)
// call it first; S3 does not, since each of these is a key of its own there. name is
// percent-decoded and has no query. The error wraps ErrName.
func CheckName(name string) error {
	if strings.IndexByte(name, 0) >= 0 {
		return fmt.Errorf("%w: contains a NUL", ErrName)
	}
	for segment := range strings.SplitSeq(name, "/") {
		switch segment {
		case "":
			return fmt.Errorf("%w: empty segment", ErrName)
		case ".", "..":
			return fmt.Errorf("%w: segment %q", ErrName, segment)
		}
	}
	return nil
}
