package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"runtime"

	"github.com/novasocial/imagetier/resize"
	"github.com/novasocial/imagetier/resize/vips"
	"github.com/novasocial/imagetier/resize/workers/wire"
)

// noDeadline has no deadline because a decoder cannot be cancelled: the parent kills this process
// when a job takes too long.
var noDeadline = context.Background()

// request is a job, and its original if that is still arriving.
type request struct {
	wire.Job
	early *resize.Arriving
}

// serve answers jobs until the input ends. It reads ahead, so that it notices the end, and exits at
// once, even while a decoder runs or hangs.
func serve(resizer *vips.Resizer, maxBytes int64, answers io.Writer) error {
	in := &input{
		from: bufio.NewReaderSize(os.Stdin, 64<<10), max: maxBytes,
		jobs: make(chan request), replies: make(chan bool, 1),
	}
	go in.read()
	out := bufio.NewWriterSize(answers, 64<<10)
	for {
		if err := answer(resizer, <-in.jobs, in.replies, out); err != nil {
			return fmt.Errorf("write answer: %w", err)
		}
		runtime.GC() // free the original before the next one is read
	}
}

// input is what the parent sends.
type input struct {
	from    *bufio.Reader
	max     int64 // bytes of an original
	jobs    chan request
	replies chan bool

	early  *resize.Arriving // the original that is arriving, of the last job
	buffer []byte           // of it
	have   int              // bytes in buffer
}

// read reads until the input ends, and exits then.
func (in *input) read() {
	for {
		frame, err := wire.ReadRequest(in.from, in.max)
		switch {
		case errors.Is(err, io.EOF):
			os.Exit(0)
		case err != nil:
		case frame.Job != nil:
			in.begin(frame.Job)
		case frame.Piece > 0:
			err = in.piece(frame.Piece)
		case frame.End:
			err = in.end(frame.Usable)
		default:
			in.replies <- frame.GoOn
		}
		if err != nil {
			log.Fatalf("read job: %v", err)
		}
	}
}

func (in *input) begin(job *wire.Job) {
	r := request{Job: *job}
	if job.Early > 0 {
		in.early, in.buffer, in.have = resize.NewArriving(job.Early), make([]byte, job.Early), 0
		r.early = in.early
	}
	in.jobs <- r
}

// piece reads n bytes of the original that is arriving.
func (in *input) piece(n int) error {
	if n > len(in.buffer)-in.have {
		return fmt.Errorf("%w: the original is longer than %d bytes", wire.ErrProtocol, len(in.buffer))
	}
	if _, err := io.ReadFull(in.from, in.buffer[in.have:in.have+n]); err != nil {
		return err
	}
	in.have += n
	in.early.Add(in.buffer[:in.have])
	return nil
}

// end ends the original that is arriving.
func (in *input) end(usable bool) error {
	if in.early == nil {
		return fmt.Errorf("%w: no original is arriving", wire.ErrProtocol)
	}
	in.early.End(usable)
	in.early, in.buffer = nil, nil
	return nil
}

// answer runs one job. Its memory is garbage when answer returns.
func answer(resizer *vips.Resizer, job request, replies <-chan bool, out *bufio.Writer) error {
	a := wire.NewAnswer(out, job.ID)
	var broken error // the first error of sending
	send := func(err error) { broken = cmp.Or(broken, err) }
	err := resizer.ResizeWhile(noDeadline, resize.Job{
		Original: job.Original, Early: job.early, Specs: job.Specs, Optional: job.Optional, Quick: job.Quick,
		Made: func(i int, img resize.Image) { send(a.Image(i, img)) },
	}, func() bool {
		if send(a.Ready()); broken != nil {
			return false
		}
		return <-replies
	})
	send(a.End(err))
	return broken
}
