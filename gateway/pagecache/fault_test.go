package pagecache_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/novasocial/imagetier/gateway/feed"
	"github.com/novasocial/imagetier/gateway/pagecache"
	"github.com/novasocial/imagetier/internal/circuit"
)

// generous bounds a lookup that should take 50 ms, on a machine that is busy with other work.
const generous = 5 * time.Second

// inTime is a Cache's default Redis timeout.
const inTime = 40 * time.Millisecond

// lookUpTimed looks up a post that is not in memory and returns how long that took.
func lookUpTimed(t *testing.T, g *gateway, id string) time.Duration {
	t.Helper()
	start := time.Now()
	if caption(g, id) != "" {
		t.Errorf("the cache has a value for %s", id)
	}
	return time.Since(start)
}

// A Redis fault is a miss within 50 ms, never an error.
func TestCache_RedisKilled(t *testing.T) {
	server := startRedis(t)
	cfg := pagecache.Config{RedisTimeout: inTime, Breaker: circuit.Config{Pause: 50 * time.Millisecond}}
	a := startGateway(t, cfg, server).connected(t)
	b := startGateway(t, cfg, server).connected(t)

	stop, readers := make(chan struct{}), sync.WaitGroup{}
	var mu sync.Mutex
	var longest time.Duration
	rounds := map[*gateway]int{}
	for n, g := range []*gateway{a, b} {
		readers.Go(func() { // continuous readers
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				post := feed.Post{ID: fmt.Sprintf("%d-%d", n, i), Caption: "c"}
				start := time.Now()
				keep(g, post)
				if got := caption(g, post.ID); got != "c" && got != "old c" && got != "" {
					t.Errorf("a gateway has %q under %s", got, post.ID)
				}
				mu.Lock()
				longest = max(longest, time.Since(start))
				rounds[g]++
				mu.Unlock()
			}
		})
	}
	more := func(n int) func() bool {
		mu.Lock()
		defer mu.Unlock()
		ra, rb := rounds[a]+n, rounds[b]+n
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			return rounds[a] >= ra && rounds[b] >= rb
		}
	}
	for range 3 {
		eventually(t, "the readers go on", more(200))
		server.kill()
		eventually(t, "the readers go on without Redis", more(200))
		eventually(t, "the breaker is open", func() bool { return !a.Connected() && !b.Connected() })
		server.start()
		eventually(t, "the breaker has closed", func() bool { return a.Connected() && b.Connected() })
	}
	close(stop)
	readers.Wait()
	if longest > generous {
		t.Errorf("a look-up and a store took %v", longest)
	}
	t.Logf("the longest look-up, store and look-up: %v", longest)

	// They share entries again.
	round := 0
	eventually(t, "b has what a asked for", func() bool {
		round++
		id := fmt.Sprint("after", round)
		keep(a, feed.Post{ID: id, Caption: "shared"})
		for range 20 {
			if caption(b, id) == "shared" {
				return true
			}
			runtime.Gosched()
		}
		return false
	})
	id := fmt.Sprint("after", round)
	a.Posts().Drop(context.Background(), []string{id})
	eventually(t, "b is notified of drops", func() bool { return caption(b, id) == "" })
}

func TestCache_RedisFrozen(t *testing.T) {
	server := startRedis(t)
	var states []circuit.State
	var mu sync.Mutex
	changed := func(_ string, to circuit.State) {
		mu.Lock()
		defer mu.Unlock()
		states = append(states, to)
	}
	g := startGateway(t, pagecache.Config{
		RedisTimeout: inTime, Breaker: circuit.Config{Pause: 100 * time.Millisecond, Changed: changed},
	}, server).connected(t)
	lookUpTimed(t, g, "warm")
	server.signal(syscall.SIGSTOP)
	t.Cleanup(func() { server.signal(syscall.SIGCONT) })
	for i := range 8 {
		if took := lookUpTimed(t, g, strconv.Itoa(i)); took > generous {
			t.Errorf("look-up %d took %v", i, took)
		} else {
			t.Logf("look-up %d: %v", i, took)
		}
	}
	mu.Lock()
	if len(states) == 0 || states[0] != circuit.Open {
		t.Errorf("the breaker went %v, want open first", states)
	}
	mu.Unlock()
	if n := g.count(pagecache.Posts, pagecache.Failed); n != 8 {
		t.Errorf("counted %d failures, want 8", n)
	}
	server.signal(syscall.SIGCONT)
	eventually(t, "the breaker closes by itself", func() bool { caption(g, "x"); return g.Connected() })
}

