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

// startCluster starts a cluster of three primaries, with a replica of each if replicas is set:
// nodes 3 to 5 follow nodes 0 to 2.
func startCluster(t *testing.T, replicas bool) []*redis {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a Redis cluster")
	}
	const primaries = 3
	count := primaries
	if replicas {
		count = 2 * primaries
	}
	var nodes []*redis
	var buses []string
	for range count {
		port, bus := freePort(t), freePort(t)
		r := &redis{t: t, address: "127.0.0.1:" + port, args: []string{
			"--port", port, "--bind", "127.0.0.1", "--dir", t.TempDir(), "--save", "",
			"--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-require-full-coverage", "no",
			"--cluster-node-timeout", "2000", "--repl-diskless-sync-delay", "0",
		}}
		r.start()
		t.Cleanup(r.kill)
		nodes, buses = append(nodes, r), append(buses, bus)
	}
	for i, r := range nodes {
		if i < primaries {
			r.do([]string{"CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i * 5462), strconv.Itoa(min((i+1)*5462, 16384) - 1)})
		}
		for j, other := range nodes[:i] {
			host, port, _ := net.SplitHostPort(other.address)
			r.do([]string{"CLUSTER", "MEET", host, port, buses[j]})
		}
	}
	isWhole := func() {
		t.Helper()
		for _, r := range nodes {
			eventually(t, "the cluster is whole", func() bool {
				info := r.text("CLUSTER", "INFO")
				return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_slots_ok:16384") &&
					strings.Contains(info, fmt.Sprint("cluster_known_nodes:", count))
			})
		}
	}
	isWhole()
	for i, r := range nodes[primaries:] {
		r.do([]string{"CLUSTER", "REPLICATE", nodes[i].text("CLUSTER", "MYID")})
		eventually(t, "the replica follows its primary", func() bool {
			return strings.Contains(r.text("INFO", "replication"), "master_link_status:up")
		})
	}
	isWhole()
	return nodes
}

// text returns the answer to a command, "" after an error.
func (r *redis) text(command ...string) string {
	answer, err := r.try(command)
	if err != nil {
		return ""
	}
	text, err := answer.ToString()
	if err != nil {
		return ""
	}
	return text
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
	nodes := startCluster(t, false)
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
			t.Fatalf("with one of three nodes down, a gateway still has all %d posts", n)
		case n >= 10:
			served++
		}
	}
	// If the breaker opened for one node of three, most entries would be lost.
	if served < 10 {
		t.Errorf("with one of three nodes down, only %d of 20 lookups were hits", served)
	}
	if d.count(pagecache.Posts, pagecache.Failed) == 0 {
		t.Error("no failure was counted for the node that is down")
	}
}

// A replica takes over the slots of a primary that was killed, and the old primary comes back as a
// replica. Gateways that were connected before can again store, read and receive invalidations.
func TestCache_RedisCluster_FollowsTheFailover(t *testing.T) {
	nodes := startCluster(t, true)
	old, next := nodes[0], nodes[3]
	a := startGateway(t, pagecache.Config{}, nodes[0]).connected(t)
	b := startGateway(t, pagecache.Config{}, nodes[1]).connected(t)
	posts := func(prefix string) (all []feed.Post) {
		for i := range 30 { // about ten for each primary
			all = append(all, feed.Post{ID: fmt.Sprint(prefix, i), Caption: "c"})
		}
		return all
	}
	shared := func(all []feed.Post) {
		t.Helper()
		eventually(t, "b has what a stored", func() bool {
			keep(a, all...)
			for _, e := range lookUp(b, all...) {
				if !e.Fresh {
					return false
				}
			}
			return true
		})
	}
	dropped := func(all []feed.Post) {
		t.Helper()
		for _, p := range all {
			a.Posts().Drop(context.Background(), []string{p.ID})
		}
		eventually(t, "b receives the invalidations of every primary", func() bool {
			for _, e := range lookUp(b, all...) {
				if e.Fresh {
					return false
				}
			}
			return true
		})
	}
	shared(posts("before"))

	old.kill()
	eventually(t, "the replica has taken over", func() bool {
		return strings.Contains(next.text("INFO", "replication"), "role:master")
	})
	during := posts("during")
	shared(during)
	dropped(during)

	old.start()
	eventually(t, "the old primary follows the new one", func() bool {
		info := old.text("INFO", "replication")
		return strings.Contains(info, "role:slave") && strings.Contains(info, "master_link_status:up")
	})
	after := posts("after")
	shared(after)
	dropped(after)
	for _, g := range []*gateway{a, b} {
		eventually(t, "nothing is refused", func() bool { return len(g.Refused()) == 0 })
	}
}
