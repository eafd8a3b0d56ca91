package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"runtime"

	"github.com/novasocial/imagetier/resize/vips"
	"github.com/novasocial/imagetier/resize/workers/wire"
)

// noDeadline: the parent kills what takes too long; nothing here could stop a decoder.
var noDeadline = context.Background()

// serve answers jobs until there are no more. The input is read ahead, so that its end is
// seen while a decoder works, or hangs: then the process ends at once.
func serve(resizer *vips.Resizer, maxBytes int64, answers io.Writer) error {
	jobs := make(chan wire.Job)
	go func() {
		in := bufio.NewReaderSize(os.Stdin, 64<<10)
		for {
			job, err := wire.ReadJob(in, maxBytes)
			if errors.Is(err, io.EOF) {
				os.Exit(0)
			}
			if err != nil {
				log.Fatalf("read job: %v", err)
			}
			jobs <- job
		}
	}()
	out := bufio.NewWriterSize(answers, 64<<10)
	for {
		if err := answer(resizer, <-jobs, out); err != nil {
			return fmt.Errorf("write answer: %w", err)
		}
		runtime.GC() // the original's megabytes go before the next one's come
	}
}

// answer does one job. What it held is garbage when it returns.
func answer(resizer *vips.Resizer, job wire.Job, out *bufio.Writer) error {
	images, err := resizer.Resize(noDeadline, job.Original, job.Specs...)
	return wire.WriteAnswer(out, job.ID, images, err)
}
