package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/novasocial/imagetier/internal/durable"
)

const (
	// startTime is how long the server may take to read its store; it reads all of it if its index
	// is missing.
	startTime = time.Minute
	// maxDeaths is how often in a row the process may die while opening the store before the store
	// is considered damaged.
	maxDeaths = 3
	// maxStoreFile is the largest file of a store that the server may read, in bytes; it reads files
	// whole. Its blocks have at most 8 MiB and one message.
	maxStoreFile = 64 << 20
	// maxSmallFile is the largest file beside the store that is read, in bytes.
	maxSmallFile = 64 << 10
	// keepAside is how many damaged stores are kept for inspection.
	keepAside = 2
)

// errDamaged means that the store could be opened, but its content is damaged.
var errDamaged = errors.New("the store is damaged")

// embed starts the server inside this process and connects to it. A damaged store is moved aside:
// its jobs are lost, which is logged, and the start continues with an empty store.
func embed(ctx context.Context, cfg Config, options []nats.Option) (*nats.Conn, func(), error) {
	if deaths := countDeath(cfg.Dir); deaths >= maxDeaths {
		died := fmt.Errorf("%w: the process has died %d times while opening it", errDamaged, deaths)
		if err := setAside(cfg, died); err != nil {
			return nil, nil, err
		}
	}
	conn, end, err := startServer(ctx, cfg, options)
	if errors.Is(err, errDamaged) {
		if aside := setAside(cfg, err); aside != nil {
			return nil, nil, errors.Join(err, aside)
		}
		conn, end, err = startServer(ctx, cfg, options)
	}
	forgetDeaths(cfg.Dir)
	return conn, end, err
}

func startServer(ctx context.Context, cfg Config, options []nats.Option) (*nats.Conn, func(), error) {
	if err := os.MkdirAll(cfg.Dir, 0o750); err != nil {
		return nil, nil, fmt.Errorf("make the queue's directory: %w", err)
	}
	if err := checkSizes(cfg.Dir); err != nil {
		return nil, nil, err
	}
	srv, err := server.NewServer(&server.Options{
		ServerName: "imagetier", DontListen: true, NoSigs: true,
		JetStream: true, StoreDir: cfg.Dir, SyncAlways: true, MaxPayload: maxPayload,
		JetStreamMaxMemory: 16 << 20, JetStreamMaxStore: storeBytes(cfg), DisableJetStreamBanner: true,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("embedded server: %w", err)
	}
	messages := &serverLog{log: cfg.Log}
	srv.SetLoggerV2(messages, false, false, false)
	stop := func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	}
	if !ready(ctx, srv) {
		stop()
		return nil, nil, fmt.Errorf("embedded server does not start: %s", messages.worst())
	}
	conn, err := nats.Connect("", append(options, nats.InProcessServer(srv))...)
	if err != nil {
		stop()
		return nil, nil, fmt.Errorf("embedded server: %w", err)
	}
	end := func() {
		conn.Close()
		stop()
	}
	if err := inspect(ctx, cfg, conn); err != nil {
		end()
		return nil, nil, err
	}
	return conn, end, nil
}

// checkSizes returns errDamaged if a file of the store is larger than any that a server writes.
func checkSizes(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Size() > maxStoreFile {
			err = fmt.Errorf("%w: %s has %d bytes, more than %d", errDamaged, path, info.Size(), maxStoreFile)
		}
		return err
	})
}

// ready starts the server and reports whether it can be used. A server that cannot use its store
// logs that and never becomes ready, so there is no waiting.
func ready(ctx context.Context, srv *server.Server) bool {
	started := make(chan struct{})
	go func() {
		defer close(started)
		srv.Start() // returns when everything is started; its goroutines end with Shutdown
	}()
	late := time.NewTimer(startTime)
	defer late.Stop()
	select {
	case <-started:
	case <-late.C:
		return false
	case <-ctx.Done():
		return false
	}
	// After a successful start this is true immediately.
	return srv.ReadyForConnections(50*time.Millisecond) && srv.JetStreamEnabled()
}

// storeBytes is the disk space of all streams, with an allowance for message headers.
func storeBytes(cfg Config) int64 {
	return cfg.QueueBytes + deadBytes + seenBytes + hookBytes + 64<<20
}

