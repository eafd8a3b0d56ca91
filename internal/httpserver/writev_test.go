package httpserver

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// tcpPair returns both ends of a connection whose sender buffers little.
func tcpPair(t *testing.T) (from, to *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialed, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialed.Close(); accepted.Close() })
	from, to = accepted.(*net.TCPConn), dialed.(*net.TCPConn)
	if err := from.SetWriteBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	return from, to
}

func TestVectorWriter_Write_ContinuesWhereTheKernelStopped(t *testing.T) {
	from, to := tcpPair(t)
	w, err := newVectorWriter(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []struct{ head, body int }{{700, 20_000}, {1_000_000, 1}, {1, 3_000_000}, {300_000, 300_000}} {
		head, body := make([]byte, size.head), make([]byte, size.body)
		for i := range head {
			head[i] = byte(i % 251)
		}
		for i := range body {
			body[i] = byte(i % 241)
		}
		read := make(chan []byte, 1)
		go func() {
			got := make([]byte, size.head+size.body)
			_, _ = io.ReadFull(to, got)
			read <- got
		}()
		written, err := w.write(head, body)
		if err != nil || written != int64(size.head+size.body) {
			t.Fatalf("%+v: wrote %d, %v", size, written, err)
		}
		if got := <-read; !bytes.Equal(got[:size.head], head) || !bytes.Equal(got[size.head:], body) {
			t.Errorf("%+v: the bytes received differ from those written", size)
		}
	}
}

func TestVectorWriter_Write_EndsAtTheDeadline(t *testing.T) {
	from, to := tcpPair(t)
	w, err := newVectorWriter(from)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = io.ReadFull(to, make([]byte, 200)) // the write has begun
		_ = from.SetWriteDeadline(time.Unix(1, 0))
	}()
	written, err := w.write(make([]byte, 100), make([]byte, 32<<20))
	if !errors.Is(err, os.ErrDeadlineExceeded) || written < 100 || written >= 32<<20 {
		t.Errorf("wrote %d, %v; want part of it until the deadline", written, err)
	}
}

func TestVectorWriter_Write_ClientGone(t *testing.T) {
	from, to := tcpPair(t)
	w, err := newVectorWriter(from)
	if err != nil {
		t.Fatal(err)
	}
	_ = to.SetLinger(0)
	to.Close()
	if _, err := w.write(make([]byte, 100), make([]byte, 32<<20)); err == nil {
		t.Error("wrote 32 MiB to a connection that was reset")
	}
}
