// Package jetstream is NATS JetStream: the durable queue of warm jobs (queue.go), the logs that
// nodes replicate decisions through (log.go, follow.go), and the list of nodes (members.go). Nothing else
// imports NATS.
//
// Without a URL the server runs inside this process: it has no port, stores below Config.Dir, and
// syncs before it acknowledges. With a URL it is an external cluster, shared by all nodes of a
// fleet.
//
// While the server is unreachable, or its disk fails, the Bus accepts nothing (ErrUnavailable) and
// retries. Serving images does not depend on it.
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
	// ErrFull: the queue, or a log that drops nothing, is full. Try again later.
	ErrFull = errors.New("the stream is full")
	// ErrUnavailable: the queue cannot be written: it is starting, its disk fails, or the cluster
	// is unreachable. The entry may or may not have been stored.
	ErrUnavailable = errors.New("the queue is not available")
	// ErrTooLarge: a message is larger than the server accepts.
	ErrTooLarge = errors.New("too large for the queue")
	// ErrNotFound: the dead letter does not exist.
	ErrNotFound = errors.New("no such dead letter")
)

// Config configures a Bus.
type Config struct {
	// Dir is the directory of the embedded server; it is created if missing. Only one process may
	// use it, which the lock of the disk tier beside it ensures. Required unless URL is set.
	Dir string
	// URL is the address of an external cluster, nats:// or tls://, or several separated by commas;
	// "" embeds a server.
	URL string
	// Replicas is how many servers of the cluster hold each stream; 0 is 3. A cluster that has
	// fewer servers is unavailable until it has them. An embedded server has one.
	Replicas int
	// QueueBytes is the maximum size of the queue; 0 is 256 MiB. When it is full, Put returns
	// ErrFull.
	QueueBytes int64
	// QueueAge is the maximum age of a job: older ones are dropped, since warming an image days
	// late helps no request. 0 is 24 h.
	QueueAge time.Duration
	// Window is how long ids are kept to detect repetitions; 0 is 15 minutes, which is longer
	// than the ten minutes in which a signed event can be replayed (five before, five after).
	Window time.Duration
	// AckWait is how long a job may be unacknowledged before it is redelivered. The Bus extends it
	// while a job is worked on. After a kill, unfinished jobs wait for as long. 0 is 15 s.
	AckWait time.Duration
	// Backoff has the pauses after the first, second, … failed attempt of a job; the last one is
	// repeated. Nil is 2 s, 10 s, 30 s, 2 min, 10 min.
	Backoff []time.Duration
	// Attempts is the number of failed attempts after which a job becomes a dead letter; 0 is 6.
	Attempts int
	// Log receives faults of the server and the connection. If nil, nothing is logged.
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
