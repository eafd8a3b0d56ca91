package jetstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Bus is the queue and its connection to JetStream, which Run maintains. It is safe for concurrent
// use.
type Bus struct {
	cfg Config
	put chan struct{} // of capacity 1: has a value after a Put, so that Next does not wait for its next poll

	mu      sync.Mutex
	now     *session      // guarded by mu; nil while not connected
	changed chan struct{} // guarded by mu; closed when now changes
	up      time.Time     // guarded by mu; when the connection was last established
}

// session is a usable connection to the server.
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

// New returns a Bus. It can be used once Run has connected it.
func New(cfg Config) (*Bus, error) {
	if cfg.Dir == "" && cfg.URL == "" {
		return nil, errors.New("jetstream: a directory or a URL is needed")
	}
	return &Bus{cfg: cfg.withDefaults(), put: make(chan struct{}, 1), changed: make(chan struct{})}, nil
}

// Pauses between attempts to start, and between health checks.
const (
	firstRetry = 500 * time.Millisecond
	lastRetry  = 30 * time.Second
	lookEvery  = 5 * time.Second
)

// publishTime is after how long the client forgets a published message that was not answered. It refuses new ones
// while it waits for 4,000.
const publishTime = 2 * time.Minute

// Run starts the embedded server or connects to a cluster, and maintains that until ctx is done. It
// returns nil then; earlier failures are logged and retried. Stop all users of the Bus first.
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
		b.cfg.Log.Error("queue unavailable, retrying", "after", wait, "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, lastRetry)
	}
}

// serve runs one session until it fails.
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
	b.cfg.Log.Info("queue ready", "embedded", b.cfg.URL == "")
	return b.watch(ctx, s)
}

// watch returns when the session is no longer usable.
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
		err := s.check(look)
		cancel()
		switch {
		case err == nil:
			faults = 0
			continue
		case s.conn.IsClosed(): // by the client, after it was refused twice or got an error that it does not know
			return fmt.Errorf("the client closed the connection: %w", cmp.Or(s.conn.LastError(), err))
		case b.cfg.URL != "" &&
			!errors.Is(err, jetstream.ErrStreamNotFound) && !errors.Is(err, jetstream.ErrConsumerNotFound):
			continue // the client reconnects by itself
		}
		if faults++; faults == 3 {
			return fmt.Errorf("inspect the queue: %w", err)
		}
	}
}

// check returns an error if the queue cannot be used: something of it may have been removed.
func (s *session) check(ctx context.Context) error {
	for _, stream := range []jetstream.Stream{s.queue, s.seen, s.dead} {
		if _, err := stream.Info(ctx); err != nil {
			return err
		}
	}
	for _, consumer := range s.consumers {
		if _, err := consumer.Info(ctx); err != nil {
			return err
		}
	}
	return nil
}

// ReconnectTime is how long a client takes to connect again to a cluster that can be reached, if one of its
// servers does not answer.
const ReconnectTime = reconnectWait + reconnectJitter + dialTime

const (
	reconnectWait   = 500 * time.Millisecond // after all servers were tried
	reconnectJitter = 250 * time.Millisecond
	dialTime        = 3 * time.Second // for one server
)

// dial connects to the cluster, or to an embedded server that it starts. end undoes both.
func (b *Bus) dial(ctx context.Context) (conn *nats.Conn, end func(), err error) {
	if b.cfg.URL == "" {
		return embed(ctx, b.cfg, b.options())
	}
	options := append(b.options(), nats.MaxReconnects(-1), bounded(b.cfg.URL, dialTime),
		nats.ReconnectWait(reconnectWait), nats.ReconnectJitter(reconnectJitter, reconnectJitter))
	conn, err = nats.Connect(b.cfg.URL, options...)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	return conn, conn.Close, nil
}

func (b *Bus) options() []nats.Option {
	return []nats.Option{
		nats.Name("imagetier"),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			b.cfg.Log.Warn("queue connection error", "err", err)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				b.cfg.Log.Warn("queue connection lost", "err", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) {
			b.mu.Lock()
			b.up = time.Now()
			b.mu.Unlock()
			b.cfg.Log.Info("queue connection restored")
		}),
	}
}

// open creates missing streams.
func (b *Bus) open(ctx context.Context, conn *nats.Conn) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncTimeout(publishTime))
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
		s.consumers[priority], err = ask(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
			return s.queue.CreateOrUpdateConsumer(ctx, queueConsumer(b.cfg, priority))
		})
		if err != nil {
			return nil, fmt.Errorf("consumer of priority %d: %w", priority, err)
		}
	}
	return s, nil
}

// stream opens or creates a stream. An existing stream of a cluster keeps its limits, which an
// operator may have changed.
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
	stream, err := ask(ctx, func(ctx context.Context) (jetstream.Stream, error) {
		return b.clusterStream(ctx, js, cfg)
	})
	if err != nil {
		return nil, fmt.Errorf("stream %s with %d replicas (--stream-replicas): %w", cfg.Name, cfg.Replicas, err)
	}
	return stream, nil
}

func (b *Bus) clusterStream(
	ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig,
) (jetstream.Stream, error) {
	stream, err := js.Stream(ctx, cfg.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		// The caller retries after an error: with fewer replicas than configured, losing one server
		// would lose acknowledged entries.
		if stream, err = js.CreateStream(ctx, cfg); err == nil {
			b.cfg.Log.Info("stream created", "stream", cfg.Name, "replicas", cfg.Replicas)
		}
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node has created it
			stream, err = js.Stream(ctx, cfg.Name)
		}
	}
	if err == nil && stream.CachedInfo().Config.Replicas < cfg.Replicas {
		return b.replicate(ctx, js, stream.CachedInfo().Config)
	}
	return stream, err
}

// replicate raises the replicas of a stream to the configured number. It leaves the rest of the
// configuration to the operator.
func (b *Bus) replicate(
	ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig,
) (jetstream.Stream, error) {
	had := cfg.Replicas
	cfg.Replicas = b.cfg.Replicas
	stream, err := js.UpdateStream(ctx, cfg)
	if err == nil {
		b.cfg.Log.Warn("stream replicas increased", "stream", cfg.Name, "had", had, "replicas", cfg.Replicas)
	}
	return stream, err
}

func (b *Bus) set(s *session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now, b.up = s, time.Now()
	close(b.changed)
	b.changed = make(chan struct{})
}

// session returns the current session, or ErrUnavailable.
func (b *Bus) session() (*session, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now == nil {
		return nil, ErrUnavailable
	}
	return b.now, nil
}

// wait waits for a session and returns it, or the error of ctx.
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

// Ready waits until the Bus can be used or ctx is done.
func (b *Bus) Ready(ctx context.Context) error {
	_, err := b.wait(ctx)
	return err
}

// Available reports whether the Bus has a session now.
func (b *Bus) Available() bool {
	s, err := b.session()
	return err == nil && s.conn.IsConnected()
}

// connected returns the session if its connection is up, else ErrUnavailable.
func (b *Bus) connected() (*session, error) {
	s, err := b.session()
	if err == nil && !s.conn.IsConnected() {
		err = ErrUnavailable
	}
	return s, err
}

// log returns the handle of a log's stream, which it opens once per session.
func (s *session) log(ctx context.Context, b *Bus, l Log) (jetstream.Stream, error) {
	if stream, ok := s.logs.Load(l); ok {
		return stream.(jetstream.Stream), nil
	}
	stream, err := b.stream(ctx, s.js, l.config())
	if err == nil {
		s.logs.Store(l, stream)
	}
	return stream, err
}
