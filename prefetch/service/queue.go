package service

import (
	"context"
	"fmt"
	"time"

	"github.com/novasocial/imagetier/internal/jetstream"
	"github.com/novasocial/imagetier/prefetch/warmer"
)

// take stores the tags of a plan and queues its jobs, both durably. A plan whose id was accepted
// before changes nothing: a repeated post.published does not undo a later post.deleted.
func (s *Service) take(ctx context.Context, id string, plan warmer.Plan) (repeated bool, err error) {
	if seen, err := s.seen(ctx, id); seen || err != nil {
		return seen, err
	}
	return s.store(ctx, id, plan)
}

// seen reports whether an id was accepted before.
func (s *Service) seen(ctx context.Context, id string) (bool, error) {
	s.awaitStart(ctx)
	seen, err := s.cfg.Bus.Seen(ctx, id)
	return seen, queueError(err)
}

// store is take for an id that was not seen.
func (s *Service) store(ctx context.Context, id string, plan warmer.Plan) (repeated bool, err error) {
	if err := s.cfg.Tags.Take(ctx, plan.Learn, plan.End); err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	messages := make([]jetstream.Message, len(plan.Messages))
	for i, m := range plan.Messages {
		messages[i] = jetstream.Message{Priority: m.Priority, Data: m.Data}
	}
	repeated, err = s.cfg.Bus.Put(ctx, id, messages...)
	return repeated, queueError(err)
}

// startTime is how long the queue may take to start before events are refused.
const startTime = 2 * time.Second

// awaitStart waits for the queue of a process that has just started: a refused sender would retry
// much later than the queue takes to start.
func (s *Service) awaitStart(ctx context.Context) {
	if left := startTime - time.Since(s.started); left > 0 && !s.cfg.Bus.Available() {
		ctx, cancel := context.WithTimeout(ctx, left)
		defer cancel()
		_ = s.cfg.Bus.Ready(ctx) // if it is not ready, using it returns an error
	}
}

// next takes the next job of the queue.
func (s *Service) next(ctx context.Context) (warmer.Delivery, error) {
	d, err := s.cfg.Bus.Next(ctx)
	if err != nil {
		return warmer.Delivery{}, err
	}
	return warmer.Delivery{
		Data:    d.Data,
		Queued:  d.Queued,
		Done:    d.Done,
		Again:   d.Again,
		Bury:    d.Bury,
		Release: d.Release,
	}, nil
}
