package jetstream

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A Log is a stream of a cluster that every node follows from end to end.
type Log struct{ stream, subject string }

var (
	// Purges are kept for a week: a node that was away for longer empties its caches.
	Purges = Log{"IMAGETIER_PURGES", "imagetier.purge"}
	// Takedowns are the newest decision about each original, kept without limit of age.
	Takedowns = Log{"IMAGETIER_TAKEDOWNS", "imagetier.takedown"}
	// Tags say which originals have which tags, kept without limit of age.
	Tags = Log{"IMAGETIER_TAGS", "imagetier.tag"}
)

// String returns the name of the stream.
func (l Log) String() string { return l.stream }

const (
	purgeAge      = 7 * 24 * time.Hour
	purgeBytes    = 1 << 30
	takedownBytes = 1 << 30
	tagBytes      = 128 << 20 // some 400,000 images
	tagMessage    = 512 << 10
)

func (l Log) config() jetstream.StreamConfig {
	cfg := jetstream.StreamConfig{
		Name: l.stream, Subjects: []string{l.subject + ".*"}, Storage: jetstream.FileStorage, AllowDirect: true,
		MaxMsgSize: 64 << 10, Duplicates: 2 * time.Minute,
	}
	switch l {
	case Hooks:
		cfg.Description = "imagetier: purges for the CDN hook"
		cfg.MaxAge, cfg.MaxBytes = hookAge, hookBytes
		cfg.Discard, cfg.Retention = jetstream.DiscardOld, jetstream.WorkQueuePolicy
	case Tags:
		cfg.Description = "imagetier: tags of originals"
		cfg.MaxBytes, cfg.MaxMsgSize, cfg.Discard = tagBytes, tagMessage, jetstream.DiscardOld
	case Takedowns:
		cfg.Description = "imagetier: the last word about originals that were taken down"
		cfg.MaxMsgsPerSubject, cfg.MaxBytes, cfg.Discard = 1, takedownBytes, jetstream.DiscardNew
	default:
		cfg.Description = "imagetier: purges"
		cfg.MaxAge, cfg.MaxBytes, cfg.Discard = purgeAge, purgeBytes, jetstream.DiscardOld
	}
	return cfg
}

// LogState is what a log has: a log that was lost and begun anew has another ID.
type LogState struct {
	ID, First, Last uint64
	FirstAt         time.Time // when First was appended, by the server's clock; zero if it is empty
}

func stateOf(info *jetstream.StreamInfo) LogState {
	return LogState{
		ID:      uint64(info.Created.UnixNano()),
		First:   info.State.FirstSeq,
		Last:    info.State.LastSeq,
		FirstAt: info.State.FirstTime,
	}
}

