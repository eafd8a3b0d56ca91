package proxy

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Levels and memory limits of the content codings, per answer.
const (
	gzipLevel     = 5       // as good as zlib's 6, at half its cost
	brotliQuality = 4       // the level that CDNs use for dynamic answers
	brotliWindow  = 18      // bits: 256 KiB
	zstdWindow    = 1 << 18 // when compressing
	zstdMaxWindow = 8 << 20 // when decompressing: the limit of RFC 9659
)

// codings pools readers and writers of compressed bodies, since each allocates some 100 KB.
type codings struct{ gzip, br, zstd pooled }

type pooled struct{ readers, writers sync.Pool }

// coding is how an answer is compressed.
type coding struct {
	open func(io.Reader) (decoded io.Reader, encoded encoder, done func())
}

// encoder compresses piece by piece. It buffers nothing: after Write, all bytes can be sent.
type encoder interface {
	encode(text []byte, last bool) ([]byte, error)
}

// of returns the coding of an answer; ok is false if the proxy cannot decode it.
func (c *codings) of(h http.Header) (coding, bool) {
	switch strings.ToLower(strings.TrimSpace(strings.Join(h["Content-Encoding"], ","))) {
	case "", "identity":
		return coding{func(r io.Reader) (io.Reader, encoder, func()) { return r, nil, func() {} }}, true
	case "gzip", "x-gzip":
		return coding{c.openGzip}, true
	case "br":
		return coding{c.openBrotli}, true
	case "zstd":
		return coding{c.openZstd}, true
	}
	return coding{}, false
}

// flusher is the interface of the writers of all codings.
type flusher interface {
	io.WriteCloser
	Flush() error
}

// through collects the output of a writer.
type through struct {
	to  flusher
	out bytes.Buffer
}

func (t *through) encode(text []byte, last bool) ([]byte, error) {
	t.out.Reset()
	if _, err := t.to.Write(text); err != nil {
		return nil, err
	}
	var err error
	switch {
	case last:
		err = t.to.Close()
	case len(text) > 0: // no empty block for nothing
		err = t.to.Flush()
	}
	return t.out.Bytes(), err
}

func (c *codings) openGzip(r io.Reader) (io.Reader, encoder, func()) {
	from := &lazy{open: func() (io.Reader, error) {
		if kept, ok := c.gzip.readers.Get().(*gzip.Reader); ok {
			return kept, kept.Reset(r)
		}
		return gzip.NewReader(r)
	}}
	to := &through{}
	if kept, ok := c.gzip.writers.Get().(*gzip.Writer); ok {
		kept.Reset(&to.out)
		to.to = kept
	} else {
		to.to, _ = gzip.NewWriterLevel(&to.out, gzipLevel) // fails for invalid levels only
	}
	return from, to, func() {
		if from.r != nil {
			c.gzip.readers.Put(from.r)
		}
		c.gzip.writers.Put(to.to)
	}
}

func (c *codings) openBrotli(r io.Reader) (io.Reader, encoder, func()) {
	from, ok := c.br.readers.Get().(*brotli.Reader)
	if !ok {
		from = brotli.NewReader(nil)
	}
	_ = from.Reset(r) // never fails
	to := &through{}
	if kept, ok := c.br.writers.Get().(*brotli.Writer); ok {
		kept.Reset(&to.out)
		to.to = kept
	} else {
		to.to = brotli.NewWriterOptions(&to.out, brotli.WriterOptions{Quality: brotliQuality, LGWin: brotliWindow})
	}
	return from, to, func() {
		_ = from.Reset(nil)
		c.br.readers.Put(from)
		c.br.writers.Put(to.to)
	}
}

func (c *codings) openZstd(r io.Reader) (io.Reader, encoder, func()) {
	kept, ok := c.zstd.readers.Get().(*zstd.Decoder)
	if !ok { // one at a time in the reading goroutine: none is left behind
		kept, _ = zstd.NewReader(nil,
			zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdMaxWindow), zstd.WithDecoderLowmem(true))
	}
	from := &lazy{open: func() (io.Reader, error) { return kept, kept.Reset(r) }}
	to := &through{}
	if kept, ok := c.zstd.writers.Get().(*zstd.Encoder); ok {
		kept.Reset(&to.out)
		to.to = kept
	} else {
		to.to, _ = zstd.NewWriter(&to.out,
			zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault),
			zstd.WithWindowSize(zstdWindow), zstd.WithLowerEncoderMem(true))
	}
	return from, to, func() {
		_ = kept.Reset(nil)
		c.zstd.readers.Put(kept)
		c.zstd.writers.Put(to.to)
	}
}

// lazy opens a reader at the first Read, since headers are sent before there is a body.
type lazy struct {
	open func() (io.Reader, error)
	r    io.Reader // once it is open
	err  error
}

func (l *lazy) Read(p []byte) (int, error) {
	if l.r == nil && l.err == nil {
		l.r, l.err = l.open()
		if l.err != nil {
			l.r = nil
		}
	}
	if l.err != nil {
		return 0, l.err
	}
	return l.r.Read(p)
}

// narrowEncodings removes from Accept-Encoding the codings that the proxy cannot read. If none is
// left, it sends identity. A missing header stays missing.
func narrowEncodings(h http.Header) {
	lines, ok := h["Accept-Encoding"]
	if !ok {
		return
	}
	var kept []string
	for item := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		item = strings.TrimSpace(item)
		name, _, _ := strings.Cut(item, ";")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "gzip", "x-gzip", "br", "zstd", "identity":
			kept = append(kept, item)
		}
	}
	if len(kept) == 0 {
		kept = []string{"identity"}
	}
	h.Set("Accept-Encoding", strings.Join(kept, ", "))
}
