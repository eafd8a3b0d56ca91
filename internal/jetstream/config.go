// Package jetstream is NATS JetStream: the durable queue of warm jobs (queue.go), the logs that
// nodes replicate decisions through (log.go, follow.go), and the list of nodes (members.go). Nothing else
// imports NATS.
//
// Without a URL the server runs inside of this process: it has no port, nothing outside can
// reach it, and it stores below Config.Dir and syncs before it acknowledges. With a URL it is
// a cluster that others run, shared by all nodes of a fleet.
//
// A Bus that cannot be reached, or whose disk fails, refuses to take anything
// (ErrUnavailable) and is tried again until it works; serving images does not depend on it.
package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Sentinels.
var (
	// ErrFull: the queue, or a log that drops nothing, holds as much as it may. Try again later.
	ErrFull = errors.New("the stream is full")
	// ErrUnavailable: the queue cannot be written: it is starting, its disk fails, or
	// the cluster cannot be reached. Nothing is known to have been stored.
	ErrUnavailable = errors.New("the queue is not available")
	// ErrTooLarge: a message is larger than the server takes.
	ErrTooLarge = errors.New("too large for the queue")
	// ErrNotFound: there is no such dead letter.
	ErrNotFound = errors.New("no such dead letter")
)

// Config of a Bus.
type Config struct {
	// Dir is where the embedded server stores; it is made if missing. Only one process may
	// use it, which the lock of the disk tier beside it ensures. Needed unless URL is set.
	Dir string
	// URL of an outside cluster, nats:// or tls://, several with commas; "" embeds a server.
	URL string
	// Replicas is how many servers of the cluster hold each stream; 0 is 3. A cluster that has
	// fewer servers is unavailable until it has them. An embedded server has one.
	Replicas int
	// QueueBytes bounds what waits in the queue; 0 is 256 MiB. Beyond it is ErrFull.
	QueueBytes int64
	// QueueAge is how long something may wait: older entries are dropped, since warming
	// an image days late helps no request. 0 is 24 h.
	QueueAge time.Duration
	// Window is how long ids are kept to detect repetitions; 0 is 15 minutes, which is longer
	// than the ten minutes in which a signed event can be replayed (five before, five after).
	Window time.Duration
	// AckWait is how long a job may be unacknowledged before it is redelivered. The Bus extends it
	// while a job is worked on. After a kill, unfinished jobs wait for as long. 0 is 15 s.
	AckWait time.Duration
	// Backoff is how long a job that failed waits for its next attempt, after the first,
	// the second, … failure, the last repeated; nil is 2 s, 10 s, 30 s, 2 min, 10 min.
	Backoff []time.Duration
	// Attempts is after how many a job is a dead letter; 0 is 6.
	Attempts int
	// Log gets what goes wrong underneath; nil drops it.
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Replicas == 0 {
		c.Replicas = 3
	}
	if c.QueueBytes == 0 {
		c.QueueBytes = 256 << 20
	}
	if c.QueueAge == 0 {
		c.QueueAge = 24 * time.Hour
	}
	if c.Window == 0 {
		c.Window = 15 * time.Minute
	}
	if c.AckWait == 0 {
		c.AckWait = 15 * time.Second
	}
	if len(c.Backoff) == 0 {
		c.Backoff = []time.Duration{
			2 * time.Second, 10 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute,
		}
	}
	if c.Attempts == 0 {
		c.Attempts = 6
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// putError classifies errors of the server. A full stream and a failing disk have the same code and
// differ in the text.
func putError(doing string, err error) error {
	if err == nil {
		return nil
	}
	var api *jetstream.APIError
	kind := ErrUnavailable
	switch {
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w", doing, err)
	case errors.Is(err, nats.ErrMaxPayload):
		kind = ErrTooLarge
	case errors.As(err, &api) && api.ErrorCode == 10054:
		kind = ErrTooLarge
	case errors.As(err, &api) && (strings.Contains(api.Description, "maximum bytes exceeded") ||
		strings.Contains(api.Description, "maximum messages exceeded")):
		kind = ErrFull
	}
	return fmt.Errorf("%s: %w: %w", doing, kind, err)
}
