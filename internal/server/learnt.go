package server

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/novasocial/imagetier/internal/durable"
	"github.com/novasocial/imagetier/prefetch/warmer"
)

// learnt keeps what a Watch has learnt in a file, so that a restart does not make early what
// nobody wants for some hours again.
type learnt struct {
	path  string
	watch *warmer.Watch
	log   *slog.Logger
}

// learntEvery is how often it is written: so much of it is lost with a kill.
const learntEvery = time.Minute

// recall reads the file, if there is one. One that cannot be read is set aside: the plan begins
// anew, which costs some images that nobody asks for.
func (l *learnt) recall() {
	text, err := os.ReadFile(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = l.watch.Recall(text)
	}
	if err != nil {
		aside := l.path + ".damaged"
		l.log.Warn("what was learnt about warming cannot be read: it begins anew", "set_aside", aside, "err", errors.Join(err, os.Rename(l.path, aside)))
	}
}

// run writes the file from time to time, and when ctx is done. A disk that cannot be written is
// worth a warning.
func (l *learnt) run(ctx context.Context) error {
	ticker := time.NewTicker(learntEvery)
	defer ticker.Stop()
	for failed := false; ; {
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
		err := l.save()
		if err != nil && !failed {
			l.log.Warn("what was learnt about warming cannot be kept", "err", err)
		}
		failed = err != nil
		if ctx.Err() != nil {
			return nil
		}
	}
}

func (l *learnt) save() error {
	text, err := l.watch.Learnt()
	if err != nil {
		return err
	}
	return durable.WriteFile(l.path, text)
}
