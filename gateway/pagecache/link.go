package pagecache

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/novasocial/imagetier/internal/circuit"
)

const (
	// untrackedTTL is the TTL in memory while Redis does not announce changes.
	untrackedTTL = 5 * time.Second
	// tombstoneTTL outlives every request (10 s) whose call may have begun before a drop.
	tombstoneTTL = 30 * time.Second
	// reconnect is the pause between attempts to connect.
	reconnect = time.Second
	// maxPipeline is the maximum number of commands in one pipeline.
	maxPipeline = 256
	// slack is the time for the client to return by itself after its timeout: it may have
	// answers of some servers of a cluster.
	slack = 5 * time.Millisecond
)

// link is the connection to Redis: not connected yet, connected, or suspended by the breaker.
type link struct {
	cfg       Config
	changed   func(key string)
	client    atomic.Pointer[rueidis.Client] // nil: not connected yet
	breaker   *circuit.Breaker
	queue     chan []record
	untracked atomic.Bool // Redis does not announce changes

	// number changes when invalidations may have been missed: when a connection breaks or is
	// dialed, and again before its first command, since invalidations arrive only from then on.
	number atomic.Uint32

	owed     owed
	refusals refusals
}

// reply is the value of a key in Redis.
type reply struct {
	data []byte // nil if missing
	err  error
}

// record is one value to store.
type record struct {
	of       Kind
	key      string
	expected uint64 // the generation that the key must have; 0 if it must be missing
	ttl      time.Duration
	data     []byte
}

func newLink(cfg Config, changed func(key string)) *link {
	return &link{cfg: cfg, changed: changed, queue: make(chan []record, 256), breaker: circuit.New(cfg.Breaker)}
}

var errNotConnected = errors.New("redis is not connected")

// do sends commands in one pipeline and returns their results, or an error after RedisTimeout: some
// waits of the client ignore the context.
//
// command names them for refusals.
func (l *link) do(
	ctx context.Context, command string,
	commands func(client rueidis.Client) []rueidis.Completed,
) ([]rueidis.RedisResult, error) {
	client := l.client.Load()
	if client == nil {
		return nil, errNotConnected
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	report, err := l.breaker.Allow()
	if err != nil {
		return nil, err
	}
	done := make(chan []rueidis.RedisResult, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.cfg.RedisTimeout)
		defer cancel()
		done <- (*client).DoMulti(ctx, commands(*client)...)
	}()
	timer := time.NewTimer(l.cfg.RedisTimeout + slack)
	defer timer.Stop()
	select {
	case results := <-done:
		if err = allFailed(results); err != nil {
			report(circuit.Failure)
			return results, err
		}
		report(circuit.Success)
		if code, message := l.refusals.note(command, results); code != "" {
			l.cfg.Log.Error("redis refuses commands", "command", command, "err", message, "cure", refusalCures[code])
		}
		return results, nil
	case <-ctx.Done():
		report(circuit.Ignored)
		return nil, ctx.Err()
	case <-timer.C:
		report(circuit.Failure)
		return nil, context.DeadlineExceeded
	}
}

// allFailed returns an error if no command was answered. A server that answers with an error is up,
// and some servers of a cluster may be down.
func allFailed(results []rueidis.RedisResult) (last error) {
	for _, r := range results {
		if last = r.NonRedisError(); last == nil {
			return nil
		}
	}
	return last
}

// read returns the value of each key in Redis, or nil if Redis did not answer.
func (l *link) read(ctx context.Context, keys []string) []reply {
	oneCommand := false
	results, err := l.do(ctx, "read", func(client rueidis.Client) []rueidis.Completed {
		if client.Mode() != rueidis.ClientModeCluster {
			oneCommand = true
			return []rueidis.Completed{client.B().Mget().Key(keys...).Build()}
		}
		gets := make([]rueidis.Completed, len(keys)) // one pipeline for each server
		for i, key := range keys {
			gets[i] = client.B().Get().Key(key).Build()
		}
		return gets
	})
	if err != nil {
		return nil
	}
	replies := make([]reply, len(keys))
	if oneCommand {
		values, err := results[0].ToArray()
		if err != nil || len(values) != len(keys) {
			return nil
		}
		for i := range values {
			replies[i] = replyOf(values[i].AsBytes())
		}
	} else {
		for i := range results {
			replies[i] = replyOf(results[i].AsBytes())
		}
	}
	l.owed.strike(keys, replies)
	return replies
}

func replyOf(data []byte, err error) reply {
	if rueidis.IsRedisNil(err) {
		return reply{}
	}
	return reply{data, err}
}

// write queues records to be stored. It returns false if the queue is full.
func (l *link) write(of Kind, records []record) bool {
	if l.client.Load() == nil {
		return false
	}
	for i := range records {
		records[i].of = of
	}
	select {
	case l.queue <- records:
		return true
	default:
		return false
	}
}

// storeIfSame stores a record if the key still has the generation, or is still missing, as it was
// when the service was called.
const storeIfSame = `local at = redis.call('GETRANGE', KEYS[1], 2, 9)
if #at < 8 then at = '' end
if at ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`

