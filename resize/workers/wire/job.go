package wire

import (
	"encoding/binary"
	"io"
	"strings"

	"github.com/novasocial/imagetier/resize"
)

// Job is a request to a child.
type Job struct {
	ID              uint32
	Original        []byte
	Specs, Optional []resize.Spec // see resize.Job; 1 to MaxSpecs together, at least one in Specs
	Quick           bool          // see resize.Job
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
	head := append(binary.LittleEndian.AppendUint32([]byte{kind}, j.ID), 0)
	if j.Quick {
		head[len(head)-1] = 1
	}
	head = appendBlock(head, namesOf(j.Specs))
	head = appendBlock(head, namesOf(j.Optional))
	head = binary.LittleEndian.AppendUint32(head, uint32(size))
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err := w.Write(j.Original)
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
	Usable bool // the end says that the original may be used
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
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return j, unexpected(err)
	}
	if head[4] > 1 {
		return j, protocolErrorf("a job with the unknown flags %#x", head[4])
	}
	j.ID, j.Quick = binary.LittleEndian.Uint32(head[:]), head[4] == 1
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
