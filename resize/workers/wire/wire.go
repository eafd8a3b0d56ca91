// Package wire is the protocol between imagetier and its resize children, over two pipes: the
// child sends a greeting, the parent sends jobs, and the child answers each. Neither side trusts a
// length from the other. The frames are:
//
//	greeting  version u8, then a block: JSON of Hello
//	job       1 u8, id u32; a block: names of Specs, one a line; a block: those of the Optional
//	          Specs; a block: the original
//	reply     2 or 3 u8, to the child's ready: make the Optional Specs, or leave them out
//	early     4 u8, then as a job, but with the length of the original instead of its block: it is
//	          still arriving. Pieces and an end follow
//	piece     5 u8, a block: the next bytes of the original
//	end       6 or 7 u8: the original is complete and verified, or it must not be used. The child
//	          answers only after that
//	answer    parts, each beginning with the job's id u32 and its kind u8:
//	          image: index u8, format u8, width u32, height u32 and a block: its bytes
//	          ready: all Specs are made, and the child waits for a reply about the Optional ones
//	          error: code u8 and a block: the text; the last part
//	          end: all is made that will be; the last part
//	block     length u32, bytes
//
// All integers are little-endian. The ID prevents an answer from being taken for that of another
// job after an error. Each part is sent as soon as it is complete.
package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Version of the protocol. The parent refuses a child with another one: both are built together.
const Version = 3

// Maximum block sizes, in bytes.
const (
	maxHello = 16 << 10
	maxNames = 16 << 10
	maxText  = 1 << 10

	MaxOriginal = 1 << 30
	MaxImages   = 256 << 20 // total of an answer
)

// MaxSpecs is the maximum number of Specs of a job, Optional ones included.
const MaxSpecs = 64

// ExitMemory is the exit status of a child that has reached its memory limit.
const ExitMemory = 12

// ErrProtocol is returned for input that violates the protocol.
var ErrProtocol = errors.New("protocol error")

func protocolErrorf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}

// Hello is a child's greeting, sent once libvips has started.
type Hello struct {
	Libvips string   `json:"libvips"`           // version
	Loads   []string `json:"loads"`             // kinds: jpeg, png, …
	Saves   []string `json:"saves"`             // formats: jpg, png, …
	Sandbox []string `json:"sandbox"`           // in force: rlimits, landlock, seccomp
	Missing []string `json:"missing,omitempty"` // not in force, with the reason; and what is not blocked
}

// WriteHello sends the greeting.
func WriteHello(w io.Writer, h Hello) error {
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	_, err = w.Write(appendBlock([]byte{Version}, text))
	return err
}

// ReadHello reads the greeting.
func ReadHello(r io.Reader) (h Hello, err error) {
	var version [1]byte
	if _, err := io.ReadFull(r, version[:]); err != nil {
		return h, fmt.Errorf("read greeting: %w", err)
	}
	if version[0] != Version {
		return h, protocolErrorf(
			"it uses protocol version %d, want %d: imagetier and imagetier-resize are from different builds",
			version[0],
			Version,
		)
	}
	text, err := readBlock(r, maxHello)
	if err != nil {
		return h, fmt.Errorf("read greeting: %w", err)
	}
	if err := json.Unmarshal(text, &h); err != nil {
		return h, protocolErrorf("read greeting: %v", err)
	}
	return h, nil
}

func appendBlock(dst, b []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(b)))
	return append(dst, b...)
}

// readBlock reads a block of at most max bytes. It allocates memory as data arrives. If the stream
// ends it returns io.ErrUnexpectedEOF.
func readBlock(r io.Reader, max int64) ([]byte, error) {
	n, err := readSize(r, max)
	if err != nil {
		return nil, err
	}
	const trusted = 4 << 20
	if n <= trusted {
		b := make([]byte, n)
		_, err := io.ReadFull(r, b)
		return b, unexpected(err)
	}
	b := make([]byte, 0, trusted)
	for int64(len(b)) < n {
		if len(b) == cap(b) {
			grown := make([]byte, len(b), min(n, 2*int64(cap(b))))
			copy(grown, b)
			b = grown
		}
		m, err := io.ReadFull(r, b[len(b):cap(b)])
		b = b[:len(b)+m]
		if err != nil {
			return nil, unexpected(err)
		}
	}
	return b, nil
}

// readSize reads the length of a block, at most max bytes.
func readSize(r io.Reader, max int64) (int64, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return 0, unexpected(err)
	}
	n := int64(binary.LittleEndian.Uint32(size[:]))
	if n > max {
		return 0, protocolErrorf("a block of %d bytes, the limit is %d", n, max)
	}
	return n, nil
}

// unexpected converts io.EOF, which would mean a clean end, to io.ErrUnexpectedEOF.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