// A cancelled call says nothing about Redis, and must not open the breaker for other callers.
func TestBreaker_CancelledCall_DoesNotOpenIt(t *testing.T) {
	server := startRedis(t)
	g := startGateway(t, pagecache.Config{Breaker: circuit.Config{Pause: time.Hour}}, server).connected(t)
	gone, leave := context.WithCancel(context.Background())
	leave()
	for range 50 {
		g.Posts().Get(gone, []string{"p"})
	}
	if !g.Connected() {
		t.Error("the breaker has opened")
	}
}

func TestCache_RedisStartsLater(t *testing.T) {
	server := startRedis(t)
	server.kill()
	g := startGateway(t, pagecache.Config{RedisTimeout: inTime}, server)
	keep(g, feed.Post{ID: "p1", Caption: "c"})
	if got := caption(g, "p1"); got != "c" || g.Connected() {
		t.Errorf("without Redis it has %q (connected: %v)", got, g.Connected())
	}
	server.start()
	g.connected(t)
	// Entries from before the outage may have missed invalidations: they are served only as stale.
	eventually(t, "the value from before the outage to be stale", func() bool { return caption(g, "p1") == "old c" })
	eventually(t, "a new value to be shared", func() bool {
		keep(g, feed.Post{ID: "p1", Caption: "c"})
		n, err := ptr(server.do([]string{"EXISTS", "post:meta:p1"})).AsInt64()
		return err == nil && n == 1
	})
}

// A server that accepts connections and never answers.
func TestCache_RedisHangs(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	g := startGateway(t, pagecache.Config{RedisTimeout: inTime}, &redis{t: t, address: silent.Addr().String()})
	if took := lookUpTimed(t, g, "p1"); took > generous {
		t.Errorf("a look-up took %v", took)
	}
}

func TestCache_Drop_Retried(t *testing.T) {
	server := startRedis(t)
	a := startGateway(t, pagecache.Config{}, server).connected(t)
	b := startGateway(t, pagecache.Config{}, server).connected(t)
	keep(a, feed.Post{ID: "p1", Caption: "before the edit"})
	server.isInRedis("post:meta:p1")
	server.do([]string{"CONFIG", "SET", "maxmemory", "1"}) // it answers, but stores nothing
	a.Posts().Drop(context.Background(), []string{"p1"})
	if got := caption(a, "p1"); got != "" {
		t.Errorf("a, which dropped it, takes %q from Redis", got)
	}
	if n := a.count(pagecache.Posts, pagecache.Failed); n < 1 {
		t.Error("the failed drop was not counted")
	}
	server.do([]string{"CONFIG", "SET", "maxmemory", "0"})
	eventually(t, "Redis knows of the drop", func() bool { return caption(b, "p1") == "" })
	keep(b, feed.Post{ID: "p1", Caption: "after the edit"})
	eventually(t, "a believes Redis again", func() bool { return caption(a, "p1") == "after the edit" })
}

// A reader that asks Redis while a change is on its way there does not keep the old value.
func TestCache_Drop_BesideReaders(t *testing.T) {
	server := startRedis(t)
	a := startGateway(t, pagecache.Config{}, server).connected(t)
	for round := range 200 {
		id := fmt.Sprint("p", round)
		keep(a, feed.Post{ID: id, Caption: "before the edit"})
		server.isInRedis("post:meta:" + id)
		var stop atomic.Bool
		var readers sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				for !stop.Load() {
					caption(a, id)
				}
			})
		}
		a.Posts().Drop(context.Background(), []string{id})
		stop.Store(true)
		readers.Wait()
		if got := caption(a, id); got != "" {
			t.Fatalf("round %d: %q after the drop", round, got)
		}
	}
}

