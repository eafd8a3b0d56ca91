package link

import (
	"context"
	"io"
	"sync"
	"time"
)

// segment is a part of a body: data, how it ended, or both.
type segment struct {
	data []byte
	err  error     // of the body, behind these bytes
	at   time.Time // when it was ready to be sent; later, when it arrives
}

// flow is the body of an answer on its way. What the server has sent waits in its backlog,
// however much that is; what has passed the link lies in its inbox.
type flow struct {
	ctx  context.Context
	body io.ReadCloser
	done chan struct{} // the pump has ended

	backlog []segment // guarded by the Network's lock

	mu    sync.Mutex
	inbox []segment
	more  chan struct{} // something has come into the inbox

	now segment // what Read is at
}

// carry returns body as it arrives at the other end.
func (n *Network) carry(ctx context.Context, body io.ReadCloser) io.ReadCloser {
	f := &flow{ctx: ctx, body: body, done: make(chan struct{}), more: make(chan struct{}, 1)}
	go func() {
		defer close(f.done)
		n.pump(f)
	}()
	return f
}

// pump gives the link what the server sends, as it comes.
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

// Read returns what has arrived, and waits for it.
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

// Close ends the flow; what is on its way is lost, and has its turn on the link all the same.
func (f *flow) Close() error {
	err := f.body.Close()
	<-f.done
	return err
}
