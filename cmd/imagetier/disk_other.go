//go:build !linux

package main

import "errors"

// diskAt returns what the directory is on.
func diskAt(string) (disk, error) {
	return disk{}, errors.New("only known on Linux")
}
