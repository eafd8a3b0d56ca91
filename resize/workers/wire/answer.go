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
	longest := s.Format.LongestSide() // for info any: its size is that of the original
	if img.Format != s.Format || img.Width < 1 || img.Height < 1 || img.Width > longest || img.Height > longest {
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

// Printable makes text that an image may control safe for logs and errors.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
