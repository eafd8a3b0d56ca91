package service

import (
	"errors"
	"fmt"

	"github.com/novasocial/imagetier/internal/jetstream"
)

// Errors of a Service. Texts of errors that wrap ErrForged or ErrInvalid are for the client.
var (
	ErrForged      = errors.New("event signature is not valid")
	ErrInvalid     = errors.New("event or request is not valid") // the text names the field
	ErrQueueFull   = errors.New("queue is full")
	ErrUnavailable = errors.New("queue cannot be written")
	ErrTooLarge    = errors.New("more work than the queue accepts at once")
)

// queueError wraps an error of the bus in one of the sentinels.
func queueError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrFull):
		return fmt.Errorf("%w: %w", ErrQueueFull, err)
	case errors.Is(err, jetstream.ErrTooLarge):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// clientError returns err as one that wraps kind and keeps its text, which the client reads.
func clientError(kind, err error) error { return &shownError{kind, err} }

type shownError struct{ kind, err error }

func (e *shownError) Error() string   { return e.err.Error() }
func (e *shownError) Unwrap() []error { return []error{e.kind, e.err} }
