// Package wire is what imagetier and its resize children say to each other over two
// pipes: the parent sends jobs, the child answers each, after a greeting. Neither side
// trusts a length that the other names.
//
//	greeting  version u8, then a block: JSON of Hello
//	job       a block: names of Specs, one a line; a block: the original
//	answer    code u8; then code 0: count u8, for each image format u8, width u32,
//	          height u32 and a block: its bytes; any other code: a block: the text
//	block     length u32, bytes
//
// All numbers are little-endian.
package wire

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/novasocial/imagetier/resize"
)

// Version of the protocol. A child of another is refused: the two programs are built together.
const Version = 1

// The most that each block may be long, in bytes.
const (
	maxHello = 16 << 10
	maxSpecs = 16 << 10
	maxText  = 4 << 10
	MaxImage = 256 << 20
	maxCount = 64 // images an answer
)

// Hello is what a child says of itself once libvips has started.
type Hello struct {
	Libvips string   `json:"libvips"`           // its version
	Loads   []string `json:"loads"`             // kinds: jpeg, png, …
	Saves   []string `json:"saves"`             // formats: jpg, png, …
	Sandbox []string `json:"sandbox"`           // what is in force: rlimits, landlock, seccomp
	Missing []string `json:"missing,omitempty"` // what this kernel could not be asked for, and why
}

// WriteHello greets.
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
		return h, fmt.Errorf("it speaks version %d of the protocol, want %d: imagetier and imagetier-resize are of different builds", version[0], Version)
	}
	text, err := readBlock(r, maxHello)
	if err != nil {
		return h, fmt.Errorf("read greeting: %w", err)
	}
	if err := json.Unmarshal(text, &h); err != nil {
		return h, fmt.Errorf("read greeting: %w", err)
	}
	return h, nil
}

// WriteJob sends a job. original is written as it is, without a copy.
func WriteJob(w io.Writer, original []byte, specs []resize.Spec) error {
	var names strings.Builder
	for i, s := range specs {
		if i > 0 {
			names.WriteByte('\n')
		}
		names.WriteString(s.Name())
	}
	head := appendBlock(nil, []byte(names.String()))
	head = binary.LittleEndian.AppendUint32(head, uint32(len(original)))
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err := w.Write(original)
	return err
}

// ReadJob reads a job whose original has at most max bytes. io.EOF: there are no more.
func ReadJob(r io.Reader, max int64) (original []byte, specs []resize.Spec, err error) {
	names, err := readBlock(r, maxSpecs)
	if err != nil {
		return nil, nil, err // io.EOF as it is
	}
	for name := range strings.SplitSeq(string(names), "\n") {
		spec, err := resize.ParseSpecName(name)
		if err != nil {
			return nil, nil, err
		}
		specs = append(specs, spec)
	}
	if original, err = readBlock(r, max); err != nil {
		return nil, nil, unexpected(err)
	}
	return original, specs, nil
}

// codes are the sentinels of resize as numbers; their order never changes.
var codes = [...]error{nil, resize.ErrSpec, resize.ErrUnsupported, resize.ErrTooLarge, resize.ErrCorrupt, resize.ErrFailed}

// WriteAnswer answers a job. An error that wraps no sentinel is sent as ErrFailed.
func WriteAnswer(w *bufio.Writer, images []resize.Image, err error) error {
	if err != nil {
		code := byte(len(codes) - 1)
		for i := 1; i < len(codes); i++ {
			if errors.Is(err, codes[i]) {
				code = byte(i)
				break
			}
		}
		text := err.Error()
		w.Write(appendBlock([]byte{code}, []byte(text[:min(len(text), maxText)])))
		return w.Flush()
	}
	w.Write([]byte{0, byte(len(images))})
	for _, img := range images {
		head := []byte{byte(img.Format)}
		head = binary.LittleEndian.AppendUint32(head, uint32(img.Width))
		head = binary.LittleEndian.AppendUint32(head, uint32(img.Height))
		head = binary.LittleEndian.AppendUint32(head, uint32(len(img.Body)))
		w.Write(head)
		w.Write(img.Body)
	}
	return w.Flush() // and the first error of them all
}

// Refused is what a child said against a job: it wraps the sentinel.
type Refused struct {
	Sentinel error
	Text     string
}

func (e *Refused) Error() string { return e.Text }
func (e *Refused) Unwrap() error { return e.Sentinel }

// ReadAnswer reads the answer to a job of these Specs. A *Refused is the child's word on
// the job; any other error means that the child is of no more use.
func ReadAnswer(r *bufio.Reader, specs []resize.Spec) ([]resize.Image, error) {
	code, err := r.ReadByte()
	if err != nil {
		return nil, err
	}
	if code != 0 {
		text, err := readBlock(r, maxText)
		if err != nil {
			return nil, unexpected(err)
		}
		if int(code) >= len(codes) {
			return nil, fmt.Errorf("it answers with the unknown code %d", code)
		}
		return nil, &Refused{codes[code], string(text)}
	}
	count, err := r.ReadByte()
	if err != nil {
		return nil, unexpected(err)
	}
	if int(count) != len(specs) || count > maxCount {
		return nil, fmt.Errorf("it answers with %d images, asked were %d", count, len(specs))
	}
	images := make([]resize.Image, count)
	for i := range images {
		var head [9]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return nil, unexpected(err)
		}
		body, err := readBlock(r, MaxImage)
		if err != nil {
			return nil, unexpected(err)
		}
		images[i] = resize.Image{
			Body: body, Format: resize.Format(head[0]),
			Width: int(binary.LittleEndian.Uint32(head[1:])), Height: int(binary.LittleEndian.Uint32(head[5:])),
		}
		if images[i].Format != specs[i].Format || len(body) == 0 {
			return nil, fmt.Errorf("it answers %s with %d bytes of %s", specs[i].Name(), len(body), images[i].Format)
		}
	}
	return images, nil
}

func appendBlock(dst, b []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(b)))
	return append(dst, b...)
}

// readBlock reads a block of at most max bytes. Memory grows with what really comes.
func readBlock(r io.Reader, max int64) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := int64(binary.LittleEndian.Uint32(size[:]))
	if n > max {
		return nil, fmt.Errorf("a block of %d bytes, allowed are %d", n, max)
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

// unexpected: the end of the stream inside of something is no end.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
