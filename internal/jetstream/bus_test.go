package jetstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// run starts a Bus and waits until it can be used. stop ends it and waits.
func run(t *testing.T, cfg Config) (b *Bus, stop func()) {
	t.Helper()
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	ready, done := context.WithTimeout(t.Context(), time.Minute)
	defer done()
	if err := b.Ready(ready); err != nil {
		t.Fatalf("the bus is not ready: %v", err)
	}
	return b, stop
}

func start(t *testing.T) *Bus {
	b, _ := run(t, Config{Dir: filepath.Join(t.TempDir(), "queue")})
	return b
}

func put(t *testing.T, b *Bus, id string, priority int, data ...string) {
	t.Helper()
	var messages []Message
	for _, d := range data {
		messages = append(messages, Message{Priority: priority, Data: []byte(d)})
	}
	if repeated, err := b.Put(t.Context(), id, messages...); err != nil || repeated {
		t.Fatalf("put %s: repeated %v, %v", id, repeated, err)
	}
}

func next(t *testing.T, b *Bus) *Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d, err := b.Next(ctx)
	if err != nil {
		t.Fatalf("next: %v", err)
	}
	return d
}

func done(t *testing.T, d *Delivery) string {
	t.Helper()
	if err := d.Done(t.Context()); err != nil {
		t.Fatal(err)
	}
	return string(d.Data)
}

func stats(t *testing.T, b *Bus) Stats {
	t.Helper()
	s, err := b.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBus_Next_OrdersByPriority(t *testing.T) {
	b := start(t)
	put(t, b, "a", 2, "late")
	put(t, b, "b", 0, "first", "second")
	put(t, b, "c", 1, "third")
	for _, want := range []string{"first", "second", "third", "late"} {
		if got := done(t, next(t, b)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if s := stats(t, b); s.Waiting != 0 || !s.Oldest.IsZero() {
		t.Errorf("all is done, but %+v", s)
	}
}

func TestBus_Put_RepeatedID(t *testing.T) {
	cfg := Config{Dir: filepath.Join(t.TempDir(), "queue")}
	b, stop := run(t, cfg)
	put(t, b, "id", 0, "x")
	repeat := func(when string) {
		t.Helper()
		repeated, err := b.Put(t.Context(), "id", Message{Data: []byte("x")})
		if err != nil || !repeated {
			t.Fatalf("%s: repeated %v, %v", when, repeated, err)
		}
	}
	repeat("while it waits")
	done(t, next(t, b))
	repeat("when it is done")
	stop()
	b, _ = run(t, cfg)
	repeat("after a restart")
	if s := stats(t, b); s.Waiting != 0 {
		t.Errorf("%d wait", s.Waiting)
	}
}

// A sender that got no answer in time sends again, maybe to all nodes at once.
func TestBus_Put_AcceptsOneOfConcurrentRepeats(t *testing.T) {
	b := start(t)
	for round := range 5 {
		id := fmt.Sprintf("id %d", round)
		var accepted atomic.Int64
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				repeated, err := b.Put(t.Context(), id, Message{Data: []byte("x")})
				if err != nil {
					t.Error(err)
				}
				if !repeated {
					accepted.Add(1)
				}
			})
		}
		all.Wait()
		if n := accepted.Load(); n != 1 {
			t.Errorf("%d of 50 repeats were accepted, want 1", n)
		}
	}
	if s := stats(t, b); s.Waiting != 5 {
		t.Errorf("%d wait, want 5", s.Waiting)
	}
}

// A crash between storing the messages and noting the id: the sender got no answer, and sends again.
func TestBus_Put_CompletesPartialPut(t *testing.T) {
	b := start(t)
	s, err := b.session()
	if err != nil {
		t.Fatal(err)
	}
	some := []Message{{Data: []byte("0")}, {Data: []byte("1")}}
	if err := b.putAll(t.Context(), s, digestOf("id"), some); err != nil {
		t.Fatal(err)
	}
	put(t, b, "id", 0, "0", "1", "2")
	if s := stats(t, b); s.Waiting != 3 {
		t.Errorf("%d wait, want 3", s.Waiting)
	}
}

