package main

import (
	"context"
	"fmt"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"

	"github.com/novasocial/imagetier/resize/workers/wire"
)

// noDeadline: the parent kills what takes too long; nothing here could stop a decoder.
var noDeadline = context.Background()

// addressSpace is only a wide backstop: a Go and libvips process of 46 MB maps over 1.5 GB.
const addressSpace = 16 << 30

// confine sets the limits that need no libvips: on memory, and on files above all. files
// is how long a file may be that is written.
func confine(memory int64, files uint64) (hello wire.Hello, err error) {
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
			return hello, fmt.Errorf("limit %s: %w", limit.name, err)
		}
	}
	hello.Sandbox = []string{"rlimits"}
	return hello, nil
}

// sandbox takes away what the kernel lets it take: files, the network, new programs. It
// comes after libvips has started, which loads its modules from files. Not to have it is
// no reason not to work: what is missing is said in the greeting.
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

// confineFiles lets no path be opened any more, for reading or for writing, and no TCP
// port be reached or bound.
func confineFiles() error {
	if version, err := landlockVersion(); err != nil || version < 1 {
		return fmt.Errorf("not in this kernel: %w", err)
	}
	return landlock.V5.BestEffort().Restrict()
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

// forbidden are calls that a decoder has no use for and an attacker has. They fail with
// EPERM, on every thread.
var forbidden = []string{
	"socket", "socketpair", "connect", "bind", "listen", "accept", "accept4", "sendto", "sendmsg",
	"execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "kill", "tkill", "pidfd_open", "pidfd_getfd",
	"open", "openat", "openat2", "creat", "truncate", "unlink", "unlinkat", "rename", "renameat", "renameat2", "link", "linkat",
	"symlink", "symlinkat", "mkdir", "mkdirat", "mknod", "mknodat", "chmod", "fchmod", "fchmodat", "chown", "fchown", "fchownat",
	"mount", "umount2", "pivot_root", "chroot", "setns", "unshare", "bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key",
	"request_key", "io_uring_setup", "kexec_load", "init_module", "finit_module", "delete_module", "reboot", "swapon", "swapoff",
	"setuid", "setgid", "setresuid", "setresgid", "capset", "prlimit64", "memfd_create", "name_to_handle_at", "open_by_handle_at",
}

func confineCalls() error {
	if !seccomp.Supported() {
		return fmt.Errorf("not in this kernel")
	}
	return seccomp.LoadFilter(seccomp.Filter{
		NoNewPrivs: true,
		Flag:       seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{
			DefaultAction: seccomp.ActionAllow,
			Syscalls:      []seccomp.SyscallGroup{{Action: seccomp.ActionErrno, Names: forbidden}},
		},
	})
}
