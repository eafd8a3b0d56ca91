package service

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/novasocial/imagetier/internal/jetstream"
	"github.com/novasocial/imagetier/prefetch/warmer"
)

// DeadLetter is a job that failed for good, or too often.
type DeadLetter struct {
	ID       uint64          `json:"id"`
	Died     time.Time       `json:"died"`
	Queued   time.Time       `json:"queued"`
	Attempts int             `json:"attempts"`
	Reason   string          `json:"reason"`
	What     string          `json:"what"`          // as text for users
	Job      json.RawMessage `json:"job,omitempty"` // as it is in the queue
}

// deadPage is the number of dead letters on a page.
const deadPage = 100

// DeadLetters returns a page of dead letters from an id on, oldest first, and the id with which the
// next page begins; 0 on the last page.
func (s *Service) DeadLetters(ctx context.Context, from uint64) (letters []DeadLetter, next uint64, err error) {
	found, err := s.cfg.Bus.Dead(ctx, from, deadPage)
	if err != nil {
		return nil, 0, queueError(err)
	}
	for _, l := range found {
		letter := DeadLetter{
			ID:       l.ID,
			Died:     l.Died,
			Queued:   l.Queued,
			Attempts: l.Attempts,
			Reason:   l.Reason,
			Job:      l.Data,
		}
		var job warmer.Job
		if err := json.Unmarshal(l.Data, &job); err == nil {
			letter.What = job.String()
		}
		letters = append(letters, letter)
	}
	if len(found) == deadPage {
		next = found[deadPage-1].ID + 1
	}
	return letters, next, nil
}

// Retry queues the dead letters of these ids again, or all if ids is empty. n is how many there
// were.
func (s *Service) Retry(ctx context.Context, ids []uint64) (int, error) {
	return s.settle(ctx, ids, s.cfg.Bus.Retry)
}

// Discard deletes the dead letters of these ids, or all if ids is empty. n is how many there were.
func (s *Service) Discard(ctx context.Context, ids []uint64) (int, error) {
	return s.settle(ctx, ids, s.cfg.Bus.Discard)
}

// settle calls one for each of ids, or for all dead letters if ids is empty.
func (s *Service) settle(
	ctx context.Context,
	ids []uint64,
	one func(context.Context, uint64) error,
) (n int, err error) {
	if len(ids) == 0 {
		for from := uint64(0); ; {
			found, err := s.cfg.Bus.Dead(ctx, from, deadPage)
			if err != nil {
				return 0, queueError(err)
			}
			for _, l := range found {
				ids = append(ids, l.ID)
			}
			if len(found) < deadPage {
				break
			}
			from = found[deadPage-1].ID + 1
		}
	}
	for _, id := range ids {
		switch err := one(ctx, id); {
		case err == nil:
			n++
		case !errors.Is(err, jetstream.ErrNotFound):
			return n, queueError(err)
		}
	}
	return n, nil
}
