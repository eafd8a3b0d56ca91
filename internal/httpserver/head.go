package httpserver

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Checks of a request head in addition to those of fasthttp's parser.
var (
	errHeadTooLarge = errors.New("request headers too large")
	errHeadLines    = fmt.Errorf("more than %d request header lines", maxHeadLines)
	errLongHeads    = errors.New("too many requests with long headers at once")
	errBareLF       = errors.New("line feed without carriage return")
	errEmptyLine    = errors.New("empty line before the request line")
	errFolded       = errors.New("folded header line")
	errFieldName    = errors.New("invalid header field name")
	errLengthTwice  = errors.New("Content-Length with Transfer-Encoding")
	errCoding       = errors.New("unsupported transfer coding")
	errVersion      = errors.New("unsupported protocol version")
	errMalformed    = errors.New("malformed request")
)

// errHTTP2 is the opening of an HTTP/2 connection (RFC 9113, 3.4).
var errHTTP2 = errors.New("HTTP/2 connection preface")

// maxHeadLines is how many header lines a request may have. fasthttp keeps 80 bytes for each, also for
// one of 4 bytes, and a connection keeps them for its next request. Apache's default is 100.
const maxHeadLines = 100

// headScan finds the end of a request head and refuses what recipients read differently
// (RFC 9112, 2.2, 5.1, 5.2, 6.1), of which fasthttp accepts some for compatibility. It looks at each
// byte once, however many reads the head comes in.
type headScan struct {
	at     int // start of the line that is not complete
	lines  int // complete lines
	length bool
	coded  bool // Transfer-Encoding
}

// more continues with b, the head as far as it has come. It reports whether it is complete.
func (s *headScan) more(b []byte) (complete bool, err error) {
	for {
		n := bytes.IndexByte(b[s.at:], '\n')
		if n < 0 {
			return false, nil
		}
		line := b[s.at : s.at+n]
		if n == 0 || line[n-1] != '\r' {
			return false, errBareLF
		}
		line = line[:n-1]
		s.at += n + 1
		s.lines++
		switch {
		case s.lines == 1:
			if err := requestLine(line); err != nil {
				return false, err
			}
		case len(line) == 0:
			if s.length && s.coded {
				return true, errLengthTwice
			}
			return true, nil
		case s.lines > 1+maxHeadLines:
			return false, errHeadLines
		default:
			if err := s.field(line); err != nil {
				return false, err
			}
		}
	}
}

func requestLine(line []byte) error {
	switch {
	case len(line) == 0:
		return errEmptyLine
	case string(line) == "PRI * HTTP/2.0":
		return errHTTP2
	}
	return nil
}

func (s *headScan) field(line []byte) error {
	if line[0] == ' ' || line[0] == '\t' {
		return errFolded
	}
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 || bytes.IndexByte(line[:colon], ' ') >= 0 {
		return errFieldName
	}
	switch colon {
	case len("Content-Length"):
		s.length = s.length || strings.EqualFold(string(line[:colon]), "Content-Length")
	case len("Transfer-Encoding"):
		s.coded = s.coded || strings.EqualFold(string(line[:colon]), "Transfer-Encoding")
	}
	return nil
}