// A value that does not parse is a miss.
func TestCache_Get_Unreadable(t *testing.T) {
	server := startRedis(t)
	a := startGateway(t, pagecache.Config{}, server).connected(t)
	good := feed.Post{ID: "good", UserID: "u", Caption: strings.Repeat("c", 100)}
	keep(a, good)
	server.isInRedis("post:meta:good")
	bytes, err := ptr(server.do([]string{"GET", "post:meta:good"})).ToString()
	if err != nil {
		t.Fatal(err)
	}
	flipped := []byte(bytes)
	flipped[40] ^= 1
	set := func(id, value string) { server.do([]string{"SET", "post:meta:" + id, value}) }
	set("empty", "")
	set("rubbish", "<html>not at all</html>")
	set("json", `{"id":"json"}`)
	set("cut", bytes[:len(bytes)-1])
	set("longer", bytes+"x")
	set("flipped", string(flipped))
	set("another", bytes) // the record of another post
	set("version", "\x02"+bytes[1:])
	server.do([]string{"RPUSH", "post:meta:list", "x"})
	ids := []string{"empty", "rubbish", "json", "cut", "longer", "flipped", "another", "version", "list"}
	b := startGateway(t, pagecache.Config{}, server).connected(t)
	for _, id := range ids {
		if got := caption(b, id); got != "" {
			t.Errorf("%s is read as %q", id, got)
		}
	}
	if n := b.count(pagecache.Posts, pagecache.Unreadable); n != len(ids)-1 { // MGET answers nil for a list
		t.Errorf("counted %d unreadable values, want %d", n, len(ids)-1)
	}
	if !b.Connected() {
		t.Error("rubbish has opened the breaker")
	}
	c := startGateway(t, pagecache.Config{}, server).connected(t)
	for _, id := range ids[:len(ids)-1] {
		keep(b, feed.Post{ID: id, Caption: "fixed"})
		eventually(t, id+" is replaced", func() bool { return caption(c, id) == "fixed" })
	}
}

func TestCache_RedisWithoutTracking(t *testing.T) {
	server := startRedis(t, "--rename-command", "CLIENT", "")
	a := startGateway(t, pagecache.Config{}, server).connected(t)
	keep(a, feed.Post{ID: "p1", Caption: "c"})
	server.isInRedis("post:meta:p1")
	if got := caption(a, "p1"); got != "c" {
		t.Errorf("the cache has %q", got)
	}
	eventually(t, "memory asks Redis again after some seconds", func() bool {
		return caption(a, "p1") == "c" && a.count(pagecache.Posts, pagecache.InRedis) > 0
	})
}

// An invalidation may be missed if the connection breaks while an answer of Redis is on its way. So
// this answer must not be cached as if later changes to it would be announced.
func TestCache_Redis_ReconnectDuringRead(t *testing.T) {
	server := startRedis(t)
	a := startGateway(t, pagecache.Config{}, server).connected(t)
	b := startGateway(t, pagecache.Config{}, server).connected(t)
	keep(a, feed.Post{ID: "p", Caption: "c"})
	server.isInRedis("post:meta:p")
	caption(b, "another") // the first command of its connection
	pagecache.Reconnecting(b.Cache)
	for range 2 {
		if got := caption(b, "p"); got != "c" {
			t.Errorf("the caption is %q", got)
		}
	}
	if n := b.count(pagecache.Posts, pagecache.InRedis); n != 2 {
		t.Errorf("%d of two reads asked Redis, want both", n)
	}
}

// A server that sends invalid messages costs connections, but does not crash the process.
func TestCache_RedisSendsNonsense(t *testing.T) {
	for name, nonsense := range map[string]string{
		"negative length": "$-2\r\n", "absurd length": "*9223372036854775807\r\n",
		"nested":      strings.Repeat("*1\r\n", 1000),
		"half closed": "", "cut": "%7\r\n$6\r\nserver\r\n$5\r\nre",
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			dialed := make(chan struct{}, 100)
			go func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					dialed <- struct{}{}
					_, _ = io.WriteString(conn, nonsense)
					_ = conn.(*net.TCPConn).CloseWrite()
					defer conn.Close()
				}
			}()
			cache, err := pagecache.New(pagecache.Config{
				Redis: &pagecache.Redis{Addresses: []string{listener.Addr().String()}},
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- cache.Run(ctx) }()
			<-dialed
			<-dialed // it is retried
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}
