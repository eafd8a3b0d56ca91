package workers

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// processAttributes are the attributes of a child: its own process group, and an end with the
// thread that started it.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// awaitExit waits until a child has exited. It does not reap it, so its process ID stays in use.
func awaitExit(pid int) {
	for {
		if err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// sealedFile returns a file in memory that cannot be modified, and the path by which a child opens
// it as descriptor fd. Opened by path, each child has a file offset of its own.
func sealedFile(name string, data []byte, fd int) (file *os.File, path string, err error) {
	memory, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, "", fmt.Errorf("create a file in memory: %w", err)
	}
	file = os.NewFile(uintptr(memory), name)
	_, err = file.Write(data)
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err == nil {
		const seals = unix.F_SEAL_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
		_, err = unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		file.Close()
		return nil, "", err
	}
	return file, "/proc/self/fd/" + strconv.Itoa(fd), nil
}
