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

// serve answers jobs until the input ends. It reads ahead, so that it notices the end, and exits at
// once, even while a decoder runs or hangs.
func serve(resizer *vips.Resizer, maxBytes int64, answers io.Writer) error {
	jobs, replies := make(chan wire.Job), make(chan bool, 1)
	go func() {
		in := bufio.NewReaderSize(os.Stdin, 64<<10)
		for {
			request, err := wire.ReadRequest(in, maxBytes)
			switch {
			case errors.Is(err, io.EOF):
				os.Exit(0)
			case err != nil:
				log.Fatalf("read job: %v", err)
			case request.Job != nil:
				jobs <- *request.Job
			default:
				replies <- request.GoOn
			}
		}
	}()
	out := bufio.NewWriterSize(answers, 64<<10)
	for {
		if err := answer(resizer, <-jobs, replies, out); err != nil {
			return fmt.Errorf("write answer: %w", err)
		}
		runtime.GC() // free the original before the next one is read
	}
}

// answer runs one job. Its memory is garbage when answer returns.
func answer(resizer *vips.Resizer, job wire.Job, replies <-chan bool, out *bufio.Writer) error {
	a := wire.NewAnswer(out, job.ID)
	var broken error // the first error of sending
	send := func(err error) { broken = cmp.Or(broken, err) }
	err := resizer.ResizeWhile(noDeadline, resize.Job{
		Original: job.Original, Specs: job.Specs, Optional: job.Optional,
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
