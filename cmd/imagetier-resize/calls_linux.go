package main

import (
	"fmt"
	"runtime"
	"unsafe"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// forbidden are system calls that a decoder does not need but an attacker could use. They fail
// with EPERM, on every thread. Not every architecture has all of them.
//
// This is a deny list because the calls of the Go runtime, glibc and the codecs vary by version
// and machine: a codec that fails on a call missing from an allow list would be an outage.
// Landlock is the second line of defence.
var forbidden = []string{
	// The network, and talking to other processes.
	"socket", "socketpair", "connect", "bind", "listen", "accept", "accept4",
	"sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "recvmmsg",
	"shmget", "shmat", "shmctl", "msgget", "msgsnd", "msgrcv", "semget", "semop", "mq_open", "mq_unlink",
	// Programs and other processes. Threads are made with clone; see forks.
	"execve", "execveat", "fork", "vfork", "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise",
	"kill", "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_open", "pidfd_getfd", "pidfd_send_signal", "kcmp",
	// Files, by any name.
	"open", "openat", "openat2", "creat", "truncate", "unlink", "unlinkat",
	"rename", "renameat", "renameat2", "link", "linkat",
	"symlink", "symlinkat", "mkdir", "mkdirat", "rmdir", "mknod", "mknodat", "memfd_create", "memfd_secret",
	"chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchown",
	"fchownat", "utime", "utimes", "utimensat", "futimesat",
	"setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr", "chdir", "fchdir",
	"name_to_handle_at", "open_by_handle_at", "inotify_init",
	"inotify_init1", "fanotify_init", "getdents", "getdents64",
	// The machine.
	"mount", "umount2", "pivot_root", "chroot", "setns", "unshare", "open_tree",
	"move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr",
	"bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key",
	"io_uring_setup", "io_uring_enter", "io_uring_register",
	"kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module",
	"reboot", "swapon", "swapoff", "syslog", "quotactl", "acct",
	"personality", "settimeofday", "clock_settime", "adjtimex", "clock_adjtime", "iopl",
	"ioperm", "modify_ldt", "vhangup", "sethostname", "setdomainname",
	"setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid", "setgroups", "capset",
	"setrlimit", "prlimit64", "setpgid", "setsid",
}

// confineCalls forbids these calls, those of other architectures, and new processes.
func confineCalls() error {
	if !seccomp.Supported() {
		return fmt.Errorf("not supported by this kernel")
	}
	native, err := arch.GetInfo("")
	if err != nil {
		return err
	}
	runtime.LockOSThread() // no_new_privs is set for one thread until the filter applies to all
	defer runtime.UnlockOSThread()
	var names []string
	for _, name := range forbidden {
		if _, ok := native.SyscallNames[name]; ok {
			names = append(names, name)
		}
	}
	eno := func(errno unix.Errno) seccomp.Action { return seccomp.ActionErrno | seccomp.Action(errno) }
	err = seccomp.LoadFilter(seccomp.Filter{
		NoNewPrivs: true,
		Flag:       seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{
			DefaultAction: seccomp.ActionAllow,
			Syscalls: []seccomp.SyscallGroup{
				{Action: eno(unix.EPERM), Names: names},
				// A filter cannot see the flags of clone3, which are in memory. Without clone3,
				// glibc uses clone.
				{Action: eno(unix.ENOSYS), Names: []string{"clone3"}},
				{Action: eno(unix.EPERM), NamesWithCondtions: []seccomp.NameWithConditions{
					{Name: "clone", Conditions: seccomp.ArgumentConditions{
						{Argument: 0, Operation: seccomp.BitsNotSet, Value: unix.CLONE_THREAD},
					}},
					// The Go runtime signals its own threads.
					{Name: "tgkill", Conditions: seccomp.ArgumentConditions{
						{Argument: 0, Operation: seccomp.NotEqual, Value: uint64(unix.Getpid())},
					}},
				}},
			},
		},
	})
	if err != nil {
		return err
	}
	if err := confineArchitecture(uint32(native.ID)); err != nil {
		return err
	}
	// The library does not notice if the kernel could not apply the filter to all threads, which is
	// not reported as an error.
	if mode, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0); err != nil || mode != unix.SECCOMP_MODE_FILTER {
		return fmt.Errorf("the filter is not in force (mode %d, %v)", mode, err)
	}
	return nil
}

// confineArchitecture kills the process if it makes a system call of another architecture, as int
// 0x80 does on amd64: the filter above checks the numbers of this architecture only, and the
// library allows all others.
func confineArchitecture(native uint32) error {
	const offsetOfArch = 4 // in struct seccomp_data
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offsetOfArch},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: native, Jt: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_KILL_PROCESS},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	thread, _, errno := unix.Syscall(
		unix.SYS_SECCOMP,
		unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC,
		uintptr(unsafe.Pointer(&program)),
	)
	runtime.KeepAlive(filter)
	if errno != 0 {
		return fmt.Errorf("other architectures: %w", errno)
	}
	if thread != 0 {
		return fmt.Errorf("other architectures: thread %d has another filter", thread)
	}
	return nil
}

// execve starts a program that does not exist, so it always returns.
func execve(program *byte) error {
	argv := []*byte{program, nil}
	_, _, errno := unix.RawSyscall(
		unix.SYS_EXECVE,
		uintptr(unsafe.Pointer(program)),
		uintptr(unsafe.Pointer(&argv[0])),
		uintptr(unsafe.Pointer(&argv[1])),
	)
	return errno
}

// impossibleFork requests a process that shares signal handlers but not memory. The kernel refuses
// that with EINVAL, unless the filter refuses it first with EPERM.
func impossibleFork() error {
	_, _, errno := unix.RawSyscall(unix.SYS_CLONE, unix.CLONE_SIGHAND, 0, 0)
	return errno
}
