package disktier

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// InUse reports whether a Tier, of this or another process, has the directory open. A tier that opens it at this very
// moment may find it locked.
func InUse(dir string) bool {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDONLY|syscall.O_NONBLOCK, 0) // opening a FIFO would block
	if err != nil {
		return false
	}
	defer f.Close() // and unlocks it
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}