// A page that is announced again lacks the images that have been warmed meanwhile.
func TestBus_Put_RepeatsWithOtherMessages(t *testing.T) {
	b := start(t)
	s, err := b.session()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.putAll(t.Context(), s, digestOf("id"), []Message{{Data: []byte("0")}}); err != nil {
		t.Fatal(err)
	}
	put(t, b, "id", 0, "1")
	if s := stats(t, b); s.Waiting != 2 {
		t.Errorf("%d wait, want 2", s.Waiting)
	}
}

// Messages that wait for their next attempt hold up no others.
func TestDelivery_Again_ManyWait(t *testing.T) {
	if testing.Short() {
		t.Skip("returns 1,000 messages")
	}
	b, _ := run(t, Config{Dir: filepath.Join(t.TempDir(), "queue"), Backoff: []time.Duration{10 * time.Minute}})
	var failing []string
	for i := range 1000 {
		failing = append(failing, strconv.Itoa(i))
	}
	put(t, b, "failing", 0, failing...)
	for range failing {
		if _, err := next(t, b).Again(t.Context(), "no luck", 0); err != nil {
			t.Fatal(err)
		}
	}
	put(t, b, "good", 0, "good")
	if got := done(t, next(t, b)); got != "good" {
		t.Errorf("%q was delivered", got)
	}
}

// A consumer that an operator has removed is created again, and until then the other priorities are delivered.
func TestBus_Next_LostConsumer(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the third check of the queue")
	}
	t.Parallel()
	b := start(t)
	s, err := b.session()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.queue.DeleteConsumer(t.Context(), "warmers-0"); err != nil {
		t.Fatal(err)
	}
	put(t, b, "second", 1, "second")
	if got := done(t, next(t, b)); got != "second" {
		t.Errorf("%q was delivered, want second", got)
	}
	put(t, b, "first", 0, "first")
	if got := done(t, next(t, b)); got != "first" {
		t.Errorf("%q was delivered, want first", got)
	}
}

func TestBus_Put_FullQueue(t *testing.T) {
	b, _ := run(t, Config{Dir: filepath.Join(t.TempDir(), "queue"), QueueBytes: 64 << 10})
	put(t, b, "first", 0, strings.Repeat("a", 40<<10))
	_, err := b.Put(t.Context(), "second", Message{Data: bytes.Repeat([]byte("b"), 40<<10)})
	if !errors.Is(err, ErrFull) {
		t.Fatalf("put into a full queue: %v", err)
	}
	done(t, next(t, b))
	put(t, b, "second", 0, strings.Repeat("b", 40<<10)) // it was refused, so it is no repetition
	if _, err := b.Put(t.Context(), "big", Message{Data: make([]byte, maxPayload+1)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("put a message that is too large: %v", err)
	}
}

func TestDelivery_Again_BuriesAfterLastAttempt(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for redeliveries")
	}
	b, _ := run(t, Config{
		Dir: filepath.Join(t.TempDir(), "queue"), Attempts: 3, Backoff: []time.Duration{time.Millisecond},
	})
	put(t, b, "id", 1, "x")
	for attempt := 1; attempt <= 3; attempt++ {
		d := next(t, b)
		if d.Attempt != attempt {
			t.Errorf("attempt %d has the number %d", attempt, d.Attempt)
		}
		buried, err := d.Again(t.Context(), "no\nluck", 0)
		if err != nil || buried != (attempt == 3) {
			t.Fatalf("attempt %d: buried %v, %v", attempt, buried, err)
		}
	}
	letters, err := b.Dead(t.Context(), 0, 10)
	if err != nil || len(letters) != 1 {
		t.Fatalf("dead letters: %+v, %v", letters, err)
	}
	if l := letters[0]; string(l.Data) != "x" || l.Reason != "no luck" || l.Attempts != 3 || l.Priority != 1 ||
		time.Since(l.Queued) > time.Minute {
		t.Errorf("dead letter: %+v", l)
	}
	if s := stats(t, b); s.Waiting != 0 || s.Dead != 1 {
		t.Errorf("%+v", s)
	}
	if err := b.Retry(t.Context(), letters[0].ID); err != nil {
		t.Fatal(err)
	}
	if d := next(t, b); d.Attempt != 1 || d.Priority != 1 || !d.Queued.Equal(letters[0].Queued) || done(t, d) != "x" {
		t.Errorf("retried: %+v, want it queued at %v", d, letters[0].Queued)
	}
	if s := stats(t, b); s.Waiting != 0 || s.Dead != 0 {
		t.Errorf("after the retry: %+v", s)
	}
	if err := b.Discard(t.Context(), letters[0].ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("discard a letter twice: %v", err)
	}
	if err := b.Retry(t.Context(), 99); !errors.Is(err, ErrNotFound) {
		t.Errorf("retry what never was: %v", err)
	}
}

