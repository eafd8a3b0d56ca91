package jetstream

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Numbered is an entry of a log and its number.
type Numbered struct {
	Number uint64
	Data   []byte
	At     time.Time // when it was appended, by the server's clock
}

// Follower receives the entries of a log.
type Follower struct {
	// Begin receives the state of the log whenever following begins, and returns the entry to begin
	// with. An error ends Follow.
	Begin func(LogState) (from uint64, err error)
	// Apply receives every entry, in order, in batches of those that have arrived, up to MaxBatch.
	// An error ends Follow.
	Apply func(ctx context.Context, entries []Numbered) error
	// Shared says that Begin and Look need LogState.Shared.
	Shared bool
	// Applied is the last entry that was applied before, so that Follow notices if the log has lost it
	// (LogState.Reset).
	Applied Applied
	// Look, if not nil, receives the state of the log every few seconds, perhaps during Apply.
	Look func(LogState)
}

// MaxBatch is the maximum number of entries in one call of Follower.Apply.
const MaxBatch = 1000

// Follow passes the entries of a log to f, beginning with the first one that f has not seen, until
// ctx is done; then it returns nil. Only an error of f ends it earlier.
func (b *Bus) Follow(ctx context.Context, l Log, f Follower) error {
	var refused *refusal
	var last atomic.Pointer[Applied]
	last.Store(&f.Applied)
	for ctx.Err() == nil {
		s, err := b.wait(ctx)
		if err != nil {
			return nil
		}
		err = b.follow(ctx, s, l, f, &last)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &refused):
			return refused.error
		}
		b.cfg.Log.Warn("following a stream failed, retrying", "log", l.stream, "err", err)
		pause(ctx, firstRetry)
	}
	return nil
}

var errLost = errors.New("the stream was lost or reset, or has dropped entries that were not applied here")

type refusal struct{ error }

// Applied is an entry that a follower has applied.
type Applied struct {
	Log, Number uint64
	At          time.Time // when it was appended; zero: unknown
}

// lost reports whether a log has lost the entry, and with it those behind it: the log ends earlier, or has
// another entry under that number. If the log cannot be read, the next look reports it.
func (x Applied) lost(ctx context.Context, stream jetstream.Stream, now LogState) bool {
	switch {
	case x.Log != now.ID || x.Number < now.First:
		return false
	case x.Number > now.Last || x.At.IsZero():
		return x.Number > now.Last
	}
	msg, err := stream.GetMsg(ctx, x.Number)
	return err == nil && !msg.Time.Equal(x.At)
}

// follow runs one subscription until it fails. last is the last entry that was applied.
func (b *Bus) follow(ctx context.Context, s *session, l Log, f Follower, last *atomic.Pointer[Applied]) error {
	x, err := b.subscribe(ctx, s, l, f, last)
	if err != nil {
		return err
	}
	defer x.messages.Stop()
	defer context.AfterFunc(ctx, x.messages.Stop)()
	watching, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	go x.watch(watching, s.js)
	for {
		entries, err := nextEntries(x.messages)
		if x.lost.Load() {
			return errLost
		}
		if err != nil {
			return err
		}
		if err := f.Apply(ctx, entries); err != nil {
			return &refusal{err}
		}
		end := entries[len(entries)-1]
		last.Store(&Applied{x.begun.ID, end.Number, end.At})
		x.next.Store(end.Number + 1)
	}
}

// subscription is a log whose entries arrive, from the one that Follower.Begin returned.
type subscription struct {
	log      Log
	follower Follower
	stream   jetstream.Stream
	begun    LogState // as Begin received it
	messages jetstream.MessagesContext
	last     *atomic.Pointer[Applied]
	next     atomic.Uint64 // the first entry that was not applied, or the first of the stream
	lost     atomic.Bool   // watch has stopped the messages
}

// subscribe calls f.Begin and requests the entries from the one that it returns.
func (b *Bus) subscribe(
	ctx context.Context, s *session, l Log, f Follower, last *atomic.Pointer[Applied],
) (*subscription, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	stream, err := b.stream(ctx, s.js, l.config())
	if err != nil {
		return nil, err
	}
	asked := time.Now()
	info, err := ask(ctx, func(ctx context.Context) (*jetstream.StreamInfo, error) { return stream.Info(ctx) })
	if err != nil {
		return nil, err
	}
	begun := stateOf(info, asked)
	begun.Reset = last.Load().lost(ctx, stream, begun)
	if f.Shared {
		if begun.Shared, err = sharedUpTo(ctx, stream); err != nil {
			b.cfg.Log.Warn("reading all purges again: which of them are worked off is not known", "err", err)
		}
	}
	from, err := f.Begin(begun)
	if err != nil {
		return nil, &refusal{err}
	}
	if begun.Reset || last.Load().Log != begun.ID {
		last.Store(&Applied{Log: begun.ID, Number: from - min(from, 1)})
	}
	consumer, err := ask(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
		return stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
			DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(1, from), MaxResetAttempts: 3,
		})
	})
	if err != nil {
		return nil, err
	}
	x := &subscription{log: l, follower: f, stream: stream, begun: begun, last: last}
	x.next.Store(max(from, begun.First))
	x.messages, err = consumer.Messages(jetstream.PullHeartbeat(2 * time.Second))
	return x, err
}

// watch looks at the stream every few seconds until ctx is done. A consumer that reconnects silently continues
// with a recreated stream, or after entries that the stream has dropped; of a stream that has lost its last
// entries, it misses as many new ones. In all these cases watch stops the messages, so that Begin is called
// again.
func (x *subscription) watch(ctx context.Context, js jetstream.JetStream) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for resets := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, lost, err := x.look(ctx, js)
		switch {
		case err == nil && lost:
			resets++
		case err == nil:
			resets = 0
		}
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound),
			err == nil && (now.ID != x.begun.ID || now.First > x.next.Load()),
			resets == 2: // after a partition, an old leader may have answered once
			x.lost.Store(true)
			x.messages.Stop()
			return
		case err == nil && !lost && x.follower.Look != nil:
			x.follower.Look(now)
		}
	}
}

// look returns the state of the log, and whether it has lost the last entry that was applied.
func (x *subscription) look(ctx context.Context, js jetstream.JetStream) (now LogState, lost bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	before := x.last.Load()
	if now, err = lookUp(ctx, js, x.log); err != nil {
		return now, false, err
	}
	if x.follower.Shared {
		now.Shared, _ = sharedUpTo(ctx, x.stream) // the next look asks again
	}
	return now, before.lost(ctx, x.stream, now), nil
}

// nextEntries waits for one entry, and returns it with all others that have arrived by then.
func nextEntries(messages jetstream.MessagesContext) (entries []Numbered, err error) {
	msg, err := messages.Next()
	for err == nil {
		meta, err := msg.Metadata()
		if err != nil {
			return nil, err
		}
		entries = append(entries, Numbered{meta.Sequence.Stream, msg.Data(), meta.Timestamp})
		if len(entries) == MaxBatch {
			return entries, nil
		}
		if msg, err = messages.Next(jetstream.NextMaxWait(time.Millisecond)); err != nil {
			return entries, nil // the next call reports a lasting fault
		}
	}
	return nil, err
}
