package pagecache_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/novasocial/imagetier/gateway/feed"
	"github.com/novasocial/imagetier/gateway/pagecache"
	"github.com/novasocial/imagetier/internal/testutil"
)

// redis is a real server.
type redis struct {
	t       testing.TB
	address string
	args    []string
	cmd     *exec.Cmd
}

// startRedis starts a server on a Unix socket, with more arguments if there are any.
func startRedis(t testing.TB, args ...string) *redis {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a Redis server")
	}
	dir, err := os.MkdirTemp("", "redis") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	args = append([]string{"--port", "0", "--unixsocket", socket, "--dir", dir, "--save", ""}, args...)
	r := &redis{t: t, address: socket, args: args}
	r.start()
	t.Cleanup(r.kill)
	return r
}

func (r *redis) start() {
	r.t.Helper()
	program := testutil.Command(r.t, "make deps-test", "redis-server")
	r.cmd = exec.Command(program, r.args...)
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, "redis-server listens", func() bool {
		network := "unix"
		if r.address[0] != '/' {
			network = "tcp"
		}
		conn, err := net.Dial(network, r.address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// kill ends it with SIGKILL.
func (r *redis) kill() {
	r.cmd.Process.Kill()
	r.cmd.Wait()
}

func (r *redis) signal(s syscall.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
}

// do sends commands as another client would and returns the last one's answer.
func (r *redis) do(commands ...[]string) rueidis.RedisMessage {
	r.t.Helper()
	last, err := r.try(commands...)
	if err != nil {
		r.t.Fatal(err)
	}
	return last
}

// try is do, and returns an error.
func (r *redis) try(commands ...[]string) (last rueidis.RedisMessage, err error) {
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{r.address}, ForceSingleClient: true, DisableCache: true,
		DialCtxFn: func(ctx context.Context, address string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
			if address[0] == '/' {
				return d.DialContext(ctx, "unix", address)
			}
			return d.DialContext(ctx, "tcp", address)
		},
	})
	if err != nil {
		return last, err
	}
	defer client.Close()
	for _, c := range commands {
		last, err = client.Do(context.Background(), client.B().Arbitrary(c...).Build()).ToMessage()
		if err != nil && !rueidis.IsRedisNil(err) {
			return last, fmt.Errorf("%q: %w", c, err)
		}
	}
	return last, nil
}

// eventually polls until another goroutine or process has made the condition true.
func eventually(t testing.TB, condition string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("waited 30 s for: %s", condition)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// gateway is a running Cache and its observations.
type gateway struct {
	*pagecache.Cache
	mu     sync.Mutex
	counts map[pagecache.Kind]map[pagecache.Outcome]int
}

// startGateway runs a Cache with these servers; without any, in process memory only. Without a
// RedisTimeout it allows for a busy machine.
func startGateway(t testing.TB, cfg pagecache.Config, servers ...*redis) *gateway {
	t.Helper()
	g := &gateway{counts: map[pagecache.Kind]map[pagecache.Outcome]int{}}
	if len(servers) > 0 {
		if cfg.Redis == nil {
			cfg.Redis = &pagecache.Redis{}
		}
		for _, s := range servers {
			cfg.Redis.Addresses = append(cfg.Redis.Addresses, s.address)
		}
	}
	cfg.Observe = func(of pagecache.Kind, outcome pagecache.Outcome, ids int) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.counts[of] == nil {
			g.counts[of] = map[pagecache.Outcome]int{}
		}
		g.counts[of][outcome] += ids
	}
	cache, err := pagecache.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	g.Cache = cache
	if cfg.RedisTimeout == 0 {
		pagecache.Patient(cache)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- cache.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return g
}

// connected returns the gateway once it is connected to Redis.
func (g *gateway) connected(t testing.TB) *gateway {
	t.Helper()
	eventually(t, "the gateway is connected", g.Connected)
	return g
}

func (g *gateway) count(of pagecache.Kind, outcome pagecache.Outcome) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.counts[of][outcome]
}

// keep stores a post as a reader does, after a miss.
func keep(g *gateway, posts ...feed.Post) {
	put(g, lookUp(g, posts...), posts...)
}

func lookUp(g *gateway, posts ...feed.Post) []feed.Entry[feed.Post] {
	ids := make([]string, len(posts))
	for i, p := range posts {
		ids[i] = p.ID
	}
	return g.Posts().Get(context.Background(), ids)
}

func put(g *gateway, noted []feed.Entry[feed.Post], posts ...feed.Post) {
	kept := make([]feed.Kept[feed.Post], len(posts))
	for i := range posts {
		kept[i] = feed.Kept[feed.Post]{ID: posts[i].ID, Value: &posts[i], Lease: noted[i].Lease}
	}
	g.Posts().Put(context.Background(), kept)
}

// caption returns the caption that the gateway has for a post: "" for none, and "old " before
// it if it is stale.
func caption(g *gateway, id string) string {
	e := g.Posts().Get(context.Background(), []string{id})[0]
	switch {
	case e.Value == nil:
		return ""
	case !e.Fresh:
		return "old " + e.Value.Caption
	}
	return e.Value.Caption
}

// isInRedis waits until a key is in Redis.
func (r *redis) isInRedis(key string) {
	r.t.Helper()
	eventually(r.t, key+" is stored in Redis", func() bool {
		n, err := ptr(r.do([]string{"EXISTS", key})).AsInt64()
		return err == nil && n == 1
	})
}

func ptr(m rueidis.RedisMessage) *rueidis.RedisMessage { return &m }

func TestCache_Redis_Shared(t *testing.T) {
	server := startRedis(t)
	a := startGateway(t, pagecache.Config{}, server).connected(t)
	b := startGateway(t, pagecache.Config{}, server).connected(t)
	ctx := context.Background()

	want := feed.Post{ID: "p1", UserID: "u1", Caption: "ø\x00", Likes: 3, CreatedAt: time.Unix(1e9, 5).UTC()}
	keep(a, want)
	noted := a.Profiles().Get(ctx, []string{"u1"})[0]
	a.Profiles().Put(ctx, []feed.Kept[feed.Profile]{
		{ID: "u1", Value: &feed.Profile{ID: "u1", Username: "ada"}, Lease: noted.Lease},
	})
	key := feed.Query{User: "u9", Limit: 20, Algorithm: "ch"}.Key()
	page := a.Pages().Get(ctx, []string{key})[0]
	a.Pages().Put(ctx, []feed.Kept[feed.Slice]{
		{ID: key, Value: &feed.Slice{IDs: []string{"p1"}, NextCursor: "c", HasMore: true}, Lease: page.Lease},
	})

	// The keys and TTLs are the documented ones; stale copies stay 10 min longer.
	for key, ttl := range map[string]time.Duration{
		"post:meta:p1":     2 * time.Minute,
		"user:profile:u1":  5 * time.Minute,
		"feed:page:" + key: 30 * time.Second,
	} {
		server.isInRedis(key)
		left, err := ptr(server.do([]string{"PTTL", key})).AsInt64()
		if most := (ttl + 10*time.Minute).Milliseconds(); err != nil || left > most || left < most-20_000 {
			t.Errorf("%s is kept for %d ms, %v; want a little less than %d", key, left, err, most)
		}
	}
	got := b.Posts().Get(ctx, []string{"p1"})[0]
	if !got.Fresh || *got.Value != want {
		t.Errorf("the other gateway has %+v, want %+v", got.Value, want)
	}
	if p := b.Profiles().Get(ctx, []string{"u1"})[0]; !p.Fresh || p.Value.Username != "ada" {
		t.Errorf("the other gateway has %+v", p.Value)
	}
	if s := b.Pages().Get(ctx, []string{key})[0]; !s.Fresh || !slices.Equal(s.Value.IDs, []string{"p1"}) ||
		s.Value.NextCursor != "c" || !s.Value.HasMore {
		t.Errorf("the other gateway has %+v", s.Value)
	}
	b.Posts().Get(ctx, []string{"p1"})
	if b.count(pagecache.Posts, pagecache.InRedis) != 1 || b.count(pagecache.Posts, pagecache.InMemory) != 1 ||
		b.count(pagecache.Posts, pagecache.Miss) != 0 {
		t.Errorf("counts %v, want one hit in Redis, then one in memory", b.counts)
	}
}

func TestCache_Redis_OneRoundTrip(t *testing.T) {
	server := startRedis(t)
	a := startGateway(t, pagecache.Config{}, server).connected(t)
	var posts []feed.Post
	for i := range 100 {
		posts = append(posts, feed.Post{ID: string(rune('a'+i%26)) + string(rune('a'+i/26)), Caption: "c"})
	}
	keep(a, posts...)
	server.isInRedis("post:meta:" + posts[99].ID)
	b := startGateway(t, pagecache.Config{}, server).connected(t)
	server.do([]string{"CONFIG", "RESETSTAT"})
	for _, e := range lookUp(b, posts...) {
		if !e.Fresh {
			t.Fatal("a post is not there")
		}
	}
	stats, err := ptr(server.do([]string{"INFO", "commandstats"})).ToString()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(stats, "cmdstat_mget:calls=1,") || strings.Contains(stats, "cmdstat_get:") {
		t.Errorf("100 keys took other commands than one MGET:\n%s", stats)
	}
}

// A drop on one gateway drops the entry on all of them.
func TestCache_Redis_Drop(t *testing.T) {
	server := startRedis(t)
	forgotten := make(chan string, 100)
	a := startGateway(t, pagecache.Config{}, server).connected(t)
	b := startGateway(t, pagecache.Config{
		Forget: func(of pagecache.Kind, ids []string) { forgotten <- string(of) + ids[0] },
	}, server).connected(t)
	keep(a, feed.Post{ID: "p1", Caption: "first"}, feed.Post{ID: "p2", Caption: "other"})
	server.isInRedis("post:meta:p2")
	if caption(b, "p1") != "first" || caption(b, "p2") != "other" {
		t.Fatal("b does not have it")
	}
	b.Posts().Get(context.Background(), []string{"p1"})
	a.Posts().Drop(context.Background(), []string{"p1"})
	if got := caption(a, "p1"); got != "" {
		t.Errorf("a, which dropped it, has %q", got)
	}
	// Neither fresh nor as a stale copy. Redis notifies b, without a request from b.
	eventually(t, "b has forgotten it", func() bool {
		select {
		case key := <-forgotten:
			return key == "postp1"
		default:
			return false
		}
	})
	if got := caption(b, "p1"); got != "" {
		t.Errorf("b has %q", got)
	}
	if got := caption(b, "p2"); got != "other" {
		t.Errorf("b has %q for a post that was not dropped", got)
	}
	keep(b, feed.Post{ID: "p1", Caption: "second"})
	eventually(t, "a has what b asked for after it", func() bool { return caption(a, "p1") == "second" })
}

func TestCache_Redis_PutAfterDrop(t *testing.T) {
	server := startRedis(t)
	for name, before := range map[string]func(a *gateway){
		"nothing was there": func(*gateway) {},
		"a stale copy was there": func(a *gateway) {
			keep(a, feed.Post{ID: "p1", Caption: "ancient"})
			server.isInRedis("post:meta:p1")
			eventually(t, "it is stale", func() bool { return caption(a, "p1") == "old ancient" })
		},
	} {
		for who, other := range map[string]bool{"the same gateway": false, "another gateway": true} {
			t.Run(name+", dropped by "+who, func(t *testing.T) {
				server.do([]string{"FLUSHALL"})
				cfg := pagecache.Config{}
				if name == "a stale copy was there" {
					cfg.PostTTL = 100 * time.Millisecond
				}
				a := startGateway(t, cfg, server).connected(t)
				b := startGateway(t, pagecache.Config{}, server).connected(t)
				before(a)
				post := feed.Post{ID: "p1", Caption: "before the edit"}
				noted := lookUp(a, post) // and a asks the service, which is slow
				if other {
					b.Posts().Drop(context.Background(), []string{"p1"})
				} else {
					a.Posts().Drop(context.Background(), []string{"p1"})
				}
				put(a, noted, post) // the answer from before the drop
				marker := feed.Post{ID: "marker"}
				keep(a, marker)
				server.isInRedis("post:meta:marker") // stored after it, if it is
				if got := caption(b, "p1"); got != "" {
					t.Errorf("through Redis another gateway has %q", got)
				}
				eventually(t, "the gateway itself does not keep it either", func() bool {
					return caption(a, "p1") == ""
				})

				keep(a, feed.Post{ID: "p1", Caption: "after the edit"})
				eventually(t, "a value requested after the drop to be stored", func() bool {
					return caption(b, "p1") == "after the edit"
				})
			})
		}
	}
}

// The gateway is not notified of the drop here, so only the storing script can refuse.
func TestCache_Redis_LateWrite(t *testing.T) {
	server := startRedis(t, "--rename-command", "CLIENT", "")
	a := startGateway(t, pagecache.Config{}, server).connected(t)
	b := startGateway(t, pagecache.Config{}, server).connected(t)
	post := feed.Post{ID: "p1", Caption: "before the edit"}
	noted := lookUp(a, post)
	b.Posts().Drop(context.Background(), []string{"p1"})
	put(a, noted, post)
	keep(a, feed.Post{ID: "marker"})
	server.isInRedis("post:meta:marker")
	if got := caption(b, "p1"); got != "" {
		t.Errorf("the other gateway has %q", got)
	}
}