func TestBus_Next_BuriesJobsThatKillWorkers(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for redeliveries")
	}
	b, _ := run(t, Config{Dir: filepath.Join(t.TempDir(), "queue"), Attempts: 2, AckWait: 200 * time.Millisecond})
	put(t, b, "poison", 0, "poison")
	for range 2 {
		next(t, b).end() // its worker was killed
	}
	put(t, b, "good", 2, "good")
	if got := done(t, next(t, b)); got != "good" {
		t.Errorf("got %q", got)
	}
	for began := time.Now(); stats(t, b).Dead == 0; {
		if time.Since(began) > 30*time.Second {
			t.Fatal("the job was not buried within 30 s")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		if d, err := b.Next(ctx); err == nil {
			t.Errorf("handed out: %q, attempt %d", d.Data, d.Attempt)
		}
		cancel()
	}
	letters, err := b.Dead(t.Context(), 0, 10)
	if err != nil || len(letters) != 1 || !strings.Contains(letters[0].Reason, "never came back") {
		t.Errorf("%+v, %v", letters, err)
	}
}

func TestDelivery_KeepsAlive(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for redeliveries")
	}
	b, _ := run(t, Config{Dir: filepath.Join(t.TempDir(), "queue"), AckWait: 300 * time.Millisecond})
	put(t, b, "id", 0, "slow")
	d := next(t, b)
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	if again, err := b.Next(ctx); err == nil {
		t.Fatalf("handed out twice: %q", again.Data)
	}
	done(t, d)
}

func TestBus_Put_WithoutServer(t *testing.T) {
	b, err := New(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Put(t.Context(), "id", Message{}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("put: %v", err)
	}
	if _, err := New(Config{}); err == nil {
		t.Error("a Bus with neither directory nor URL was made")
	}
}

func TestBus_Run_SetsDamagedStoreAside(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many servers")
	}
	for name, damage := range map[string]func(path string) error{
		"meta of no JSON": func(path string) error {
			if filepath.Base(path) == "meta.inf" {
				return os.WriteFile(path, []byte("{"), 0o600)
			}
			return nil
		},
		"everything zero": func(path string) error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, make([]byte, info.Size()), 0o600)
		},
		"everything cut": func(path string) error { return os.Truncate(path, 0) },
		"huge block": func(path string) error {
			if filepath.Ext(path) == ".blk" {
				return os.Truncate(path, 256<<20)
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "queue")
			b, stop := run(t, Config{Dir: dir})
			put(t, b, "id", 0, "lost")
			stop()
			store := filepath.Join(dir, "jetstream")
			err := filepath.WalkDir(store, func(path string, entry os.DirEntry, err error) error {
				if err != nil || entry.IsDir() {
					return err
				}
				return damage(path)
			})
			if err != nil {
				t.Fatal(err)
			}
			var logged bytes.Buffer
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			b, stop = run(t, Config{Dir: dir, Log: slog.New(slog.NewTextHandler(&logged, nil))})
			put(t, b, "new", 0, "x")
			if got := done(t, next(t, b)); got != "x" {
				t.Errorf("got %q", got)
			}
			stop() // nothing writes to the log any more
			runtime.ReadMemStats(&after)
			if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 128<<20 {
				t.Errorf("%d MiB were allocated", allocated>>20)
			}
			if !strings.Contains(logged.String(), "damaged") {
				t.Errorf("the log does not say it:\n%s", &logged)
			}
			if aside, _ := filepath.Glob(dir + ".damaged-*"); len(aside) != 1 {
				t.Errorf("set aside: %v", aside)
			}
		})
	}
}

