// Package wire is what imagetier and its resize children say to each other over two
// pipes: the parent sends jobs, the child answers each, after a greeting. Neither side
// trusts a length that the other names.
//
//	greeting  version u8, then a block: JSON of Hello
//	job       id u32; a block: names of Specs, one a line; a block: the original
//	answer    the job's id u32, code u8; then code 0: count u8, for each image format u8,
//	          width u32, height u32 and a block: its bytes; any other code: a block: the text
//	block     length u32, bytes
//
// All numbers are little-endian. The id keeps an answer from being taken for that of
// another job, whatever went wrong before.
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
	maxNames = 16 << 10
	maxText  = 1 << 10

	MaxOriginal = 1 << 30
	MaxImages   = 256 << 20 // all of an answer together
)

// MaxSpecs is how many Specs a job may have.
const MaxSpecs = 64

// ErrNonsense: what came is not what the protocol says.
var ErrNonsense = errors.New("nonsense")

func nonsense(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrNonsense, fmt.Sprintf(format, args...))
}

// Hello is what a child says of itself once libvips has started.
type Hello struct {
	Libvips string   `json:"libvips"`           // its version
	Loads   []string `json:"loads"`             // kinds: jpeg, png, …
	Saves   []string `json:"saves"`             // formats: jpg, png, …
	Sandbox []string `json:"sandbox"`           // what is in force: rlimits, landlock, seccomp
	Missing []string `json:"missing,omitempty"` // what is not, and why; and what it still can do
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
		return h, nonsense("it speaks version %d of the protocol, want %d: imagetier and imagetier-resize are of different builds", version[0], Version)
	}
	text, err := readBlock(r, maxHello)
	if err != nil {
		return h, fmt.Errorf("read greeting: %w", err)
	}
	if err := json.Unmarshal(text, &h); err != nil {
		return h, nonsense("read greeting: %v", err)
	}
	return h, nil
}

// Job is what a child is asked to do.
type Job struct {
	ID       uint32
	Original []byte
	Specs    []resize.Spec // 1 to MaxSpecs
}

// WriteJob sends a job. The original is written as it is, without a copy.
func WriteJob(w io.Writer, j Job) error {
	if len(j.Specs) < 1 || len(j.Specs) > MaxSpecs || len(j.Original) > MaxOriginal {
		return nonsense("a job of %d Specs and %d bytes", len(j.Specs), len(j.Original))
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

// ReadJob reads a job whose original has at most max bytes. io.EOF: there are no more.
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
			return j, nonsense("%v", err)
		}
		if j.Specs = append(j.Specs, spec); len(j.Specs) > MaxSpecs {
			return j, nonsense("more than %d Specs", MaxSpecs)
		}
	}
	j.Original, err = readBlock(r, max)
	return j, err
}

// codes are the sentinels of resize as numbers; their order never changes.
var codes = [...]error{nil, resize.ErrSpec, resize.ErrUnsupported, resize.ErrTooLarge, resize.ErrCorrupt, resize.ErrFailed}

// codeMissing is that of a *resize.UnavailableError, whose text is its What.
const codeMissing = 128

// WriteAnswer answers the job id. An error that wraps no sentinel is sent as ErrFailed.
func WriteAnswer(w *bufio.Writer, id uint32, images []resize.Image, err error) error {
	total := 0
	for _, img := range images {
		total += len(img.Body)
	}
	if err == nil && total > MaxImages {
		err = fmt.Errorf("%w: what was made has %d bytes, allowed are %d", resize.ErrTooLarge, total, MaxImages)
	}
	head := binary.LittleEndian.AppendUint32(nil, id)
	if err != nil {
		code, text := refusal(err)
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
	return w.Flush() // and the first error of them all
}

// refusal spells err as a code and a text.
func refusal(err error) (code byte, text string) {
	var missing *resize.UnavailableError
	if errors.As(err, &missing) {
		return codeMissing, missing.What
	}
	for i := 1; i < len(codes); i++ {
		if errors.Is(err, codes[i]) {
			return byte(i), err.Error()
		}
	}
	return byte(len(codes) - 1), err.Error()
}

// Refused is what a child said against a job: it wraps the sentinel.
type Refused struct {
	Sentinel error
	Text     string
}

func (e *Refused) Error() string { return e.Text }
func (e *Refused) Unwrap() error { return e.Sentinel }

// ReadAnswer reads the answer to the job id of these Specs. A *Refused is the child's word
// on the job; any other error means that the child is of no more use: it has died, or
// talks nonsense (ErrNonsense).
func ReadAnswer(r *bufio.Reader, id uint32, specs []resize.Spec) ([]resize.Image, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	if of := binary.LittleEndian.Uint32(head[:]); of != id {
		return nil, nonsense("it answers job %d, asked was %d", of, id)
	}
	if code := head[4]; code != 0 {
		text, err := readBlock(r, maxText)
		if err != nil {
			return nil, err
		}
		if code == codeMissing {
			missing := &resize.UnavailableError{What: Printable(string(text))}
			return nil, &Refused{missing, missing.Error()}
		}
		if int(code) >= len(codes) {
			return nil, nonsense("it answers with the unknown code %d", code)
		}
		return nil, &Refused{codes[code], Printable(string(text))}
	}
	count, err := r.ReadByte()
	if err != nil {
		return nil, unexpected(err)
	}
	if int(count) != len(specs) {
		return nil, nonsense("it answers with %d images, asked were %d", count, len(specs))
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
		return nil, nonsense("it goes on after its answer for %d bytes or more", n)
	}
	return images, nil
}

// readImage reads an image of at most room bytes that is to be a variant of s. That it
// begins as its format does keeps a child that an image has taken over from answering
// with a page.
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
		return resize.Image{}, nonsense("it answers %s with %dx%d pixels of %s", s.Name(), img.Width, img.Height, img.Format)
	}
	var err error
	if img.Body, err = readBlock(r, room); err != nil {
		return resize.Image{}, err
	}
	if s.Shape == resize.ShapeInfo {
		if len(img.Body) == 0 || img.Body[0] != '{' || !json.Valid(img.Body) {
			return resize.Image{}, nonsense("it answers %s with what is no JSON", s.Name())
		}
		return img, nil
	}
	if kind := resize.KindOf(img.Body); kind.ContentType() != s.Format.ContentType() {
		return resize.Image{}, nonsense("it answers %s with bytes of the kind %q", s.Name(), kind)
	}
	return img, nil
}

// maxSide is more pixels than any side has that is asked for: of an image that keeps its
// size as of one in a box.
const maxSide = 1 << 16

// Printable makes text that an image may have chosen fit for a log and an error.
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

// readBlock reads a block of at most max bytes. Memory grows with what really comes. A
// stream that ends here is io.ErrUnexpectedEOF.
func readBlock(r io.Reader, max int64) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, unexpected(err)
	}
	n := int64(binary.LittleEndian.Uint32(size[:]))
	if n > max {
		return nil, nonsense("a block of %d bytes, allowed are %d", n, max)
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
