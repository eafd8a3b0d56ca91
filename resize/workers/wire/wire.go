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
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/novasocial/imagetier/resize"
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

// Job is a request to a child.
type Job struct {
	ID              uint32
	Original        []byte
	Specs, Optional []resize.Spec // see resize.Job; 1 to MaxSpecs together, at least one in Specs
	// Early is the length of an original that is still arriving, 0 for any other. Original is nil then.
	Early int
}

// The kinds of frames from the parent.
const (
	kindJob = 1 + iota
	kindGoOn
	kindStop
	kindEarly
	kindPiece
	kindWhole
	kindUnusable
)

// WriteJob sends a job. It does not copy the original. After an Early one, WritePiece and WriteEnd send the original.
func WriteJob(w io.Writer, j Job) error {
	kind, size := byte(kindJob), len(j.Original)
	if j.Early > 0 {
		kind, size = kindEarly, j.Early
	}
	if n := len(j.Specs) + len(j.Optional); len(j.Specs) < 1 || n > MaxSpecs || size > MaxOriginal {
		return protocolErrorf("a job of %d Specs and %d bytes", n, size)
	}
	head := binary.LittleEndian.AppendUint32([]byte{kind}, j.ID)
	head = appendBlock(head, namesOf(j.Specs))
	head = appendBlock(head, namesOf(j.Optional))
	head = binary.LittleEndian.AppendUint32(head, uint32(size))
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err := w.Write(j.Original)
	return err
}

// WritePiece sends the next bytes of the original of an Early job.
func WritePiece(w io.Writer, piece []byte) error {
	if _, err := w.Write(binary.LittleEndian.AppendUint32([]byte{kindPiece}, uint32(len(piece)))); err != nil {
		return err
	}
	_, err := w.Write(piece)
	return err
}

// WriteEnd ends the original of an Early job. The child may use it if all of it was sent and is verified.
func WriteEnd(w io.Writer, usable bool) error {
	kind := byte(kindUnusable)
	if usable {
		kind = kindWhole
	}
	_, err := w.Write([]byte{kind})
	return err
}

func namesOf(specs []resize.Spec) []byte {
	var names []byte
	for i, s := range specs {
		if i > 0 {
			names = append(names, '\n')
		}
		names = append(names, s.Name()...)
	}
	return names
}

// WriteReply sends the reply to [Answer.Ready].
func WriteReply(w io.Writer, goOn bool) error {
	kind := byte(kindStop)
	if goOn {
		kind = kindGoOn
	}
	_, err := w.Write([]byte{kind})
	return err
}

// Request is a frame from the parent: a job, a piece, an end or a reply.
type Request struct {
	Job    *Job
	Piece  int  // the number of bytes of a piece, which the caller must read next
	End    bool // it is an end
	Usable bool // what the end says
	GoOn   bool // the reply
}

// ReadRequest reads a frame. An original, or a piece of one, has at most max bytes. It returns io.EOF after the
// last frame.
func ReadRequest(r io.Reader, max int64) (Request, error) {
	var kind [1]byte
	if _, err := io.ReadFull(r, kind[:]); err != nil {
		return Request{}, err // io.EOF as it is
	}
	switch kind[0] {
	case kindJob, kindEarly:
		j, err := readJob(r, max, kind[0] == kindEarly)
		return Request{Job: &j}, err
	case kindPiece:
		n, err := readSize(r, max)
		if err == nil && n == 0 {
			err = protocolErrorf("an empty piece")
		}
		return Request{Piece: int(n)}, err
	case kindWhole, kindUnusable:
		return Request{End: true, Usable: kind[0] == kindWhole}, nil
	case kindGoOn, kindStop:
		return Request{GoOn: kind[0] == kindGoOn}, nil
	}
	return Request{}, protocolErrorf("a frame of the unknown kind %d", kind[0])
}

func readJob(r io.Reader, max int64, early bool) (j Job, err error) {
	var id [4]byte
	if _, err := io.ReadFull(r, id[:]); err != nil {
		return j, unexpected(err)
	}
	j.ID = binary.LittleEndian.Uint32(id[:])
	if j.Specs, err = readSpecs(r); err != nil {
		return j, err
	}
	if j.Optional, err = readSpecs(r); err != nil {
		return j, err
	}
	if n := len(j.Specs) + len(j.Optional); len(j.Specs) < 1 || n > MaxSpecs {
		return j, protocolErrorf("a job of %d Specs, the limit is %d", n, MaxSpecs)
	}
	if !early {
		j.Original, err = readBlock(r, max)
		return j, err
	}
	size, err := readSize(r, max)
	if err == nil && size == 0 {
		err = protocolErrorf("an empty original that is still arriving")
	}
	j.Early = int(size)
	return j, err
}

func readSpecs(r io.Reader) (specs []resize.Spec, err error) {
	names, err := readBlock(r, maxNames)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	for name := range strings.SplitSeq(string(names), "\n") {
		spec, err := resize.ParseJobName(name)
		if err != nil {
			return nil, protocolErrorf("%v", err)
		}
		specs = append(specs, spec)
	}
	return specs, nil
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

// The kinds of parts of an answer.
const (
	kindImage = 1 + iota
	kindReady
	kindError
	kindEnd
)

// Answer sends the parts of an answer.
type Answer struct {
	w     *bufio.Writer
	id    uint32
	total int
	err   error // the images are too large
}

// NewAnswer begins the answer to job id.
func NewAnswer(w *bufio.Writer, id uint32) *Answer { return &Answer{w: w, id: id} }

func (a *Answer) head(kind byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, a.id), kind)
}

