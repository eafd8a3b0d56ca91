package service

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

// state saves the statistics of a Watch in a file: without them, a node would make unwanted
// variants for some hours after every restart.
type state struct {
	path  string
	watch *warmer.Watch
	log   *slog.Logger
}

// maxStatistics is the largest file that is read, in bytes. A profile of ten Specs takes about 10 KB.
const maxStatistics = 4 << 20

// saveEvery is the interval of writing the file; a kill loses that much.
const saveEvery = time.Minute

// restore reads the file, if it exists. An unreadable file is renamed, and the statistics start
// empty.
func (s *state) restore() {
	text, err := durable.ReadFile(s.path, maxStatistics)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = s.watch.Recall(text)
	}
	if err != nil {
		aside := s.path + ".damaged"
		s.log.Warn(
			"warming statistics unreadable, starting over",
			"file", s.path,
			"renamed_to", aside,
			"err", errors.Join(err, os.Rename(s.path, aside)),
		)
	}
}

// run writes the file every saveEvery and when ctx is done. It logs the first failure in a row.
func (s *state) run(ctx context.Context) error {
	ticker := time.NewTicker(saveEvery)
	defer ticker.Stop()
	for failed := false; ; {
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
		err := s.save()
		if err != nil && !failed {
			s.log.Warn("warming statistics not saved", "err", err)
		}
		failed = err != nil
		if ctx.Err() != nil {
			return nil
		}
	}
}

func (s *state) save() error {
	text, err := s.watch.Learnt()
	if err != nil {
		return err
	}
	return durable.WriteFile(s.path, text)
}
