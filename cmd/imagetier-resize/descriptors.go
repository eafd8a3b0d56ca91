package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// closeInherited closes all descriptors that this process got from its parent, except standard
// input, output and error and those of the watermarks: the tier may itself have been started with
// open files or sockets of another program. Those that the Go runtime has opened are marked
// close-on-exec, which an inherited descriptor cannot be.
func closeInherited(watermarks map[string]string) error {
	keep := map[int]bool{0: true, 1: true, 2: true}
	for _, file := range watermarks {
		if fd, err := strconv.Atoi(strings.TrimPrefix(file, descriptorDir)); err == nil {
			keep[fd] = true
		}
	}
	open, err := os.ReadDir(descriptorDir)
	if err != nil {
		return fmt.Errorf("close inherited descriptors: %w", err)
	}
	for _, entry := range open {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil || keep[fd] {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if errors.Is(err, unix.EBADF) {
			continue // the one that read the directory
		}
		if err != nil {
			return fmt.Errorf("close inherited descriptor %d: %w", fd, err)
		}
		if flags&unix.FD_CLOEXEC == 0 {
			_ = unix.Close(fd)
		}
	}
	return nil
}