// Image sends the image of Spec i. Once there are more than MaxImages bytes it sends nothing, and [Answer.End]
// sends an error.
func (a *Answer) Image(i int, img resize.Image) error {
	if a.total += len(img.Body); a.total > MaxImages {
		a.err = fmt.Errorf("%w: the images have %d bytes, the limit is %d", resize.ErrTooLarge, a.total, MaxImages)
		return nil
	}
	head := append(a.head(kindImage), byte(i), byte(img.Format))
	head = binary.LittleEndian.AppendUint32(head, uint32(img.Width))
	head = binary.LittleEndian.AppendUint32(head, uint32(img.Height))
	head = binary.LittleEndian.AppendUint32(head, uint32(len(img.Body)))
	a.w.Write(head)
	a.w.Write(img.Body)
	return a.w.Flush() // returns the first error of all writes
}

// Ready asks whether to make the Optional Specs. The parent sends a reply (WriteReply).
func (a *Answer) Ready() error {
	a.w.Write(a.head(kindReady))
	return a.w.Flush()
}

// End sends the last part: err, if it is not nil. An error that wraps no sentinel is sent as ErrFailed.
func (a *Answer) End(err error) error {
	if err == nil {
		err = a.err
	}
	if err == nil {
		a.w.Write(a.head(kindEnd))
		return a.w.Flush()
	}
	code, text := encodeError(err)
	a.w.Write(appendBlock(append(a.head(kindError), code), []byte(text[:min(len(text), maxText)])))
	return a.w.Flush()
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

// Reader reads the answer to a job.
type Reader struct {
	Specs    []resize.Spec // of the job
	Optional []resize.Spec
	// Made is called with each image. An index of len(Specs) or more is that of an Optional Spec.
	Made func(i int, img resize.Image)
	// Ready is called when all of Specs are made, and must send a reply (WriteReply).
	Ready func() error
}

// Read reads the answer to job id. A *JobError is the child's answer; after any other error the child
// cannot be used any more: it has died or violated the protocol (ErrProtocol), or Ready has failed.
func (a Reader) Read(r *bufio.Reader, id uint32) error {
	images := imageReader{a, slices.Concat(a.Specs, a.Optional), map[int]bool{}, len(a.Specs), MaxImages}
	for ready := false; ; {
		var head [5]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return err
		}
		if of := binary.LittleEndian.Uint32(head[:]); of != id {
			return protocolErrorf("the answer is for job %d, want %d", of, id)
		}
		kind := head[4]
		if kind == kindImage {
			if err := images.read(r, ready); err != nil {
				return err
			}
			continue
		}
		var err error
		switch {
		case kind == kindError:
			err = readError(r)
		case kind != kindReady && kind != kindEnd:
			return protocolErrorf("the answer has a part of the unknown kind %d", kind)
		case images.missing > 0:
			return protocolErrorf("the answer ends and %d images are missing", images.missing)
		}
		if n := r.Buffered(); n != 0 {
			return protocolErrorf("%d bytes or more follow the answer", n)
		}
		if err != nil || kind == kindEnd {
			return err
		}
		if ready || len(a.Optional) == 0 {
			return protocolErrorf("the child is ready for a reply that it does not need")
		}
		ready = true
		if err := a.Ready(); err != nil {
			return err
		}
	}
}

// imageReader reads the images of an answer.
type imageReader struct {
	Reader
	specs   []resize.Spec // with the Optional ones
	made    map[int]bool
	missing int   // number of Specs, without the Optional ones, that are not made
	room    int64 // bytes that the other images may have
}

// read reads an image part. ready is true if it may be an optional one.
func (a *imageReader) read(r *bufio.Reader, ready bool) error {
	index, err := r.ReadByte()
	if err != nil {
		return unexpected(err)
	}
	i := int(index)
	optional := i >= len(a.Specs)
	if i >= len(a.specs) || a.made[i] || optional && !ready {
		return protocolErrorf("the answer has an image %d that is not wanted", i)
	}
	img, err := readImage(r, a.specs[i], a.room)
	if err != nil {
		return err
	}
	a.room -= int64(len(img.Body))
	if a.made[i] = true; !optional {
		a.missing--
	}
	a.Made(i, img)
	return nil
}

// readError reads the rest of an error part and returns it as a *JobError.
func readError(r *bufio.Reader) error {
	code, err := r.ReadByte()
	if err != nil {
		return unexpected(err)
	}
	text, err := readBlock(r, maxText)
	if err != nil {
		return err
	}
	switch {
	case code == codeUnavailable:
		unavailable := &resize.UnavailableError{What: Printable(string(text))}
		return &JobError{unavailable, unavailable.Error()}
	case code == 0 || int(code) >= len(codes):
		return protocolErrorf("the answer has the unknown code %d", code)
	}
	return &JobError{codes[code], Printable(string(text))}
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
