package pagecache

import (
	"io"
	"net"
	"testing"
)

// Values requested between the dial and the first command may have missed changes.
func TestLink_Dialed_MovesTwice(t *testing.T) {
	l := newLink(Config{}, nil)
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go func() { _, _ = io.Copy(io.Discard, theirs) }()
	c := l.dialed(ours)
	defer c.Close()
	got := []uint32{l.number.Load()}
	for range 3 { // the handshake, and two commands
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		got = append(got, l.number.Load())
	}
	for i, want := range []uint32{1, 1, 2, 2} {
		if got[i] != want {
			t.Fatalf("the number was %v, want 1 1 2 2", got)
		}
	}
}
