package pagecache_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/gateway/feed"
	"github.com/novasocial/imagetier/gateway/pagecache"
	"github.com/novasocial/imagetier/internal/circuit"
)

// startCluster starts a cluster of three servers.
func startCluster(t *testing.T) []*redis {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a Redis cluster")
	}
	var nodes []*redis
	var buses []string
	for range 3 {
		port, bus := freePort(t), freePort(t)
		r := &redis{t: t, address: "127.0.0.1:" + port, args: []string{
			"--port", port, "--bind", "127.0.0.1", "--dir", t.TempDir(), "--save", "",
			"--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-require-full-coverage", "no",
		}}
		r.start()
		t.Cleanup(r.kill)
		nodes, buses = append(nodes, r), append(buses, bus)
	}
	for i, r := range nodes {
		r.do([]string{"CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i * 5462), strconv.Itoa(min((i+1)*5462, 16384) - 1)})
		for j, other := range nodes[:i] {
			host, port, _ := net.SplitHostPort(other.address)
			r.do([]string{"CLUSTER", "MEET", host, port, buses[j]})
		}
	}
	for _, r := range nodes {
		eventually(t, "the cluster is whole", func() bool {
			info, err := ptr(r.do([]string{"CLUSTER", "INFO"})).ToString()
			return err == nil && strings.Contains(info, "cluster_state:ok") &&
				strings.Contains(info, "cluster_slots_ok:16384") && strings.Contains(info, "cluster_known_nodes:3")
		})
	}
	return nodes
}

// freePort returns a port that was free a moment ago; Redis takes no other.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// The cache works with Redis Cluster, and with one of its nodes down.
func TestCache_RedisCluster(t *testing.T) {
	nodes := startCluster(t)
	a := startGateway(t, pagecache.Config{}, nodes[0]).connected(t)
	b := startGateway(t, pagecache.Config{}, nodes[1]).connected(t)
	var posts []feed.Post
	for i := range 60 {
		posts = append(posts, feed.Post{ID: fmt.Sprint("p", i), Caption: "c"})
	}
	keep(a, posts...)
	has := func(g *gateway) (n int) {
		for _, e := range lookUp(g, posts...) {
			if e.Fresh {
				n++
			}
		}
		return n
	}
	eventually(t, "b has all of them", func() bool { return has(b) == 60 })
	for _, p := range posts[:30] {
		a.Posts().Drop(context.Background(), []string{p.ID})
	}
	eventually(t, "b receives invalidations from every node", func() bool { return has(b) == 30 })

	c := startGateway(t, pagecache.Config{}, nodes...).connected(t)
	if n := has(c); n != 30 {
		t.Errorf("a third gateway has %d", n)
	}
	nodes[2].kill()
	d := startGateway(t, pagecache.Config{
		RedisTimeout: inTime, Breaker: circuit.Config{Pause: time.Minute},
	}, nodes[0]).connected(t)
	served := 0
	for range 20 {
		switch n := has(d); {
		case n >= 30:
			t.Fatalf("without one of three nodes a gateway has all %d", n)
		case n >= 10:
			served++
		}
	}
	// Were the breaker to open for one of three, most would have nothing.
	if served < 10 {
		t.Errorf("without one of three nodes %d of 20 look-ups found what the others have", served)
	}
	if d.count(pagecache.Posts, pagecache.Failed) == 0 {
		t.Error("no failure was counted for the node that is down")
	}
}