// PeekLog asks a cluster what a log has, over a connection of its own. A log that is not
// there yet is the zero LogState.
func PeekLog(ctx context.Context, url string, l Log) (LogState, error) {
	conn, err := nats.Connect(url, nats.Name("imagetier"), nats.Timeout(2*time.Second))
	if err != nil {
		return LogState{}, fmt.Errorf("connect to the cluster: %w", err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return LogState{}, err
	}
	stream, err := js.Stream(ctx, l.stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return LogState{}, nil
	}
	if err != nil {
		return LogState{}, fmt.Errorf("look at %s: %w", l.stream, err)
	}
	return stateOf(stream.CachedInfo()), nil
}

// State asks what a log has.
func (b *Bus) State(ctx context.Context, l Log) (LogState, error) {
	s, err := b.session()
	if err != nil {
		return LogState{}, err
	}
	stream, err := s.js.Stream(ctx, l.stream)
	if err != nil {
		return LogState{}, fmt.Errorf("look at %s: %w", l.stream, err)
	}
	return stateOf(stream.CachedInfo()), nil
}

// Append adds an entry to a log, about something whose name is one token of a subject. The
// same id again adds nothing, for two minutes. When it returns without an error, the
// entry is stored on most servers of the cluster, and number is its own. It goes on trying until ctx is done, since a
// cluster needs some seconds for a new leader; without a connection it fails at once.
func (b *Bus) Append(ctx context.Context, l Log, about, id string, data []byte) (number uint64, err error) {
	for {
		s, err := b.connected()
		if err != nil {
			return 0, err
		}
		try, cancel := context.WithTimeout(ctx, time.Second)
		ack, err := s.js.Publish(try, l.subject+"."+about, data, jetstream.WithMsgID(id))
		cancel()
		if err == nil {
			return ack.Sequence, nil
		}
		if l == Hooks && errors.Is(err, jetstream.ErrNoStreamResponse) { // the stream does not exist yet
			_, err = b.stream(ctx, s.js, l.config())
			if err == nil {
				continue
			}
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%w: append to %s: %w", ErrUnavailable, l.stream, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// ErrConflict means that something else was appended about the same subject in the meantime.
var ErrConflict = errors.New("the subject has a newer message")

// AppendAfter appends an entry if last is still the number of the subject's last message (0:
// there is none); otherwise the error is ErrConflict. It is ErrFull if the log has no room. After
// any other error it may have been appended or not: Last says. It is tried once.
func (b *Bus) AppendAfter(
	ctx context.Context, l Log, about string, last uint64, data []byte,
) (number uint64, err error) {
	s, err := b.connected()
	if err != nil {
		return 0, err
	}
	ack, err := s.js.Publish(ctx, l.subject+"."+about, data, jetstream.WithExpectLastSequencePerSubject(last))
	var refused *jetstream.APIError
	switch {
	case err == nil:
		return ack.Sequence, nil
	case errors.As(err, &refused) && (refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		refused.ErrorCode == wrongLastSequence):
		return 0, ErrConflict
	}
	return 0, putError("append to "+l.stream, err)
}

// wrongLastSequence is what newer servers answer, without the number of the last message.
const wrongLastSequence = 10164

// Last returns the last message about a subject and its number, which is 0 if there is none. It
// may be one that another was appended after a moment ago: AppendAfter sees that.
func (b *Bus) Last(ctx context.Context, l Log, about string) (number uint64, data []byte, err error) {
	s, err := b.connected()
	if err != nil {
		return 0, nil, err
	}
	stream, err := s.log(ctx, b, l)
	if err != nil {
		return 0, nil, err
	}
	msg, err := stream.GetLastMsgForSubject(ctx, l.subject+"."+about)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, fmt.Errorf("%w: read %s: %w", ErrUnavailable, l.stream, err)
	}
	return msg.Sequence, msg.Data, nil
}

// connected returns the session if its connection is up, and ErrUnavailable at once if not.
func (b *Bus) connected() (*session, error) {
	s, err := b.session()
	if err == nil && !s.conn.IsConnected() {
		err = ErrUnavailable
	}
	return s, err
}

// log returns the handle of a log's stream, which it opens once in a session.
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

// Numbered is an entry of a log and its number.
type Numbered struct {
	Number uint64
	Data   []byte
}

// Follower is who follows a log.
type Follower struct {
	// Begin receives the state of the log whenever following begins, and returns the entry to
	// begin with. An error of it ends Follow.
	Begin func(LogState) (from uint64, err error)
	// Apply is handed every entry, in order: as many at once as have come, up to MaxBatch. An
	// error of it ends Follow.
	Apply func(ctx context.Context, entries []Numbered) error
}

// MaxBatch is how many entries Follower.Apply gets at once.
const MaxBatch = 1000

// Follow hands the entries of a log to f, from the first on that f has not seen and as they
// come, until ctx is done; then it returns nil. Only an error of f ends it before.
func (b *Bus) Follow(ctx context.Context, l Log, f Follower) error {
	var refused *refusal
	for ctx.Err() == nil {
		s, err := b.wait(ctx)
		if err != nil {
			return nil
		}
		err = b.follow(ctx, s, l, f)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &refused):
			return refused.error
		}
		b.cfg.Log.Warn("a log cannot be followed: trying again", "log", l.stream, "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(firstRetry):
		}
	}
	return nil
}

var errLost = errors.New("the stream was lost, or has dropped entries that were not applied here")

type refusal struct{ error }

func (b *Bus) follow(ctx context.Context, s *session, l Log, f Follower) error {
	opening, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	stream, err := b.stream(opening, s.js, l.config())
	if err != nil {
		return err
	}
	info, err := stream.Info(opening)
	if err != nil {
		return err
	}
	from, err := f.Begin(stateOf(info))
	if err != nil {
		return &refusal{err}
	}
	consumer, err := stream.OrderedConsumer(opening, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(1, from), MaxResetAttempts: 3,
	})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages(jetstream.PullHeartbeat(2 * time.Second))
	if err != nil {
		return err
	}
	defer messages.Stop()
	defer context.AfterFunc(ctx, messages.Stop)()
	// A consumer that reconnects goes on silently with a stream that was made anew, or behind
	// entries that the stream has dropped meanwhile. Begin is asked again about both.
	var next atomic.Uint64 // the first entry that was not applied, or that the stream had
	next.Store(max(from, info.State.FirstSeq))
	watching, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	var lost atomic.Bool
	go func() {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			select {
			case <-watching.Done():
				return
			case <-tick.C:
			}
			look, cancel := context.WithTimeout(watching, lookEvery)
			now, err := s.js.Stream(look, l.stream)
			cancel()
			gone := errors.Is(err, jetstream.ErrStreamNotFound)
			if err == nil {
				state := stateOf(now.CachedInfo())
				gone = state.ID != stateOf(info).ID || state.First > next.Load()
			}
			if gone {
				lost.Store(true)
				messages.Stop()
				return
			}
		}
	}()
	for {
		entries, err := nextEntries(messages)
		if lost.Load() {
			return errLost
		}
		if err != nil {
			return err
		}
		if err := f.Apply(ctx, entries); err != nil {
			return &refusal{err}
		}
		next.Store(entries[len(entries)-1].Number + 1)
	}
}

