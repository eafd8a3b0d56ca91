// Package durable writes small files that survive a kill and a power cut.
package durable

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// WriteFile atomically replaces the file at path by text, and returns when that is on the disk. The
// mode is 0640 minus the umask. After an error the file has its old content or, if only its name
// could not be synced, the new one.
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
