package workers

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// macOS is for development: children have no sandbox, and their CPU time and memory are not known.

// processAttributes are the attributes of a child: its own process group.
func processAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitExit waits until a child has exited. It does not reap it, so its process ID stays in use. If
// the system has no queue left, it returns at once, and the child is killed.
func awaitExit(pid int) {
	queue, err := unix.Kqueue()
	if err != nil {
		return
	}
	defer unix.Close(queue)
	changes := make([]unix.Kevent_t, 1)
	unix.SetKevent(&changes[0], pid, unix.EVFILT_PROC, unix.EV_ADD)
	changes[0].Fflags = unix.NOTE_EXIT
	for {
		// A process that has exited before is an event, too (EV_ERROR with ESRCH).
		if _, err := unix.Kevent(queue, changes, make([]unix.Kevent_t, 1), nil); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// sealedFile returns a temporary file and its path, by which a child opens it. The system removes
// the file with other old temporary files.
func sealedFile(_ string, data []byte, _ int) (file *os.File, path string, err error) {
	if file, err = os.CreateTemp("", "imagetier-watermark-"); err != nil {
		return nil, "", err
	}
	if _, err = file.Write(data); err != nil {
		file.Close()
		return nil, "", err
	}
	return file, file.Name(), nil
}

// cpu returns 0: the CPU time of another process is not known.
func (c *child) cpu() time.Duration { return 0 }

// limitCPU does nothing: only Linux sets limits of another process.
func (c *child) limitCPU(time.Duration) {}
