package main

import (
	"fmt"
	"os"
	"runtime"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"

	"github.com/novasocial/imagetier/resize/workers/wire"
)

// addressSpace is only a wide backstop: a Go and libvips process of 46 MB maps over 1.5 GB.
const addressSpace = 16 << 30

// limit sets the limits that need no libvips: on memory, and on files above all. memory is
// for data (RLIMIT_DATA), files is how long a file may be that is written.
func limit(memory int64, files uint64) error {
	// Where memory runs out all the same the kernel is to take this process, whose loss is
	// one image, and not the tier. No /proc, no such wish: it is not worth failing for.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("900"), 0)
	for _, limit := range []struct {
		name     string
		resource int
		value    uint64
	}{
		{"data", unix.RLIMIT_DATA, uint64(memory)},
		{"address space", unix.RLIMIT_AS, addressSpace},
		{"file size", unix.RLIMIT_FSIZE, files},
		{"core", unix.RLIMIT_CORE, 0}, // nor a core: it would hold pictures
		{"open files", unix.RLIMIT_NOFILE, 64},
	} {
		value := limit.value
		var now unix.Rlimit
		if err := unix.Getrlimit(limit.resource, &now); err == nil && now.Max < value {
			value = now.Max // what is stricter already stays
		}
		if err := unix.Setrlimit(limit.resource, &unix.Rlimit{Cur: value, Max: value}); err != nil {
			return fmt.Errorf("limit %s: %w", limit.name, err)
		}
	}
	// Where the machine or the cgroup runs out of memory, the kernel takes this process
	// and not the tier. To ask for that is always allowed; without /proc it is not so.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
	return nil
}

// sandbox takes away what the kernel lets it take: files, the network, new programs and
// processes. It comes after libvips has started, which loads its modules from files. Not
// to have it is no reason not to work: what is missing is said in the greeting.
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

// confineFiles lets no path be opened any more, for reading or for writing, no TCP or UDP
// port be reached or bound, and no other process be signalled; on every thread.
func confineFiles() error {
	version, err := landlockVersion()
	if err != nil {
		return fmt.Errorf("not in this kernel: %w", err)
	}
	if version < 1 {
		return fmt.Errorf("not in this kernel: version %d", version)
	}
	return landlock.V11.BestEffort().Restrict()
}

// landlockVersion asks the kernel for the version of its Landlock.
func landlockVersion() (int, error) {
	const askVersion = 1 // LANDLOCK_CREATE_RULESET_VERSION
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, askVersion)
	if errno != 0 {
		return 0, errno
	}
	return int(version), nil
}

// loopholes tries what the sandbox is to forbid, and returns what is possible all the
// same. Nothing that it does has an effect, whether it is forbidden or not.
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
		what string
		do   func() error
	}{
		{"read files", openFile(unix.O_RDONLY)},
		// A directory cannot be opened for writing: EISDIR says that nothing else forbids it.
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
			open = append(open, "it can "+try.what)
		}
	}
	return open
}
