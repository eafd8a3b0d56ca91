// Package wire is the protocol between imagetier and its resize children, over two pipes: the
// child sends a greeting, the parent sends jobs, and the child answers each. Neither side trusts a
// length from the other. The frames are:
//
//	greeting  version u8, then a block: JSON of Hello
//	job       id u32; a block: names of Specs, one a line; a block: the original
//	answer    the job's id u32, code u8; then code 0: count u8, for each image format u8,
//	          width u32, height u32 and a block: its bytes; any other code: a block: the text
//	block     length u32, bytes
//
// All integers are little-endian. The ID prevents an answer from being taken for that of another
// job after an error.
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

// Version of the protocol. The parent refuses a child with another one: both are built together.
const Version = 1

// Maximum block sizes, in bytes.
const (
	maxHello = 16 << 10
	maxNames = 16 << 10
	maxText  = 1 << 10

	MaxOriginal = 1 << 30
	MaxImages   = 256 << 20 // total of an answer
)

// MaxSpecs is the maximum number of Specs of a job.
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

// Job is a request to a child.
type Job struct {
	ID       uint32
	Original []byte
	Specs    []resize.Spec // 1 to MaxSpecs
}

// WriteJob sends a job. It does not copy the original.
func WriteJob(w io.Writer, j Job) error {
	if len(j.Specs) < 1 || len(j.Specs) > MaxSpecs || len(j.Original) > MaxOriginal {
		return protocolErrorf("a job of %d Specs and %d bytes", len(j.Specs), len(j.Original))
	}
	var names strings.Builder
	for i, s := range j.Specs {
		if i > 0 {
			names.WriteByte('\n')
		}
		names.WriteString(s.Name())
	}
	head := binary.LittleEndian.AppendUint32(nil, j.ID)
	head = appendBlock(head, []byte(names.String()))
	head = binary.LittleEndian.AppendUint32(head, uint32(len(j.Original)))
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err := w.Write(j.Original)
	return err
}

// ReadJob reads a job whose original has at most max bytes. It returns io.EOF after the last job.
func ReadJob(r io.Reader, max int64) (j Job, err error) {
	var id [4]byte
	if _, err := io.ReadFull(r, id[:]); err != nil {
		return j, err // io.EOF as it is
	}
	j.ID = binary.LittleEndian.Uint32(id[:])
	names, err := readBlock(r, maxNames)
	if err != nil {
		return j, err
	}
	for name := range strings.SplitSeq(string(names), "\n") {
		spec, err := resize.ParseJobName(name)
		if err != nil {
			return j, protocolErrorf("%v", err)
		}
		if j.Specs = append(j.Specs, spec); len(j.Specs) > MaxSpecs {
			return j, protocolErrorf("more than %d Specs", MaxSpecs)
		}
	}
	j.Original, err = readBlock(r, max)
	return j, err
}

// codes are the sentinels of resize by number. Their order must not change.
var codes = [...]error{
	nil,
	resize.ErrSpec,
	resize.ErrUnsupported,
	resize.ErrTooLarge,
	resize.ErrCorrupt,
	resize.ErrFailed,
}

// codeUnavailable is the code of a *resize.UnavailableError, whose text is its What.
const codeUnavailable = 128

// WriteAnswer answers job id. An error that wraps no sentinel is sent as ErrFailed.
func WriteAnswer(w *bufio.Writer, id uint32, images []resize.Image, err error) error {
	total := 0
	for _, img := range images {
		total += len(img.Body)
	}
	if err == nil && total > MaxImages {
		err = fmt.Errorf("%w: the images have %d bytes, the limit is %d", resize.ErrTooLarge, total, MaxImages)
	}
	head := binary.LittleEndian.AppendUint32(nil, id)
	if err != nil {
		code, text := encodeError(err)
		w.Write(appendBlock(append(head, code), []byte(text[:min(len(text), maxText)])))
		return w.Flush()
	}
	w.Write(append(head, 0, byte(len(images))))
	for _, img := range images {
		head := []byte{byte(img.Format)}
		head = binary.LittleEndian.AppendUint32(head, uint32(img.Width))
		head = binary.LittleEndian.AppendUint32(head, uint32(img.Height))
		head = binary.LittleEndian.AppendUint32(head, uint32(len(img.Body)))
		w.Write(head)
		w.Write(img.Body)
	}
	return w.Flush() // returns the first error of all writes
}

