package jetstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Bounds of what a server sends. The client has none: it allocates what the header of a message
// states, reads a line up to its end, and panics if a length is absurd.
const (
	maxServerLine    = 64 << 10       // bytes of a line; INFO lists the servers of the cluster
	maxServerMessage = 2 * maxPayload // bytes of a message with its headers
)

// dialer makes connections to servers that may not exceed the bounds.
type dialer struct {
	timeout time.Duration
	secure  bool // the URL requires TLS
}

// bounded bounds how long the client takes to connect to a server of the URL, and what it reads.
func bounded(url string, timeout time.Duration) nats.Option {
	return func(o *nats.Options) error {
		o.Timeout = timeout
		o.CustomDialer = &dialer{timeout: timeout, secure: strings.Contains(url, "tls://")}
		return nil
	}
}

// Dial implements nats.CustomDialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	conn, err := net.DialTimeout(network, address, d.timeout)
	if err != nil {
		return nil, err
	}
	return &boundedConn{Conn: conn, secure: d.secure}, nil
}

// boundedConn follows the protocol of NATS in what it reads, up to the beginning of TLS, where the
// server proves who it is. Lines end with "\n" or "\r\n"; the payload of a message follows its line
// (docs.nats.io/reference/reference-protocols/nats-protocol):
//
//	INFO {…}
//	MSG subject sid [reply] size
//	HMSG subject sid [reply] header-size size
type boundedConn struct {
	net.Conn
	secure  bool
	tls     bool   // TLS begins
	greeted bool   // the first line was read
	line    []byte // the beginning of the current line
	payload int    // remaining bytes of the current message
	ending  bool   // between a payload and the end of its line
}

// Read returns the bytes that it has read if they are within the bounds.
func (c *boundedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if fault := c.follow(p[:n]); fault != nil {
		return 0, fmt.Errorf("NATS server: %w", fault)
	}
	return n, err
}

func (c *boundedConn) follow(b []byte) error {
	for len(b) > 0 && !c.tls {
		if c.payload > 0 {
			n := min(c.payload, len(b))
			c.payload -= n
			b = b[n:]
			continue
		}
		end := bytes.IndexByte(b, '\n')
		part := b
		if end >= 0 {
			part = b[:end]
		}
		if len(c.line)+len(part) > maxServerLine {
			return fmt.Errorf("a line of more than %d bytes", maxServerLine)
		}
		c.line = append(c.line, part...)
		if end < 0 {
			return nil
		}
		b = b[end+1:]
		if err := c.finish(); err != nil {
			return err
		}
		c.line = c.line[:0]
	}
	return nil
}

// finish reads a whole line.
func (c *boundedConn) finish() error {
	if c.ending {
		c.ending = false
		return nil
	}
	line := strings.TrimSuffix(string(c.line), "\r")
	if !c.greeted {
		c.greeted = true
		_, text, _ := strings.Cut(line, " ")
		var info struct {
			Required  bool `json:"tls_required"`
			Available bool `json:"tls_available"`
		}
		_ = json.Unmarshal([]byte(text), &info) // the client says what is wrong
		c.tls = info.Required || c.secure && info.Available
		return nil
	}
	fields := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
	if len(fields) == 0 || !strings.EqualFold(fields[0], "MSG") && !strings.EqualFold(fields[0], "HMSG") {
		return nil
	}
	if strings.Contains(line, "\r") {
		return errors.New("a message with a carriage return in its line") // the client reads another size
	}
	size, err := strconv.ParseUint(fields[len(fields)-1], 10, 63)
	if err != nil {
		return fmt.Errorf("the size of a message: %w", err)
	}
	if size > maxServerMessage {
		return fmt.Errorf("a message of %d bytes, more than %d", size, maxServerMessage)
	}
	// The client does not look at the byte that follows the payload, and skips the rest of its
	// line.
	c.payload, c.ending = int(size)+1, true
	return nil
}
