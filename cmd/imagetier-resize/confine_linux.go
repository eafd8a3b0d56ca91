package main

import (
	"fmt"
	"runtime"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"

	"github.com/novasocial/imagetier/resize/workers/wire"
)

// sandbox blocks files, the network, new programs and new processes, as far as the kernel supports
// it. It runs after libvips has started, because libvips loads modules from files. The process
// works without a sandbox too: the greeting says what is missing.
func sandbox(hello *wire.Hello) {
	add := func(name string, err error) {
		if err != nil {
			hello.Missing = append(hello.Missing, fmt.Sprintf("%s: %v", name, err))
			return
		}
		hello.Sandbox = append(hello.Sandbox, name)
	}
	add("landlock", confineFiles())
	add("seccomp", confineCalls())
}

// confineFiles blocks opening any path, connecting to or binding any TCP or UDP port, and signals
// to other processes, on every thread.
func confineFiles() error {
	version, err := landlockVersion()
	if err != nil {
		return fmt.Errorf("not supported by this kernel: %w", err)
	}
	if version < 1 {
		return fmt.Errorf("not supported by this kernel: version %d", version)
	}
	return landlock.V11.BestEffort().Restrict()
}

// landlockVersion returns the version of the kernel's Landlock.
func landlockVersion() (int, error) {
	const askVersion = 1 // LANDLOCK_CREATE_RULESET_VERSION
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, askVersion)
	if errno != 0 {
		return 0, errno
	}
	return int(version), nil
}

// loopholes tries what the sandbox should block and returns what is still possible. None of the
// attempts has an effect, even if it is allowed.
func loopholes() (open []string) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	openFile := func(flags int) func() error {
		return func() error {
			fd, err := unix.Open("/", flags|unix.O_CLOEXEC, 0)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}
	}
	socket := func(domain, kind int) func() error {
		return func() error {
			fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, 0)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}
	}
	nowhere := &[]byte("/nonexistent/program\x00")[0]
	for _, try := range []struct {
		action string
		do     func() error
	}{
		{"read files", openFile(unix.O_RDONLY)},
		// A directory cannot be opened for writing: EISDIR means that the sandbox allows it.
		{"write files", openFile(unix.O_RDWR)},
		{"make TCP sockets", socket(unix.AF_INET, unix.SOCK_STREAM)},
		{"make UDP sockets", socket(unix.AF_INET6, unix.SOCK_DGRAM)},
		{"make local sockets", socket(unix.AF_UNIX, unix.SOCK_STREAM)},
		{"start programs", func() error { return execve(nowhere) }},
		{"fork", impossibleFork},
		{"signal others", func() error { return unix.Kill(unix.Getppid(), 0) }},
		{"trace others", func() error { return unix.PtraceAttach(1 << 30) }},
	} {
		if err := try.do(); err != unix.EPERM && err != unix.EACCES {
			open = append(open, "it can "+try.action)
		}
	}
	return open
}