// killed is what the process does that TestBus_Put_SurvivesKill9 kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("BUS_TEST_DIR"); dir != "" {
		b, err := New(Config{Dir: dir})
		if err != nil {
			panic(err)
		}
		go func() { _ = b.Run(context.Background()) }()
		if err := b.Ready(context.Background()); err != nil {
			panic(err)
		}
		for i := 0; ; i++ {
			id := fmt.Sprint("event ", i)
			if _, err := b.Put(context.Background(), id, Message{Data: []byte(id)}); err != nil {
				panic(err)
			}
			fmt.Println(id)
		}
	}
	os.Exit(m.Run())
}

func TestBus_Put_SurvivesKill9(t *testing.T) {
	if testing.Short() {
		t.Skip("kills a process")
	}
	dir := filepath.Join(t.TempDir(), "queue")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "BUS_TEST_DIR="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var accepted []byte
	buf := make([]byte, 4<<10)
	for bytes.Count(accepted, []byte("\n")) < 50 {
		n, err := out.Read(buf)
		if err != nil {
			t.Fatalf("the process ended: %v", err)
		}
		accepted = append(accepted, buf[:n]...)
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for {
		n, err := out.Read(buf)
		accepted = append(accepted, buf[:n]...)
		if err != nil {
			break
		}
	}
	_ = cmd.Wait()
	b, _ := run(t, Config{Dir: dir})
	got := map[string]int{}
	for range stats(t, b).Waiting {
		got[done(t, next(t, b))]++
	}
	for id := range strings.Lines(string(accepted)) {
		id, whole := strings.CutSuffix(id, "\n")
		if whole && got[id] != 1 {
			t.Errorf("%s was accepted, and is there %d times", id, got[id])
		}
		if repeated, err := b.Put(t.Context(), id, Message{Data: []byte(id)}); whole && (err != nil || !repeated) {
			t.Errorf("%s again: repeated %v, %v", id, repeated, err)
		}
	}
}

// Opening the store on an unwritable disk is retried, and does not block shutdown.
func TestBus_Run_EndsWithUnwritableStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "queue")
	_, stop := run(t, Config{Dir: dir})
	stop()
	store := filepath.Join(dir, "jetstream")
	if err := os.RemoveAll(store); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(store, nil, 0o600); err != nil { // in place of its directory
		t.Fatal(err)
	}
	log := &lines{}
	b, err := New(Config{Dir: dir, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	until(t, "Run retries", func() bool { return strings.Count(log.String(), "retrying") >= 2 })
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("Run did not return within 10 s")
	}
}

// After the second refusal in a row the client closes the connection for good.
func TestBus_Run_ConnectsAgainAfterRefusals(t *testing.T) {
	if testing.Short() {
		t.Skip("waits until the client gives up")
	}
	options := &server.Options{StoreDir: t.TempDir(), Username: "imagetier", Password: "first"}
	srv := clusterOf(t, options)
	b, _ := run(t, Config{URL: strings.Replace(srv.ClientURL(), "//", "//imagetier:first@", 1), Replicas: 1})
	s, err := b.session()
	if err != nil {
		t.Fatal(err)
	}
	password := func(text string) {
		t.Helper()
		changed := options.Clone()
		changed.Password = text
		if err := srv.ReloadOptions(changed); err != nil {
			t.Fatal(err)
		}
	}
	password("second")
	until(t, "the client gives up", s.conn.IsClosed)
	password("first")
	until(t, "the bus is connected again", b.Available)
	put(t, b, "id", 0, "x")
}

// lines is a log that can be read while it is written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// until waits until done returns true.
func until(t *testing.T, condition string, done func() bool) {
	t.Helper()
	for late := time.Now().Add(time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("waited a minute for: %s", condition)
		}
	}
}
