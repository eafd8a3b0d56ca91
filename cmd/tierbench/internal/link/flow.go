package link

import (
	"context"
	"io"
	"sync"
	"time"
)

// segment is a part of a body: data, the error at its end, or both.
type segment struct {
	data []byte
	err  error     // end of the body, after these bytes
	at   time.Time // when it became ready to send; after sending, when it arrives
}

// flow is a body in transit. Bytes from the server wait in its backlog, which is unbounded; bytes
// that have passed the link wait in its inbox.
type flow struct {
	ctx  context.Context
	body io.ReadCloser
	done chan struct{} // closed when pump has ended

	backlog []segment // guarded by the Network's lock

	mu    sync.Mutex
	inbox []segment
	more  chan struct{} // the inbox has a new segment

	now segment // the segment that Read returns bytes of
}

// carry returns body as it arrives at the client.
func (n *Network) carry(ctx context.Context, body io.ReadCloser) io.ReadCloser {
	f := &flow{ctx: ctx, body: body, done: make(chan struct{}), more: make(chan struct{}, 1)}
	go func() {
		defer close(f.done)
		n.pump(f)
	}()
	return f
}

// pump passes bytes from the server to the link as they come.
func (n *Network) pump(f *flow) {
	for {
		buf := make([]byte, packet)
		read, err := f.body.Read(buf)
		at := time.Now()
		if read > 0 {
			n.send(f, segment{data: buf[:read], at: at})
		}
		if err != nil {
			n.send(f, segment{err: err, at: at})
			return
		}
	}
}

func (f *flow) arrive(s segment) {
	f.mu.Lock()
	f.inbox = append(f.inbox, s)
	f.mu.Unlock()
	select {
	case f.more <- struct{}{}:
	default:
	}
}

// Read returns bytes that have arrived, and waits for at least one.
func (f *flow) Read(p []byte) (int, error) {
	for len(f.now.data) == 0 {
		if f.now.err != nil {
			return 0, f.now.err
		}
		f.mu.Lock()
		there := len(f.inbox) > 0
		if there {
			f.now = f.inbox[0]
			f.inbox = f.inbox[1:]
		}
		f.mu.Unlock()
		if !there {
			select {
			case <-f.more:
			case <-f.ctx.Done():
				return 0, context.Cause(f.ctx)
			}
			continue
		}
		if !sleepUntil(f.ctx, f.now.at) {
			return 0, context.Cause(f.ctx)
		}
	}
	n := copy(p, f.now.data)
	f.now.data = f.now.data[n:]
	return n, nil
}

// Close ends the flow. Bytes in transit are discarded, but still take their time on the link.
func (f *flow) Close() error {
	err := f.body.Close()
	<-f.done
	return err
}
