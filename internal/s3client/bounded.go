package s3client

import (
	"fmt"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Bounds of answers, in bytes.
const (
	maxError = 64 << 10
	maxList  = 2 << 20 // 1,000 objects, each with a name of 1,024 bytes
)

// bounded limits the answers that the SDK reads to their end: all but objects. Of an error it
// cuts off the rest; a listing that is longer is an error.
type bounded struct{ s3.HTTPClient }

func (c bounded) Do(req *http.Request) (*http.Response, error) {
	resp, err := c.HTTPClient.Do(req)
	switch {
	case err != nil:
	case resp.StatusCode/100 != 2:
		resp.Body = readCloser{io.LimitReader(resp.Body, maxError), resp.Body}
	case req.Method != http.MethodGet || req.URL.Query().Has("list-type"):
		resp.Body = readCloser{io.MultiReader(io.LimitReader(resp.Body, maxList), over{resp.Body}), resp.Body}
	}
	return resp, err
}

type readCloser struct {
	io.Reader
	io.Closer
}

// over is an error if its Reader is not at its end.
type over struct{ io.Reader }

func (o over) Read([]byte) (int, error) {
	var b [1]byte
	n, err := io.ReadFull(o.Reader, b[:])
	if n > 0 {
		return 0, fmt.Errorf("an answer of more than %d bytes", maxList)
	}
	return 0, err
}
