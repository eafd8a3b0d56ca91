package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// LogState is the extent of a log. A log that was lost and recreated has another ID.
type LogState struct {
	ID, First, Last uint64
	FirstAt         time.Time // when First was appended, by the server's clock; zero if it is empty
	LastAt          time.Time // when Last was appended
	Asked           time.Time // when the state was requested, by this node's clock

	// Reset is set for a Follower that has applied entries which the log has lost, perhaps because a server was
	// restored from an older copy. Their numbers are given to other entries.
	Reset bool

	// Shared is the entry up to which Share is done with all entries, 0 if it could not be found out. It is
	// set for a Follower that asks for it.
	Shared uint64
}

func stateOf(info *jetstream.StreamInfo, asked time.Time) LogState {
	return LogState{
		Asked:   asked,
		ID:      uint64(info.Created.UnixNano()),
		First:   info.State.FirstSeq,
		Last:    info.State.LastSeq,
		FirstAt: info.State.FirstTime,
		LastAt:  info.State.LastTime,
	}
}

// PeekLog requests the state of a log over its own connection. A log that does not exist yet has
// the zero LogState.
func PeekLog(ctx context.Context, url string, l Log) (LogState, error) {
	conn, err := connect(url)
	if err != nil {
		return LogState{}, err
	}
	defer conn.Close()
	return peek(ctx, conn, l)
}

// ErrSingleServer is the error of [Check] if the URL leads to a server that is in no cluster, whose streams cannot have
// replicas.
var ErrSingleServer = errors.New("the server is not in a cluster")

// Check returns an error if a [Bus] with that many replicas cannot use a cluster, as far as that
// can be determined without creating a stream.
func Check(ctx context.Context, url string, replicas int) error {
	conn, err := connect(url)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := peek(ctx, conn, Purges); err != nil {
		return err
	}
	if replicas > 1 && conn.ConnectedClusterName() == "" {
		return ErrSingleServer
	}
	return nil
}

// connect opens a connection for a single question.
func connect(url string) (*nats.Conn, error) {
	conn, err := nats.Connect(url, nats.Name("imagetier"), bounded(url, 2*time.Second))
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	return conn, nil
}

func peek(ctx context.Context, conn *nats.Conn, l Log) (LogState, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return LogState{}, err
	}
	state, err := lookUp(ctx, js, l)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return LogState{}, nil
	}
	if err != nil {
		return LogState{}, fmt.Errorf("inspect %s: %w", l.stream, err)
	}
	return state, nil
}

func lookUp(ctx context.Context, js jetstream.JetStream, l Log) (LogState, error) {
	asked := time.Now()
	stream, err := ask(ctx, func(ctx context.Context) (jetstream.Stream, error) { return js.Stream(ctx, l.stream) })
	if err != nil {
		return LogState{}, err
	}
	return stateOf(stream.CachedInfo(), asked), nil
}

// State returns the state of a log.
func (b *Bus) State(ctx context.Context, l Log) (LogState, error) {
	s, err := b.session()
	if err != nil {
		return LogState{}, err
	}
	state, err := lookUp(ctx, s.js, l)
	if err != nil {
		return LogState{}, fmt.Errorf("inspect %s: %w", l.stream, err)
	}
	return state, nil
}

// Append appends an entry about a subject, which is one token, to a log. Repeating an id within two
// minutes adds nothing. When it returns without an error, the entry is stored on a majority of the
// servers, and number is its number. It retries until ctx is done, since a cluster needs some
// seconds to elect a new leader; without a connection it fails at once.
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

// AppendAfter appends an entry if last is still the number of the subject's last message (0: the
// subject has no message); otherwise the error is ErrConflict. It is ErrFull if the log is full.
// After any other error the entry may or may not have been appended; Last shows which. AppendAfter
// does not retry.
func (b *Bus) AppendAfter(
	ctx context.Context, l Log, about string, last uint64, data []byte,
) (number uint64, err error) {
	s, err := b.connected()
	if err != nil {
		return 0, err
	}
	ack, err := s.js.Publish(ctx, l.subject+"."+about, data, jetstream.WithExpectLastSequencePerSubject(last))
	switch {
	case err == nil:
		return ack.Sequence, nil
	case isWrongSequence(err):
		return 0, ErrConflict
	}
	return 0, putError("append to "+l.stream, err)
}

// isWrongSequence reports whether a message was refused because the last message of its subject is
// not the expected one.
func isWrongSequence(err error) bool {
	var refused *jetstream.APIError
	return errors.As(err, &refused) && (refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		refused.ErrorCode == wrongLastSequence)
}

// wrongLastSequence is the error code of newer servers, which do not return the number of the last
// message.
const wrongLastSequence = 10164

// Last returns the last message of a subject and its number; the number is 0 if the subject has no
// message. A newer message may have been appended meanwhile, which AppendAfter detects.
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
