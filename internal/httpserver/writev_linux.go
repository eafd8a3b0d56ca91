package httpserver

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// vectorWriter writes a head and a body to a TCP connection by one writev.
//
// The call does not block, but copying a body takes longer than the 20 µs after which Go's scheduler
// gives the processor of a system call to another thread. [unix.RawSyscall] does not tell the scheduler.
type vectorWriter struct {
	raw  syscall.RawConn
	some func(fd uintptr) (done bool) // writeSome, bound once

	// Of the running write:
	parts   [2]unix.Iovec
	left    []unix.Iovec // part of parts
	written int64
	err     error
}

func newVectorWriter(c *net.TCPConn) (*vectorWriter, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	w := &vectorWriter{raw: raw}
	w.some = w.writeSome
	return w, nil
}

// write writes head and body, neither of which is empty, until the connection's write deadline.
func (w *vectorWriter) write(head, body []byte) (written int64, err error) {
	w.parts = [2]unix.Iovec{{Base: unsafe.SliceData(head)}, {Base: unsafe.SliceData(body)}}
	w.parts[0].SetLen(len(head))
	w.parts[1].SetLen(len(body))
	w.left, w.written, w.err = w.parts[:], 0, nil
	err = w.raw.Write(w.some)
	w.parts = [2]unix.Iovec{} // the body is not kept alive
	if err == nil {
		err = w.err
	}
	return w.written, err
}

// writeSome reports whether all is written, or cannot be.
func (w *vectorWriter) writeSome(fd uintptr) bool {
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_WRITEV, fd,
			uintptr(unsafe.Pointer(unsafe.SliceData(w.left))), uintptr(len(w.left)))
		switch {
		case errno == unix.EAGAIN:
			return false
		case errno == unix.EINTR:
			continue
		case errno != 0:
			w.err = os.NewSyscallError("writev", errno)
			return true
		case n == 0:
			w.err = io.ErrUnexpectedEOF
			return true
		}
		w.written += int64(n)
		if w.advance(uint64(n)); len(w.left) == 0 {
			return true
		}
	}
}

// advance drops the first n of the remaining bytes.
func (w *vectorWriter) advance(n uint64) {
	for n > 0 && n >= uint64(w.left[0].Len) {
		n -= uint64(w.left[0].Len)
		w.left = w.left[1:]
	}
	if n > 0 {
		w.left[0].Base = (*byte)(unsafe.Add(unsafe.Pointer(w.left[0].Base), n))
		w.left[0].SetLen(int(uint64(w.left[0].Len) - n))
	}
}