// inspect compares the store with the list of streams that was written when it was last open. The
// server skips a stream that it cannot read and logs that; the stream would then be created again,
// empty, over the old files.
func inspect(ctx context.Context, cfg Config, conn *nats.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	for _, name := range readStreams(cfg) {
		stream, err := js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("%w: stream %s cannot be read", errDamaged, name)
		}
		if err != nil {
			return fmt.Errorf("stream %s: %w", name, err)
		}
		info := stream.CachedInfo()
		if lost := info.State.Lost; lost != nil && len(lost.Msgs) > 0 {
			cfg.Log.Error("queue store partly damaged, messages lost",
				"stream", name, "lost", len(lost.Msgs), "bytes", lost.Bytes)
		}
		if info.State.Msgs == 0 {
			continue
		}
		for _, seq := range []uint64{info.State.FirstSeq, info.State.LastSeq} {
			_, err := stream.GetMsg(ctx, seq)
			if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) && ctx.Err() == nil {
				return fmt.Errorf("%w: message %d of %s cannot be read: %w", errDamaged, seq, name, err)
			}
		}
	}
	return writeStreams(cfg)
}

// The list of streams is outside the store's directory, so that damage to the store does not affect
// it.
func listFile(cfg Config) string { return filepath.Join(cfg.Dir, "streams.json") }

func readStreams(cfg Config) (names []string) {
	text, err := durable.ReadFile(listFile(cfg), maxSmallFile)
	if err != nil || json.Unmarshal(text, &names) != nil {
		return nil
	}
	return names
}

func writeStreams(cfg Config) error {
	names := []string{queueName, deadName, seenName}
	if slices.Equal(names, readStreams(cfg)) {
		return nil
	}
	text, err := json.Marshal(names)
	if err != nil {
		return err
	}
	return durable.WriteFile(listFile(cfg), text)
}

// setAside renames the store and logs why. If the disk itself fails it does not: the store may be
// intact, and a new one could not be written either.
func setAside(cfg Config, why error) error {
	if err := probe(filepath.Dir(cfg.Dir)); err != nil {
		return fmt.Errorf("the disk of the queue cannot be written: %w", err)
	}
	to := cfg.Dir + ".damaged-" + time.Now().UTC().Format("20060102T150405.000")
	if err := os.Rename(cfg.Dir, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("set the damaged queue aside: %w", err)
	}
	cfg.Log.Error("queue damaged and moved aside; its jobs are lost",
		"moved_to", to, "err", why)
	old, err := filepath.Glob(cfg.Dir + ".damaged-*")
	if err != nil {
		return nil // the directory's name is not a valid glob pattern: keep all
	}
	slices.Sort(old)
	for _, path := range old[:max(0, len(old)-keepAside)] {
		if err := os.RemoveAll(path); err != nil {
			cfg.Log.Warn("removing an old damaged queue failed", "dir", path, "err", err)
		}
	}
	return nil
}

// probe checks that a small file can be written and synced.
func probe(dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(make([]byte, 64<<10))
	return errors.Join(err, f.Sync(), f.Close())
}

// Starts that did not complete are counted in a file beside the directory.
func deathsFile(dir string) string { return dir + ".starting" }

// countDeath returns how many starts in a row before this one did not complete.
func countDeath(dir string) int {
	text, err := durable.ReadFile(deathsFile(dir), maxSmallFile)
	n := 0
	if err == nil {
		n, _ = strconv.Atoi(strings.TrimSpace(string(text))) // an unreadable count is 0
	}
	if n >= maxDeaths {
		forgetDeaths(dir)
		_ = os.WriteFile(deathsFile(dir), []byte("1"), 0o640)
		return n
	}
	// If the file cannot be written, nothing is counted.
	_ = os.MkdirAll(filepath.Dir(dir), 0o750)
	_ = os.WriteFile(deathsFile(dir), []byte(strconv.Itoa(n+1)), 0o640)
	return n
}

func forgetDeaths(dir string) { _ = os.Remove(deathsFile(dir)) }

// serverLog receives the server's log lines. Faults are logged as such, everything else at debug
// level.
type serverLog struct {
	log  *slog.Logger
	last atomic.Pointer[string]
}

func (l *serverLog) fault(format string, args []any) string {
	text := strings.TrimSpace(fmt.Sprintf(format, args...))
	l.last.Store(&text)
	return text
}

// worst returns the last fault.
func (l *serverLog) worst() string {
	if text := l.last.Load(); text != nil {
		return *text
	}
	return "it gives no reason"
}

// The methods of server.Logger.
func (l *serverLog) Noticef(format string, args ...any) {
	l.log.Debug("embedded queue: " + strings.TrimSpace(fmt.Sprintf(format, args...)))
}
func (l *serverLog) Warnf(format string, args ...any) {
	l.log.Warn("embedded queue: " + l.fault(format, args))
}
func (l *serverLog) Errorf(format string, args ...any) {
	l.log.Error("embedded queue: " + l.fault(format, args))
}
func (l *serverLog) Fatalf(format string, args ...any) { // the server continues; ready checks whether it works
	l.log.Error("embedded queue: " + l.fault(format, args))
}
func (l *serverLog) Debugf(string, ...any) {}
func (l *serverLog) Tracef(string, ...any) {}
