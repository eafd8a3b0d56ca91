package body

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/novasocial/imagetier/origin"
)

// maxCodings is how many layers of gzip are decoded.
const maxCodings = 2

// gzipLayers returns how often the body was coded with gzip (Content-Encoding). The error
// wraps origin.ErrRejected if it has a coding that is not decoded here. Values that are no
// content codings, such as utf-8, binary or the aws-chunked of uploads, are ignored: people
// store them with their objects, and nothing was coded.
func gzipLayers(h http.Header) (layers int, err error) {
	for _, line := range h.Values("Content-Encoding") {
		for coding := range strings.SplitSeq(line, ",") {
			switch coding = strings.ToLower(strings.Trim(coding, " \t")); coding {
			case "gzip", "x-gzip":
				layers++
			case "br", "zstd", "deflate", "compress", "x-compress", "dcb", "dcz",
				"aes128gcm", "exi", "pack200-gzip": // the IANA registry, as of 2026
				return 0, fmt.Errorf("%w: Content-Encoding %s, want gzip or none", origin.ErrRejected, coding)
			}
		}
	}
	if layers > maxCodings {
		return 0, fmt.Errorf("%w: Content-Encoding gzip %d times, at most %d", origin.ErrRejected, layers, maxCodings)
	}
	return layers, nil
}

// decoded is a body that is decoded from gzip as it is read. A body that does not begin as
// gzip is passed on as it is: it was stored with a wrong Content-Encoding.
type decoded struct {
	io.ReadCloser
	from io.Reader // nil before the first Read
}

func (d *decoded) Read(p []byte) (int, error) {
	if d.from == nil {
		coded := bufio.NewReader(d.ReadCloser)
		d.from = coded
		if magic, err := coded.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
			plain, err := gzip.NewReader(coded)
			if err != nil {
				return 0, decodeError(err)
			}
			d.from = plain
		}
	}
	n, err := d.from.Read(p)
	if err != nil && err != io.EOF {
		err = decodeError(err)
	}
	return n, err
}

func decodeError(err error) error { return fmt.Errorf("decode gzip: %w", origin.NoAnswer(err)) }
