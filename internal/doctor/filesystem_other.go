//go:build !linux

package doctor

import "errors"

// statFS returns the file system that holds a directory.
func statFS(string) (filesystem, error) {
	return filesystem{}, errors.New("only supported on Linux")
}