// nextEntries waits for one entry, and returns with it what else has come by then.
func nextEntries(messages jetstream.MessagesContext) (entries []Numbered, err error) {
	msg, err := messages.Next()
	for err == nil {
		meta, err := msg.Metadata()
		if err != nil {
			return nil, err
		}
		entries = append(entries, Numbered{meta.Sequence.Stream, msg.Data()})
		if len(entries) == MaxBatch {
			return entries, nil
		}
		if msg, err = messages.Next(jetstream.NextMaxWait(time.Millisecond)); err != nil {
			return entries, nil // a lasting fault is the next call's
		}
	}
	return nil, err
}

// Share hands each entry of the purges to one node of all that call it, which does what has
// to be done once. do returns after which pause the entry is to be handed out again, 0 for
// never. It returns nil when ctx is done.
func (b *Bus) Share(ctx context.Context, do func(ctx context.Context, e Entry) (again time.Duration)) error {
	for ctx.Err() == nil {
		s, err := b.wait(ctx)
		if err != nil {
			return nil
		}
		err = b.share(ctx, s, do)
		if ctx.Err() != nil {
			return nil
		}
		b.cfg.Log.Warn("what a purge asks of one node cannot be read: trying again", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(noticePause):
		}
	}
	return nil
}

func (b *Bus) share(ctx context.Context, s *session, do func(context.Context, Entry) time.Duration) error {
	stream, err := b.stream(ctx, s.js, Purges.config())
	if err != nil {
		return err
	}
	consumer, err := stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: "deleters", AckPolicy: jetstream.AckExplicitPolicy, AckWait: 30 * time.Second,
		MaxDeliver: -1, MaxAckPending: 20_000,
	})
	if err != nil {
		return fmt.Errorf("consumer of %s: %w", Purges.stream, err)
	}
	for {
		msg, err := nextMessage(ctx, consumer)
		if err != nil {
			return err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		if again := do(ctx, Entry{Data: msg.Data(), At: meta.Timestamp}); again > 0 {
			err = msg.NakWithDelay(again)
		} else {
			err = msg.DoubleAck(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// Say tells every node that listens to a subject, as well as that works: nothing is stored.
func (b *Bus) Say(subject string, data []byte) {
	if s, err := b.session(); err == nil {
		_ = s.conn.Publish("imagetier.say."+subject, data) // who needs an answer waits for it
	}
}

// Listen hands to heard what is said of a subject, until ctx is done. It returns nil.
func (b *Bus) Listen(ctx context.Context, subject string, heard func([]byte)) error {
	for ctx.Err() == nil {
		s, err := b.wait(ctx)
		if err != nil {
			return nil
		}
		b.mu.Lock()
		changed := b.changed
		b.mu.Unlock()
		sub, err := s.conn.Subscribe("imagetier.say."+subject, func(m *nats.Msg) { heard(m.Data) })
		if err == nil {
			select {
			case <-ctx.Done():
			case <-changed:
			}
			_ = sub.Unsubscribe() // the connection may be gone with it
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(firstRetry):
		}
	}
	return nil
}