// store sends records in one pipeline.
func (l *link) store(ctx context.Context, records []record) {
	results, err := l.do(ctx, "store", func(client rueidis.Client) []rueidis.Completed {
		commands := make([]rueidis.Completed, len(records))
		for i, r := range records {
			ttl := strconv.FormatInt(r.ttl.Milliseconds(), 10)
			commands[i] = client.B().Eval().Script(storeIfSame).Numkeys(1).Key(r.key).
				Arg(generationText(r.expected), rueidis.BinaryString(r.data), ttl).Build()
		}
		return commands
	})
	failed := map[Kind]int{}
	for i, r := range records {
		if err != nil || results[i].Error() != nil {
			failed[r.of]++
		}
	}
	for of, n := range failed {
		l.cfg.Observe(of, Failed, n)
	}
}

// drop writes tombstones under keys. It returns how many could not be written; these are added to
// owed.
func (l *link) drop(ctx context.Context, of Kind, keys []string) (failed int) {
	for len(keys) > 0 {
		n := min(len(keys), maxPipeline)
		failed += l.bury(ctx, of, keys[:n])
		keys = keys[n:]
	}
	return failed
}

func (l *link) bury(ctx context.Context, of Kind, keys []string) (failed int) {
	results, err := l.do(context.WithoutCancel(ctx), "drop", func(client rueidis.Client) []rueidis.Completed {
		commands := make([]rueidis.Completed, len(keys))
		for i, key := range keys {
			commands[i] = client.B().Set().Key(key).Value(rueidis.BinaryString(bury(key))).Px(tombstoneTTL).Build()
		}
		return commands
	})
	for i, key := range keys {
		if err != nil || results[i].Error() != nil {
			failed++
			if !l.owed.add(of, key) {
				l.cfg.Log.Error("redis invalidation lost, too many are queued; other gateways may serve the old entry until its TTL ends", "key", key)
			}
		} else {
			l.owed.settle(key)
		}
	}
	return failed
}

// run connects, and then stores queued records and retries owed drops, until ctx is done.
func (l *link) run(ctx context.Context) error {
	defer func() {
		if client := l.client.Load(); client != nil {
			(*client).Close()
		}
	}()
	retry := time.NewTicker(reconnect)
	defer retry.Stop()
	for logged := false; l.client.Load() == nil; {
		client, err := l.connect()
		if err == nil {
			l.client.Store(&client)
			break
		}
		if !logged {
			l.cfg.Log.Warn("redis unreachable, retrying every second", "err", err)
			logged = true
		}
		select {
		case <-ctx.Done():
			return nil
		case <-retry.C:
		}
	}
	renew := renewal{pause: reconnect}
	for {
		select {
		case <-ctx.Done():
			return nil
		case records := <-l.queue:
			for more := true; more && len(records) < maxPipeline; {
				select {
				case next := <-l.queue:
					records = append(records, next...)
				default:
					more = false
				}
			}
			l.store(ctx, records)
		case now := <-retry.C:
			l.leaveReplica(&renew, now)
			for of, keys := range l.owed.all() {
				l.drop(ctx, of, keys)
			}
		}
	}
}

// renewal is when the connection to a replica is next replaced. Each replacement makes entries in
// memory stale, so the pause doubles up to maxRenewal.
type renewal struct {
	at    time.Time
	pause time.Duration
}

const maxRenewal = time.Minute

// leaveReplica replaces the connection if the server has become a replica: the same name or address
// may lead to another primary now. With sentinels or a cluster the client would reconnect by
// itself, but later.
func (l *link) leaveReplica(next *renewal, now time.Time) {
	readonly := false
	for _, code := range l.refusals.now() {
		readonly = readonly || code == "READONLY"
	}
	switch {
	case !readonly:
		if now.After(next.at) {
			next.pause = reconnect
		}
		return
	case now.Before(next.at):
		return
	}
	next.at, next.pause = now.Add(next.pause), min(2*next.pause, maxRenewal)
	client, err := l.connect()
	if err != nil {
		l.cfg.Log.Warn("redis is a replica, reconnecting failed", "err", err)
		return
	}
	old := l.client.Swap(&client)
	l.refusals.clear()
	(*old).Close()
}

// dialed returns a new connection to Redis, whose first command moves number again:
//
//  1. The connection is dialed: number moves. What was asked for before may have missed changes.
//  2. The first write is the handshake, with CLIENT TRACKING.
//  3. A service answers a request that began after 1. Another gateway then drops its id, and
//     Redis does not announce it: the handshake is not done.
//  4. The handshake is answered, and the second write, the first command, moves number: the
//     answer of 3 turns stale.
func (l *link) dialed(c net.Conn) net.Conn {
	l.number.Add(1)
	return &tracked{Conn: c, ready: func() { l.number.Add(1) }}
}

// tracked is a connection that calls ready before its second write, and breaks when it receives an invalid
// message.
type tracked struct {
	net.Conn
	ready    func()
	writes   atomic.Int32
	messages messages
}

func (c *tracked) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if fault := c.messages.check(p[:n]); fault != nil {
		return 0, fault
	}
	return n, err
}

func (c *tracked) Write(p []byte) (int, error) {
	if c.writes.Load() < 2 && c.writes.Add(1) == 2 {
		c.ready()
	}
	return c.Conn.Write(p)
}

// announced is called by the client with invalidated keys, in the order of the changes. Nil means
// that everything may have changed.
func (l *link) announced(keys []rueidis.RedisMessage) {
	if keys == nil {
		l.number.Add(1)
		return
	}
	for i := range keys {
		if key, err := keys[i].ToString(); err == nil {
			l.changed(key)
		}
	}
}