// encodeError converts err to a code and a text.
func encodeError(err error) (code byte, text string) {
	var unavailable *resize.UnavailableError
	if errors.As(err, &unavailable) {
		return codeUnavailable, unavailable.What
	}
	for i := 1; i < len(codes); i++ {
		if errors.Is(err, codes[i]) {
			return byte(i), err.Error()
		}
	}
	return byte(len(codes) - 1), err.Error()
}

// JobError is a child's error about a job. It wraps one of resize's sentinels.
type JobError struct {
	Sentinel error
	Text     string
}

func (e *JobError) Error() string { return e.Text }
func (e *JobError) Unwrap() error { return e.Sentinel }

// ReadAnswer reads the answer to job id with these Specs. A *JobError is the child's answer; after
// any other error the child cannot be used any more: it has died or violated the protocol
// (ErrProtocol).
func ReadAnswer(r *bufio.Reader, id uint32, specs []resize.Spec) ([]resize.Image, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	if of := binary.LittleEndian.Uint32(head[:]); of != id {
		return nil, protocolErrorf("the answer is for job %d, want %d", of, id)
	}
	if code := head[4]; code != 0 {
		text, err := readBlock(r, maxText)
		if err != nil {
			return nil, err
		}
		if code == codeUnavailable {
			unavailable := &resize.UnavailableError{What: Printable(string(text))}
			return nil, &JobError{unavailable, unavailable.Error()}
		}
		if int(code) >= len(codes) {
			return nil, protocolErrorf("the answer has the unknown code %d", code)
		}
		return nil, &JobError{codes[code], Printable(string(text))}
	}
	count, err := r.ReadByte()
	if err != nil {
		return nil, unexpected(err)
	}
	if int(count) != len(specs) {
		return nil, protocolErrorf("the answer has %d images, want %d", count, len(specs))
	}
	images := make([]resize.Image, count)
	room := int64(MaxImages)
	for i := range images {
		if images[i], err = readImage(r, specs[i], room); err != nil {
			return nil, err
		}
		room -= int64(len(images[i].Body))
	}
	if n := r.Buffered(); n != 0 {
		return nil, protocolErrorf("%d bytes or more follow the answer", n)
	}
	return images, nil
}

// readImage reads an image of at most room bytes and checks that it looks like a variant of s. The
// check of its first bytes prevents a compromised child from answering with, say, an HTML page.
func readImage(r io.Reader, s resize.Spec, room int64) (resize.Image, error) {
	var head [9]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return resize.Image{}, unexpected(err)
	}
	img := resize.Image{
		Format: resize.Format(head[0]),
		Width:  int(binary.LittleEndian.Uint32(head[1:])), Height: int(binary.LittleEndian.Uint32(head[5:])),
	}
	if img.Format != s.Format || img.Width < 1 || img.Height < 1 || img.Width > maxSide || img.Height > maxSide {
		return resize.Image{}, protocolErrorf("the answer to %s has %dx%d pixels and the format %s",
			s.Name(), img.Width, img.Height, img.Format)
	}
	var err error
	if img.Body, err = readBlock(r, room); err != nil {
		return resize.Image{}, err
	}
	if s.Shape == resize.ShapeInfo {
		if len(img.Body) == 0 || img.Body[0] != '{' || !json.Valid(img.Body) {
			return resize.Image{}, protocolErrorf("the answer to %s is not JSON", s.Name())
		}
		return img, nil
	}
	if kind := resize.KindOf(img.Body); kind.ContentType() != s.Format.ContentType() {
		return resize.Image{}, protocolErrorf("the answer to %s is of the kind %q", s.Name(), kind)
	}
	return img, nil
}

// maxSide is more than the largest side, in pixels, of any output.
const maxSide = 1 << 16

// Printable makes text that an image may control safe for logs and errors.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

func appendBlock(dst, b []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(b)))
	return append(dst, b...)
}

// readBlock reads a block of at most max bytes. It allocates memory as data arrives. If the stream
// ends it returns io.ErrUnexpectedEOF.
func readBlock(r io.Reader, max int64) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, unexpected(err)
	}
	n := int64(binary.LittleEndian.Uint32(size[:]))
	if n > max {
		return nil, protocolErrorf("a block of %d bytes, the limit is %d", n, max)
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

// unexpected converts io.EOF, which would mean a clean end, to io.ErrUnexpectedEOF.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
