// Package jetstream is NATS JetStream: the durable queue of warm jobs (queue.go), the logs that
// nodes replicate decisions through (log.go), and the list of nodes (members.go). Nothing else
// imports NATS.
//
// Without a URL the server runs inside of this process: it has no port, nothing outside can
// reach it, and it stores below Config.Dir and syncs what it acknowledges. With a URL it is
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
	"sync"
	"sync/atomic"
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
	// Window is how long an id is known for a repetition; 0 is 15 minutes, which is longer
	// than the ten minutes in which a signed event can be replayed (five before, five after).
	Window time.Duration
	// AckWait is how long a job may be silent before another worker gets it; while one is
	// worked on here, the Bus says so. After a kill it is how long what was being worked on
	// waits. 0 is 15 s.
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

// Bus is the queue, and the connection to JetStream below it, which Run keeps. It is safe
// for concurrent use.
type Bus struct {
	cfg Config
	put chan struct{} // of capacity 1: something was put, so that Next need not wait for its next look

	mu      sync.Mutex
	now     *session      // guarded by mu; nil while there is none
	changed chan struct{} // guarded by mu; closed when now changes
}

// session is what there is while the server can be used.
type session struct {
	js        jetstream.JetStream
	conn      *nats.Conn
	queue     jetstream.Stream
	seen      jetstream.Stream
	dead      jetstream.Stream
	consumers [NumPriorities]jetstream.Consumer
	logs      sync.Map // of Log: its jetstream.Stream
	members   atomic.Pointer[jetstream.KeyValue]
}

// New returns a Bus, which can be used once Run has it running.
func New(cfg Config) (*Bus, error) {
	if cfg.Dir == "" && cfg.URL == "" {
		return nil, errors.New("jetstream: a directory or a URL is needed")
	}
	return &Bus{cfg: cfg.withDefaults(), put: make(chan struct{}, 1), changed: make(chan struct{})}, nil
}

// Pauses between attempts to start, and between looks at whether all is well.
const (
	firstRetry = 500 * time.Millisecond
	lastRetry  = 30 * time.Second
	lookEvery  = 5 * time.Second
)

// Run starts the server or connects to it, keeps it running, and ends both when ctx is done.
// It returns nil then; whatever fails before is logged and tried again. Stop
// all users of the Bus first.
func (b *Bus) Run(ctx context.Context) error {
	wait := firstRetry
	for {
		began := time.Now()
		err := b.serve(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > lastRetry {
			wait = firstRetry
		}
		b.cfg.Log.Error("the queue cannot be used: trying again", "after", wait, "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, lastRetry)
	}
}

// serve is one life of a session.
func (b *Bus) serve(ctx context.Context) error {
	conn, end, err := b.dial(ctx)
	if err != nil {
		return err
	}
	defer end()
	s, err := b.open(ctx, conn)
	if err != nil {
		return err
	}
	b.set(s)
	defer b.set(nil)
	b.cfg.Log.Info("the queue is ready", "embedded", b.cfg.URL == "")
	return b.watch(ctx, s)
}

// watch returns when the session is of no use any more.
func (b *Bus) watch(ctx context.Context, s *session) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	faults := 0
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		look, cancel := context.WithTimeout(ctx, lookEvery)
		_, err := s.queue.Info(look)
		cancel()
		switch {
		case err == nil:
			faults = 0
			continue
		case b.cfg.URL != "" && !errors.Is(err, jetstream.ErrStreamNotFound):
			continue // the connection is restored by itself
		}
		if faults++; faults == 3 {
			return fmt.Errorf("look at the queue: %w", err)
		}
	}
}

// dial starts the embedded server, or not, and connects. end undoes both.
func (b *Bus) dial(ctx context.Context) (conn *nats.Conn, end func(), err error) {
	if b.cfg.URL == "" {
		return b.embed(ctx)
	}
	conn, err = nats.Connect(b.cfg.URL, append(b.options(), nats.MaxReconnects(-1), nats.Timeout(5*time.Second))...)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	return conn, conn.Close, nil
}

