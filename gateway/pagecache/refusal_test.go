package pagecache_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/novasocial/imagetier/gateway/feed"
	"github.com/novasocial/imagetier/gateway/pagecache"
)

// logText is a log that can be read while it is written.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) count(of string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), of)
}

// startTCPRedis starts a server on a port of its own.
func startTCPRedis(t *testing.T, args ...string) *redis {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a Redis server")
	}
	port := freePort(t)
	r := &redis{t: t, address: "127.0.0.1:" + port, args: append([]string{
		"--port", port, "--bind", "127.0.0.1", "--dir", t.TempDir(), "--save", "", "--repl-diskless-sync-delay", "0",
	}, args...)}
	r.start()
	t.Cleanup(r.kill)
	return r
}

// replicate makes r a replica of primary.
func (r *redis) replicate(primary *redis) {
	r.t.Helper()
	host, port, err := net.SplitHostPort(primary.address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.do([]string{"REPLICAOF", host, port})
	eventually(r.t, "the replica follows its primary", func() bool {
		info, err := ptr(r.do([]string{"INFO", "replication"})).ToString()
		return err == nil && strings.Contains(info, "master_link_status:up")
	})
}

// forwarder is an address that leads to one server after the other, as a name or a virtual
// address does after a failover. Open connections stay with their server.
type forwarder struct {
	mu sync.Mutex
	to string
}

func startForwarder(t *testing.T, to *redis) (*forwarder, *redis) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &forwarder{to: to.address}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			out, err := net.Dial("tcp", f.to)
			f.mu.Unlock()
			if err != nil {
				in.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
				running.Go(func() {
					io.Copy(way[0], way[1])
					way[0].Close()
					way[1].Close()
				})
			}
		}
	})
	t.Cleanup(func() { l.Close(); running.Wait() })
	return f, &redis{t: t, address: l.Addr().String()}
}

func (f *forwarder) lead(to *redis) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.to = to.address
}

// storesInto stores posts until one of them is in a server.
func storesInto(t *testing.T, g *gateway, r *redis) {
	t.Helper()
	round := 0
	eventually(t, "a post is stored in "+r.address, func() bool {
		round++
		id := fmt.Sprint("for ", r.address, " ", round) // replicas have what was stored in their primary
		keep(g, feed.Post{ID: id, Caption: "c"})
		for range 20 {
			answer, err := r.try([]string{"EXISTS", "post:meta:" + id})
			if err != nil {
				continue
			}
			if n, err := answer.AsInt64(); err == nil && n == 1 {
				return true
			}
		}
		return false
	})
}

func TestCache_RedisFailover_LeavesTheReplica(t *testing.T) {
	old, next := startTCPRedis(t), startTCPRedis(t)
	next.replicate(old)
	name, address := startForwarder(t, old)
	log := new(logText)
	g := startGateway(t, pagecache.Config{Log: slog.New(slog.NewTextHandler(log, nil))}, address).connected(t)
	storesInto(t, g, old)

	next.do([]string{"REPLICAOF", "NO", "ONE"})
	old.replicate(next)
	keep(g, feed.Post{ID: "refused", Caption: "c"})
	eventually(t, "the refusal is known", func() bool { return maps.Equal(g.Refused(), map[string]string{"store": "READONLY"}) })
	eventually(t, "the refusal is logged", func() bool {
		return log.count(`msg="redis refuses commands" command=store err="READONLY`) == 1
	})
	g.Posts().Drop(context.Background(), []string{"p1"})

	name.lead(next)
	storesInto(t, g, next)
	eventually(t, "nothing is refused", func() bool { return len(g.Refused()) == 0 })
	next.isInRedis("post:meta:p1") // the drop that the replica refused
}

func TestCache_RedisSentinel_FollowsTheFailover(t *testing.T) {
	old := startTCPRedis(t)
	next := startTCPRedis(t)
	next.replicate(old)
	host, port, err := net.SplitHostPort(old.address)
	if err != nil {
		t.Fatal(err)
	}
	own := freePort(t)
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	conf := fmt.Appendf(nil, "port %s\nbind 127.0.0.1\nsentinel monitor feed %s %s 1\n", own, host, port)
	if err := os.WriteFile(file, conf, 0o600); err != nil {
		t.Fatal(err)
	}
	sentinel := &redis{t: t, address: "127.0.0.1:" + own, args: []string{file, "--sentinel"}}
	sentinel.start()
	t.Cleanup(sentinel.kill)
	g := startGateway(t, pagecache.Config{Redis: &pagecache.Redis{SentinelMaster: "feed"}}, sentinel).connected(t)
	storesInto(t, g, old)
	eventually(t, "the sentinel knows the replica well enough to promote it", func() bool {
		_, err := sentinel.try([]string{"SENTINEL", "FAILOVER", "feed"})
		return err == nil
	})
	eventually(t, "the replica is the primary", func() bool {
		answer, err := next.try([]string{"ROLE"}) // a failover closes connections
		if err != nil {
			return false
		}
		role, err := answer.ToArray()
		if err != nil || len(role) == 0 {
			return false
		}
		name, err := role[0].ToString()
		return err == nil && name == "master"
	})
	storesInto(t, g, next)
	eventually(t, "nothing is refused", func() bool { return len(g.Refused()) == 0 })
}

func TestCache_Redis_ReportsRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		refuse, allow []string
		want          map[string]string
	}{
		"no EVAL": {
			[]string{"ACL", "SETUSER", "default", "-eval"}, []string{"ACL", "SETUSER", "default", "+eval"},
			map[string]string{"store": "NOPERM"},
		},
		"other keys": {
			[]string{"ACL", "SETUSER", "default", "resetkeys", "~other:*"}, []string{"ACL", "SETUSER", "default", "~*"},
			map[string]string{"read": "NOPERM"}, // and so nothing is stored
		},
		"no memory": {
			[]string{"CONFIG", "SET", "maxmemory", "1"}, []string{"CONFIG", "SET", "maxmemory", "0"},
			map[string]string{"store": "OOM"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := startRedis(t)
			log := new(logText)
			g := startGateway(t, pagecache.Config{Log: slog.New(slog.NewTextHandler(log, nil))}, server).connected(t)
			server.do(c.refuse)
			for i := range 3 {
				keep(g, feed.Post{ID: fmt.Sprint("p", i), Caption: "c"})
			}
			eventually(t, fmt.Sprint("refused is ", c.want), func() bool { return maps.Equal(g.Refused(), c.want) })
			if !g.Connected() {
				t.Error("Connected is false, want true")
			}
			for command, code := range c.want {
				line := "command=" + command + " err=\"" + code
				eventually(t, "the refusal is logged", func() bool { return log.count(line) > 0 })
				keep(g, feed.Post{ID: "another", Caption: "c"})
				if n := log.count(line); n != 1 {
					t.Errorf("%s of %s is logged %d times, want once", code, command, n)
				}
			}
			server.do(c.allow)
			storesInto(t, g, server)
			eventually(t, "nothing is refused", func() bool { return len(g.Refused()) == 0 })
		})
	}
}
