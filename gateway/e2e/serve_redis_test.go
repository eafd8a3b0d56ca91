package e2e

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/gateway/upstream/fakeservices"
	"github.com/novasocial/imagetier/internal/testutil"
)

// redis runs Redis on a socket until the test ends or kills it.
func redis(t *testing.T) (path string, kill func()) {
	t.Helper()
	program := testutil.Command(t, "make deps-test", "redis-server")
	dir := t.TempDir()
	path = filepath.Join(dir, "redis")
	cmd := exec.Command(program, "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no", "--dir", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(kill)
	until(t, "Redis answers", func() bool {
		c, err := net.Dial("unix", path)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return path, kill
}

// Gateways share cached entries and invalidations through Redis, and continue without it.
func TestServe_SharedRedis(t *testing.T) {
	services := fakes(t, fakeservices.Config{})
	path, kill := redis(t)
	one := serve(t, services, "--redis=unix://"+path, "--webhook-secrets="+hookSecret)
	two := serve(t, services, "--redis=unix://"+path)
	connected := func(p *program) bool {
		_, _, metrics := get(t, p.private+"/metrics")
		return strings.Contains(metrics, `imagetier_gateway_connected{service="redis"} 1`)
	}
	until(t, "both have reached Redis", func() bool { return connected(one) && connected(two) })
	calls := func(p *program) string {
		services.Reset()
		if a := ask(t, p, k6Query, nil); a.Data.Feed == nil || len(a.Data.Feed.Posts) != 20 || len(a.Errors) > 0 {
			t.Errorf("%.300s", a.body)
		}
		n := services.Counts()
		return fmt.Sprint(n[fakeservices.Feed].Calls, n[fakeservices.Content].Calls, n[fakeservices.User].Calls)
	}
	posts := ask(t, one, k6Query, nil).Data.Feed.Posts
	until(t, "the other one has it by Redis", func() bool { return calls(two) == "0 0 0" })
	until(t, "both keep it", func() bool { return calls(one) == "0 0 0" && calls(two) == "0 0 0" })
	deleted := fmt.Sprintf(`{"type":"post.deleted","data":{"posts":[{"id":%q}]}}`, posts[0].ID)
	if status, body := event(t, one, "msg_1", deleted, hookSecret); status != 202 {
		t.Fatalf("%d %s", status, body)
	}
	until(t, "what an event dropped here is dropped there", func() bool { return calls(two) == "0 1 0" })
	kill()
	limit := 20
	until(t, "the gateway notices that Redis is gone, and still answers uncached pages", func() bool {
		limit = limit%100 + 1
		a := ask(t, one, k6Query, map[string]any{"limit": limit})
		if a.Data.Feed == nil || len(a.Data.Feed.Posts) != limit || len(a.Errors) > 0 {
			t.Errorf("%.300s", a.body)
		}
		return !connected(one)
	})
	until(t, "cached pages to be served without Redis", func() bool { return calls(one) == "0 0 0" })
}