func (b *Bus) options() []nats.Option {
	return []nats.Option{
		nats.Name("imagetier"),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			b.cfg.Log.Warn("connection to the queue", "err", err)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				b.cfg.Log.Warn("the connection to the queue was lost", "err", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { b.cfg.Log.Info("the connection to the queue is restored") }),
	}
}

// open makes the streams that are missing.
func (b *Bus) open(ctx context.Context, conn *nats.Conn) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	s := &session{js: js, conn: conn}
	if s.queue, err = b.stream(ctx, js, queueStream(b.cfg)); err != nil {
		return nil, err
	}
	if s.dead, err = b.stream(ctx, js, deadStream()); err != nil {
		return nil, err
	}
	if s.seen, err = b.stream(ctx, js, seenStream(b.cfg)); err != nil {
		return nil, err
	}
	for priority := range NumPriorities {
		cfg := queueConsumer(b.cfg, priority)
		if s.consumers[priority], err = s.queue.CreateOrUpdateConsumer(ctx, cfg); err != nil {
			return nil, fmt.Errorf("consumer of priority %d: %w", priority, err)
		}
	}
	return s, nil
}

// stream opens or makes a stream. The embedded server's has our limits; of a cluster's that
// is there already, an operator may have set others.
func (b *Bus) stream(
	ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig,
) (jetstream.Stream, error) {
	if b.cfg.URL == "" {
		stream, err := js.CreateOrUpdateStream(ctx, cfg)
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", cfg.Name, err)
		}
		return stream, nil
	}
	cfg.Replicas = b.cfg.Replicas
	stream, err := js.Stream(ctx, cfg.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		// An error is the caller's to try again: fewer replicas than configured would lose with
		// one server what was acknowledged.
		if stream, err = js.CreateStream(ctx, cfg); err == nil {
			b.cfg.Log.Info("stream created", "stream", cfg.Name, "replicas", cfg.Replicas)
		}
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node was faster
			stream, err = js.Stream(ctx, cfg.Name)
		}
	}
	if err == nil && stream.CachedInfo().Config.Replicas < cfg.Replicas {
		stream, err = b.replicate(ctx, js, stream.CachedInfo().Config)
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s with %d replicas (--stream-replicas): %w", cfg.Name, cfg.Replicas, err)
	}
	return stream, nil
}

// replicate gives a stream that has too few replicas as many as are configured, and leaves the
// rest of its configuration to the operator.
func (b *Bus) replicate(
	ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig,
) (jetstream.Stream, error) {
	had := cfg.Replicas
	cfg.Replicas = b.cfg.Replicas
	stream, err := js.UpdateStream(ctx, cfg)
	if err == nil {
		b.cfg.Log.Warn("stream had too few replicas", "stream", cfg.Name, "had", had, "replicas", cfg.Replicas)
	}
	return stream, err
}

func (b *Bus) set(s *session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = s
	close(b.changed)
	b.changed = make(chan struct{})
}

// session returns what there is now, or ErrUnavailable.
func (b *Bus) session() (*session, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now == nil {
		return nil, ErrUnavailable
	}
	return b.now, nil
}

// wait returns the session as soon as there is one, or ctx's error.
func (b *Bus) wait(ctx context.Context) (*session, error) {
	for {
		b.mu.Lock()
		s, changed := b.now, b.changed
		b.mu.Unlock()
		if s != nil {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Ready waits until the Bus can be used, or for ctx.
func (b *Bus) Ready(ctx context.Context) error {
	_, err := b.wait(ctx)
	return err
}

// Available reports whether the Bus can be used now, as far as it knows.
func (b *Bus) Available() bool {
	s, err := b.session()
	return err == nil && s.conn.IsConnected()
}
