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

// noDeadline has no deadline because a decoder cannot be cancelled: the parent kills this process
// when a job takes too long.
var noDeadline = context.Background()

// serve answers jobs until the input ends. It reads ahead, so that it notices the end, and exits at
// once, even while a decoder runs or hangs.
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
		runtime.GC() // free the original before the next one is read
	}
}

// answer runs one job. Its memory is garbage when answer returns.
func answer(resizer *vips.Resizer, job wire.Job, out *bufio.Writer) error {
	images, err := resizer.Resize(noDeadline, job.Original, job.Specs...)
	return wire.WriteAnswer(out, job.ID, images, err)
}
