package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Letter is a dead letter: a message that failed too often, or for good.
type Letter struct {
	ID       uint64 // for Retry and Discard
	Data     []byte
	Priority int
	Reason   string    // error of the last attempt
	Attempts int       // number of attempts
	Queued   time.Time // when it was first queued
	Died     time.Time
}

// Dead returns the dead letters, oldest first, at most limit of them from that ID on
// (0: from the first).
func (b *Bus) Dead(ctx context.Context, from uint64, limit int) ([]Letter, error) {
	s, err := b.session()
	if err != nil {
		return nil, err
	}
	info, err := s.dead.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the dead letters: %w: %w", ErrUnavailable, err)
	}
	letters := []Letter{}
	first, last := max(from, info.State.FirstSeq), info.State.LastSeq
	for id := first; id <= last && len(letters) < limit && info.State.Msgs > 0; id++ {
		letter, err := read(ctx, s, id)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		letters = append(letters, letter)
	}
	return letters, nil
}

func read(ctx context.Context, s *session, id uint64) (Letter, error) {
	raw, err := s.dead.GetMsg(ctx, id)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Letter{}, ErrNotFound
	}
	if err != nil {
		return Letter{}, fmt.Errorf("read dead letter %d: %w: %w", id, ErrUnavailable, err)
	}
	letter := Letter{ID: id, Data: raw.Data, Reason: raw.Header.Get(reasonHeader), Died: raw.Time}
	// A header that does not parse was not written by this package, and counts as zero.
	letter.Attempts, _ = strconv.Atoi(raw.Header.Get(attemptsHeader))
	letter.Priority, _ = strconv.Atoi(raw.Header.Get(priorityHeader))
	letter.Queued, _ = time.Parse(time.RFC3339Nano, raw.Header.Get(queuedHeader))
	return letter, nil
}

// Retry queues a dead letter again with all of its attempts. It is removed from the dead letters
// after it is queued: after a crash in between it is in both, but is still retried only once.
func (b *Bus) Retry(ctx context.Context, id uint64) error {
	s, err := b.session()
	if err != nil {
		return err
	}
	letter, err := read(ctx, s, id)
	if err != nil {
		return err
	}
	again := fmt.Sprintf("dead letter %d of %d", id, letter.Died.UnixNano())
	m := Message{Priority: letter.Priority, Data: letter.Data, Queued: letter.Queued}
	if _, err := b.Put(ctx, again, m); err != nil {
		return fmt.Errorf("retry dead letter %d: %w", id, err)
	}
	return b.Discard(ctx, id)
}

// Discard removes a dead letter. The error is ErrNotFound if no dead letter has that ID.
func (b *Bus) Discard(ctx context.Context, id uint64) error {
	s, err := b.session()
	if err != nil {
		return err
	}
	if _, err := read(ctx, s, id); err != nil {
		return err
	}
	err = s.dead.DeleteMsg(ctx, id)
	if err != nil {
		return fmt.Errorf("remove dead letter %d: %w: %w", id, ErrUnavailable, err)
	}
	return nil
}
