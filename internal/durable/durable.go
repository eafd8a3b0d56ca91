// Package durable writes small files that outlive a kill and a power cut.
package durable

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// WriteFile puts text in place of the file at path, all of it or nothing, and returns when it is
// on the disk. Its mode is 0640, but for the umask. An error leaves the file as it was.
func WriteFile(path string, text []byte) error {
	if err := renameio.WriteFile(path, text, 0o640); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
