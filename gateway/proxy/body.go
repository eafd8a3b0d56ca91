package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
)

var (
	// errCut means that an answer without a length ended before its JSON was complete.
	errCut = errors.New("the answer of the service was cut short")
	// errAnswer means that the body of an answer could not be read to its end.
	errAnswer = errors.New("read the answer of the service")
)

// maxEmptyReads is how many reads in a row of a decoder may return nothing.
const maxEmptyReads = 100

// body is the rewritten body of an answer, in the content coding of the service. It reads at most
// one chunk ahead, and returns bytes that are ready before it waits for more, except in whole.
type body struct {
	raw     io.ReadCloser // as received
	resp    *http.Response
	decoded io.Reader
	encoded encoder // nil: identity
	done    func()  // returns readers and writers of the coding to their pools
	edit    editor
	x       *exchange
	chunk   *[chunk]byte
	free    func(*body)
	out     []byte // rewritten, identity; from Proxy.outs
	ready   []byte // for the client, not yet taken
	// unframed means that the answer ends with its connection, so that a truncated answer looks
	// complete.
	unframed bool
	fill     bool  // more fills the chunk
	err      error // behind ready
}

func (p *Proxy) newBody(resp *http.Response, edit editor, c coding, x *exchange) *body {
	b := &body{
		raw: resp.Body, resp: resp, edit: edit, x: x, chunk: p.buffers.Get().(*[chunk]byte),
		free:     p.free,
		unframed: resp.ContentLength < 0 && resp.ProtoMajor == 1 && !slices.Contains(resp.TransferEncoding, "chunked"),
	}
	if out, ok := p.outs.Get().(*[]byte); ok {
		b.out = *out
	}
	b.decoded, b.encoded, b.done = c.open(resp.Body)
	return b
}

// maxOut is the maximum size of pooled buffers, in bytes.
const maxOut = 4 * chunk

// free returns the buffers of a closed body to their pools.
func (p *Proxy) free(b *body) {
	p.buffers.Put(b.chunk)
	if out := b.out; cap(out) <= maxOut {
		p.outs.Put(&out)
	}
}

// Read returns the bytes that are ready. It waits only if no byte is ready.
func (b *body) Read(p []byte) (int, error) {
	for len(b.ready) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		b.more()
	}
	n := copy(p, b.ready)
	b.ready = b.ready[n:]
	return n, nil
}

// whole reads an answer whose length the service has stated, and states that of the rewritten one if the answer
// fits in a chunk. This saves writes, and an answer that was cut short can still be answered with 502.
func (b *body) whole() error {
	b.fill = true
	b.more()
	b.fill = false
	if b.err == io.EOF {
		b.resp.ContentLength = int64(len(b.ready))
		b.resp.Header.Set("Content-Length", strconv.Itoa(len(b.ready)))
		return nil
	}
	return b.err
}

// more reads a chunk of the service's answer and prepares what can be sent of it.
func (b *body) more() {
	n, err := b.read(b.chunk[:])
	for b.fill && err == nil && n < chunk {
		var m int
		m, err = b.read(b.chunk[n:])
		n += m
	}
	b.out = b.edit.Append(b.out[:0], b.chunk[:n])
	if err == io.EOF {
		var complete bool
		if b.out, complete = b.edit.Close(b.out); !complete && b.unframed {
			err = errCut
		}
	}
	if err != nil || b.x.Kind != JSON { // clients show events and parts as they arrive
		b.x.page.Done()
	}
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", errAnswer, err)
	}
	b.ready, b.err = b.out, err
	if b.encoded != nil {
		var encodeErr error
		if b.ready, encodeErr = b.encoded.encode(b.out, err == io.EOF); encodeErr != nil {
			b.err = fmt.Errorf("compress the answer: %w", encodeErr)
		}
	}
}

// read reads decoded bytes, at least one without an error.
func (b *body) read(p []byte) (n int, err error) {
	for range maxEmptyReads {
		if n, err = b.decoded.Read(p); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// Close ends reading. It completes the trailers, which net/http sends after it.
func (b *body) Close() error {
	err := b.raw.Close()
	dropValidators(b.resp.Trailer)
	b.resp.Trailer.Del("Etag")
	if b.chunk != nil {
		b.free(b)
		b.done()
		b.chunk, b.out = nil, nil
		b.ready, b.err = nil, http.ErrBodyReadAfterClose
	}
	return err
}
