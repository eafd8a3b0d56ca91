package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// Every node knows the tags of an event that one node received: at once, and also after it has just
// started.
func TestFleet_PurgeByTag_OnAnotherNode(t *testing.T) {
	o, origin := newShifting(t)
	url := cluster(t)
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	node := func(i int) *tier {
		x := start(t,
			warmFlags(origin, "--warm", "none", "--cache-dir", dirs[i], "--nats", url, "--stream-replicas", "1")...)
		eventually(t, 20*time.Second, "the queue is there", func() bool {
			return metric(t, x, "imagetier_prefetch_queue_up") == "1"
		})
		return x
	}
	path := func(i int) string { return signedPath(t, fmt.Sprintf("/16x/v.1/posts/%d.jpg.jpg", i)) }
	first, second := node(0), node(1)
	const posts = 30
	for i := range posts {
		first.mustPostEvent(fmt.Sprintf("msg_%d", i), published(fmt.Sprintf("p%d", i), fmt.Sprintf("%d.jpg", i), "v.1"))
	}
	third := node(2)
	nodes := []*tier{first, second, third}
	for i := range posts {
		for _, x := range nodes {
			x.get(path(i))
		}
	}
	eventually(t, 20*time.Second, "the three know of each other", func() bool {
		return (&fleet{t: t, nodes: nodes}).purge(0, "nothing.jpg").Nodes.Known == 3
	})
	for range 2 { // a dry run removes nothing: the second finds the same
		status, r := second.ask("POST", "/v1/purge", `{"tag":"post:p0","dry_run":true}`)
		if status != http.StatusOK || r.Variants != 1 {
			t.Errorf("dry run: %d %+v, want the variant that three nodes hold", status, r)
		}
	}
	o.generation.Store(1)
	for i := range posts - 1 {
		status, r := nodes[1+i%2].ask("POST", "/v1/purge", fmt.Sprintf(`{"tag":"post:p%d"}`, i))
		if status != http.StatusOK || r.Variants != 1 {
			t.Errorf("post %d: %d %+v, want the variant that three nodes held", i, status, r)
		}
	}
	// An event that names only the post, handled by any node.
	third.mustPostEvent("msg_gone", deleted(fmt.Sprintf("p%d", posts-1)))
	for _, x := range nodes {
		for i := range posts - 1 {
			if g, err := generationOf(x.get(path(i)).body); err != nil || g != 1 {
				t.Errorf("post %d is of generation %d, %v", i, g, err)
			}
		}
		eventually(t, 10*time.Second, "the deleted post is purged here too", func() bool {
			g, err := generationOf(x.get(path(posts - 1)).body)
			return err == nil && g == 1
		})
	}

	// A node that was away catches up from its offset.
	second.stop()
	first.mustPostEvent("msg_away", published("away", "away.jpg", "v.1"))
	first.get(signedPath(t, "/16x/v.1/posts/away.jpg.jpg"))
	first.stop()
	third.stop()
	second = node(1)
	second.get(signedPath(t, "/16x/v.1/posts/away.jpg.jpg"))
	if status, r := second.ask("POST", "/v1/takedown", `{"tag":"post:away"}`); status == http.StatusNotFound {
		t.Errorf("%d %+v: the tag is not known", status, r)
	}
	got := second.get(signedPath(t, "/16x/v.1/posts/away.jpg.jpg"))
	if got.StatusCode != http.StatusUnavailableForLegalReasons {
		t.Errorf("taken down by a tag that was taught elsewhere, it is %s", got.Status)
	}
	second.stop()
}
