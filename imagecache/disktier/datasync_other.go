//go:build unix && !linux

package disktier

import "syscall"

func datasync(fd int) error { return syscall.Fsync(fd) }
