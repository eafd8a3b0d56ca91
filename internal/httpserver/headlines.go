package httpserver

import "bytes"

// headLines counts the header lines in what net/http reads from a connection without TLS. net/http has
// no limit for them, and takes up to 500 KB for a head of 32 KiB, from its first line on.
//
// What a client sends before it has the answer to its last request is not counted; that is at most what
// net/http buffers, 4 KiB.
type headLines struct {
	counted bool // the connection is one of net/http's, without TLS
	head    bool // a head is being read
	lines   int  // complete lines of it
	width   int  // bytes of the current line, except carriage returns
	seen    int  // of the first bytes of the connection
	match   int  // of these, the ones of an HTTP/2 connection preface
}

// preface is the preface of an HTTP/2 connection (RFC 9113, 3.4). net/http takes anything else for HTTP/1.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// read continues with bytes from the connection. Its error is errHeadLines.
func (h *headLines) read(b []byte) error {
	if !h.counted {
		return nil
	}
	for _, c := range b[:min(len(b), len(preface)-h.seen)] {
		if c == preface[h.seen] {
			h.match++
		}
		h.seen++
	}
	for h.head && len(b) > 0 {
		line, rest, ended := bytes.Cut(b, []byte("\n"))
		h.width += len(line) - bytes.Count(line, []byte("\r"))
		if !ended {
			return nil
		}
		b = rest
		if h.lines == 0 && h.width == 0 {
			continue // net/http ignores empty lines between requests
		}
		if h.lines++; h.lines > 1+maxHeadLines && h.width > 0 {
			return errHeadLines
		}
		h.head = h.width > 0
		h.width = 0
	}
	return nil
}

// next begins with the next head of the connection. HTTP/2 has none, and is read while next is called.
func (h *headLines) next() {
	if h.counted && h.match < len(preface) {
		h.head, h.lines, h.width = true, 0, 0
	}
}
