package warmlist

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds the memory of unpacking zstd, in bytes: the most that zstd --ultra --long (27) needs.
const maxWindow = 128 << 20

// Unpack returns what in contains. If in begins as gzip or zstd does, it is unpacked; packed
// reports whether it is. The caller closes the returned reader, which does not close in.
func Unpack(in io.Reader) (out io.ReadCloser, packed bool, err error) {
	buffered := bufio.NewReader(in)
	magic, err := buffered.Peek(4)
	if err != nil && err != io.EOF {
		return nil, false, fmt.Errorf("read the first bytes: %w", err)
	}
	switch {
	case bytes.HasPrefix(magic, []byte("\x1f\x8b")):
		r, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, true, fmt.Errorf("read as gzip: %w", err)
		}
		return r, true, nil
	case bytes.Equal(magic, []byte("\x28\xb5\x2f\xfd")):
		r, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, true, fmt.Errorf("read as zstd: %w", err)
		}
		return r.IOReadCloser(), true, nil
	}
	return io.NopCloser(buffered), false, nil
}
