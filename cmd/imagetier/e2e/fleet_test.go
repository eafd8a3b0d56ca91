package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/novasocial/imagetier/internal/testutil"
	"github.com/novasocial/imagetier/origin/origintest/s3server"
)

// natsServers starts a cluster of three servers.
func natsServers(t *testing.T) (servers []*server.Server, urls string) {
	t.Helper()
	const n = 3
	var routes []*url.URL
	var ports []int
	for range n {
		addr := freePort(t)
		u, err := url.Parse("nats://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		var port int
		if _, err := fmt.Sscanf(u.Port(), "%d", &port); err != nil {
			t.Fatal(err)
		}
		routes, ports = append(routes, u), append(ports, port)
	}
	var all []string
	for i := range n {
		srv, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprintf("nats%d", i), Host: "127.0.0.1", Port: server.RANDOM_PORT,
			NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
			Cluster: server.ClusterOpts{Name: "fleet", Host: "127.0.0.1", Port: ports[i]}, Routes: routes,
		})
		if err != nil {
			t.Fatal(err)
		}
		go srv.Start()
		t.Cleanup(func() {
			srv.Shutdown()
			srv.WaitForShutdown()
		})
		servers = append(servers, srv)
	}
	for _, srv := range servers {
		if !srv.ReadyForConnections(30 * time.Second) {
			t.Fatal("a NATS server does not start")
		}
		all = append(all, srv.ClientURL())
	}
	// A stream with three replicas can be made only once the leader knows all servers.
	eventually(t, 30*time.Second, "the cluster has a leader that knows all servers", func() bool {
		return slices.ContainsFunc(servers, func(srv *server.Server) bool {
			return srv.JetStreamIsLeader() && len(srv.JetStreamClusterPeers()) == n
		}) && !slices.ContainsFunc(servers, func(srv *server.Server) bool { return !srv.JetStreamIsCurrent() })
	})
	return servers, strings.Join(all, ",")
}

// balanced starts nginx with the configuration of deploy/nginx in front of these nodes.
func balanced(t *testing.T, nodes []string) (url string) {
	t.Helper()
	binary := testutil.Command(t, "make deps-test", "nginx", "/usr/sbin/nginx")
	text, err := os.ReadFile("../../../deploy/nginx/imagetier.conf")
	if err != nil {
		t.Fatal(err)
	}
	conf, dir, addr := string(text), t.TempDir(), freePort(t)
	for i, node := range nodes {
		conf = strings.Replace(conf, fmt.Sprintf("node%d:8080", i+1), node, 1)
	}
	conf = strings.Replace(conf, "listen 80;", "listen "+addr+";", 1)
	conf = strings.ReplaceAll(`daemon off; worker_processes 1; pid DIR/pid; error_log DIR/error.log;
events { worker_connections 4096; }
http {
access_log off;
client_body_temp_path DIR/b; proxy_temp_path DIR/p; fastcgi_temp_path DIR/f;
uwsgi_temp_path DIR/u; scgi_temp_path DIR/s;
`, "DIR", dir) + conf + "}\n"
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-p", dir, "-c", file, "-e", filepath.Join(dir, "start.log"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	eventually(t, 10*time.Second, "nginx answers: "+out.String(), func() bool {
		resp, err := http.Get("http://" + addr + "/healthz")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
	return "http://" + addr
}

// shifting is an origin whose originals all have the colour of its generation.
type shifting struct {
	mu         sync.Mutex
	asked      map[string]int
	generation atomic.Int32
	pictures   [2][]byte
}

func newShifting(t *testing.T) (*shifting, string) {
	o := &shifting{asked: make(map[string]int)}
	for i, c := range []color.Color{color.RGBA{200, 0, 0, 255}, color.RGBA{0, 0, 200, 255}} {
		img := image.NewRGBA(image.Rect(0, 0, 64, 64))
		for at := range 64 * 64 {
			img.Set(at%64, at/64, c)
		}
		var b bytes.Buffer
		if err := jpeg.Encode(&b, img, nil); err != nil {
			t.Fatal(err)
		}
		o.pictures[i] = b.Bytes()
	}
	return o, listen(t, o)
}

func (o *shifting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.asked[r.URL.Path]++
	o.mu.Unlock()
	w.Header().Set("Content-Type", "image/jpeg")
	_, _ = w.Write(o.pictures[o.generation.Load()])
}

func (o *shifting) times(name string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked["/"+name]
}

// generationOf returns the generation of the original of a variant.
func generationOf(body []byte) (int, error) {
	img, err := jpeg.Decode(bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	if r, _, b, _ := img.At(8, 8).RGBA(); b > r {
		return 1, nil
	}
	return 0, nil
}

// fleet is three nodes behind nginx, with a NATS cluster and a shared store.
type fleet struct {
	t        *testing.T
	origin   *shifting
	nats     []*server.Server
	nodes    []*tier
	flags    [][]string
	env      []string
	balancer string
}

func newFleet(t *testing.T, more ...string) *fleet {
	t.Helper()
	f := &fleet{t: t}
	var urls, at string
	f.nats, urls = natsServers(t)
	f.origin, at = newShifting(t)
	s3 := s3server.Start(t)
	s3.Bucket(t, "derived", false)
	f.env = []string{"AWS_ACCESS_KEY_ID=" + s3.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s3.SecretKey}
	var addrs []string
	for range 3 {
		addr := freePort(t)
		addrs = append(addrs, addr)
		f.flags = append(f.flags, append([]string{"--keys", key,
			"--source", "posts=" + at + "?originals=yes", "--allow-private-origins", "--cache-dir", t.TempDir(),
			"--admin-token", token, "--webhook-secrets", hookSecret, "--warm", "none", "--workers", "1", "--nats", urls,
			"--derived", "s3://derived/tier?region=" + s3.Region + "&endpoint=" + s3.Endpoint + "&path-style=true",
			"--listen", addr, "--private-listen", freePort(t)}, more...))
	}
	f.nodes = make([]*tier, 3)
	for i := range f.nodes {
		f.nodes[i] = startWith(t, f.env, f.flags[i]...)
	}
	f.balancer = balanced(t, addrs)
	return f
}

func (f *fleet) again(i int) { f.nodes[i] = startWith(f.t, f.env, f.flags[i]...) }

// counted is a receipt with the counts of nodes.
type counted struct {
	Status int
	Nodes  struct{ Applied, Known int }
}

func (f *fleet) purge(i int, name string) (c counted) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost,
		f.nodes[i].private+"/v1/purge", strings.NewReader(`{"source":"posts","name":"`+name+`"}`))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	c.Status = resp.StatusCode
	if err := json.NewDecoder(resp.Body).Decode(&c); err != nil {
		f.t.Fatal(err)
	}
	return c
}

// load requests these paths from the balancer until it is ended. It returns the number of wrong
// answers and of failed requests.
func (f *fleet) load(clients int, paths []string, right [][]byte) *running {
	ctx, cancel := context.WithCancel(f.t.Context())
	r := &running{t: f.t, cancel: cancel}
	for client := range clients {
		r.clients.Go(func() {
			for i := client; ctx.Err() == nil; i++ {
				n := i % len(paths)
				resp, err := http.Get(f.balancer + paths[n])
				if err != nil {
					r.failed.Add(1)
					continue
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				switch {
				case err != nil || resp.StatusCode >= 500:
					r.failed.Add(1)
				case resp.StatusCode != http.StatusOK || !bytes.Equal(body, right[n]):
					r.wrong.Add(1)
				default:
					r.answers.Add(1)
				}
			}
		})
	}
	return r
}

// running is a load that runs until end is called.
type running struct {
	t       *testing.T
	cancel  context.CancelFunc
	clients sync.WaitGroup

	answers, wrong, failed atomic.Int64
}

// more waits until n more requests have been answered.
func (r *running) more(n int64) {
	r.t.Helper()
	from := r.answers.Load()
	eventually(r.t, 60*time.Second, "the load goes on", func() bool { return r.answers.Load() >= from+n })
}

// end stops the load and returns how many answers were right and wrong, and how many requests failed.
func (r *running) end() (answers, wrong, failed int64) {
	r.cancel()
	r.clients.Wait()
	return r.answers.Load(), r.wrong.Load(), r.failed.Load()
}

// full reports whether the tests run by make test-fleet, which uses larger numbers.
func full() bool { return os.Getenv("TEST_FLEET") == "full" }

func pathTo(t *testing.T, shape, name string) string {
	return signedPath(t, "/"+shape+"/v.1/posts/"+name+".jpg")
}

// warmed returns paths that nodes have cached, and the right bytes of each.
func (f *fleet) warmed() (paths []string, right [][]byte) {
	f.t.Helper()
	for i := range 40 {
		paths = append(paths, pathTo(f.t, "40x", fmt.Sprintf("load/%d.jpg", i)))
		right = append(right, fetch(f.t, f.balancer+paths[i]).body)
	}
	return paths, right
}

// joined waits until a purge reaches all nodes.
func (f *fleet) joined() {
	f.t.Helper()
	eventually(f.t, 20*time.Second, "a purge reaches all nodes", func() bool {
		got := f.purge(0, "nothing.jpg")
		return got.Status == http.StatusOK && got.Nodes.Applied == 3 && got.Nodes.Known == 3
	})
}

func TestFleet_FetchesAColdKeyOnce(t *testing.T) {
	f := newFleet(t)
	f.joined()
	o := f.origin
	var all sync.WaitGroup
	for range 300 {
		all.Go(func() {
			resp, err := http.Get(f.balancer + pathTo(t, "40x", "cold.jpg"))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("%s %v", resp.Status, err)
			}
		})
	}
	all.Wait()
	if n := o.times("cold.jpg"); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestFleet_KeepsAnOriginalOnOneNode(t *testing.T) {
	f := newFleet(t)
	f.joined()
	o := f.origin
	for i := range 20 {
		name := fmt.Sprintf("p/%d.v2.jpg", i)
		for _, p := range []string{
			pathTo(t, "20x", name), pathTo(t, "40x40-cover", name),
			signedPath(t, "/30x/v.1/posts/"+name+".webp"),
			signedPath(t, "/orig/v.1/posts/"+name),
		} {
			if got := fetch(t, f.balancer+p); got.StatusCode != http.StatusOK {
				t.Fatal(got.Status)
			}
		}
		if n := o.times(name); n != 1 {
			t.Errorf("%s was fetched %d times", name, n)
		}
	}
}

func TestFleet_Takedown_HoldsOnEveryNodeUntilLifted(t *testing.T) {
	f := newFleet(t)
	f.joined()
	p := pathTo(t, "40x", "down.jpg")
	const target = `{"source":"posts","name":"down.jpg"}`
	if status, _ := f.nodes[1].ask("POST", "/v1/takedown", target); status != http.StatusOK {
		t.Fatal(status)
	}
	for i, x := range f.nodes { // check every node that the receipt counts
		if got := x.get(p); got.StatusCode != 451 {
			t.Errorf("node %d answers %s behind the receipt", i, got.Status)
		}
	}
	if status, _ := f.nodes[2].ask("DELETE", "/v1/takedown", target); status != http.StatusOK {
		t.Fatal(status)
	}
	for _, x := range f.nodes {
		eventually(t, 5*time.Second, "it is lifted", func() bool { return x.get(p).StatusCode == 200 })
	}
}

func TestFleet_LosesOnlyRequestsInFlightToAKilledNode(t *testing.T) {
	f := newFleet(t)
	f.joined()
	paths, right := f.warmed()
	load := f.load(8, paths, right)
	load.more(100)
	f.nodes[2].kill()
	load.more(400)
	answers, wrong, failed := load.end()
	t.Logf("%d right, %d wrong, %d failed", answers, wrong, failed)
	if wrong > 0 || failed > 8 || answers < 100 {
		t.Errorf("%d right, %d wrong, %d failed", answers, wrong, failed)
	}
	f.again(2)
}

func TestFleet_NodeReturns_ServesNothingPurged(t *testing.T) {
	f := newFleet(t)
	f.joined()
	o := f.origin
	purges := 100
	if full() {
		purges = 500
	}
	var old []string
	for i := range purges {
		old = append(old, fmt.Sprintf("old/%d.jpg", i))
		if got := f.nodes[2].get(pathTo(t, "16x", old[i])); got.StatusCode != http.StatusOK {
			t.Fatal(got.Status)
		}
	}
	const down = `{"source":"posts","name":"old/0.jpg"}`
	f.nodes[2].kill()
	o.generation.Store(1)
	late := 0
	began := time.Now()
	for _, name := range old {
		got := f.purge(0, name)
		if got.Status == http.StatusAccepted && got.Nodes.Applied == 2 && got.Nodes.Known == 3 {
			late++
		}
	}
	t.Logf("%d purges with a node away took %s", purges, time.Since(began))
	if late != purges {
		t.Errorf("%d of %d receipts say that a node is missing", late, purges)
	}
	if status, _ := f.nodes[1].ask("POST", "/v1/takedown", down); status != http.StatusAccepted {
		t.Errorf("takedown: %d", status)
	}
	f.again(2)
	for i, name := range old {
		for which, x := range f.nodes {
			got := x.get(pathTo(t, "16x", name))
			if i == 0 {
				if got.StatusCode != 451 {
					t.Errorf("node %d: status %s for an image that was taken down, want 451", which, got.Status)
				}
				continue
			}
			if g, err := generationOf(got.body); err != nil || g != 1 {
				t.Fatalf("node %d: %s is of generation %d (%s), %v", which, name,
					g, got.Header.Get("Cache-Status"), err)
			}
		}
	}
	f.nodes[1].ask("DELETE", "/v1/takedown", down)
}

// nginx sends requests to a node that is not ready. Its disk may have what other nodes have purged meanwhile.
func TestFleet_NodeReturns_ReadsNoDisk_BeforeItIsReady(t *testing.T) {
	servers, urls := natsServers(t)
	o, at := newShifting(t)
	flags := warmFlags(at+"?originals=yes", "--cache-dir", t.TempDir(), "--warm", "none", "--workers", "1",
		"--nats", urls)
	paths := []string{pathTo(t, "24x", "kept.jpg"), signedPath(t, "/orig/v.1/posts/kept.jpg")}
	node := start(t, flags...)
	for _, path := range paths {
		if got := node.get(path); got.StatusCode != http.StatusOK {
			t.Fatal(got.Status)
		}
	}
	node.stop() // and writes what it has to the disk
	node = start(t, flags...)
	for _, path := range paths {
		node.get(path).want(t, 200, "disk")
	}
	node.stop()
	for _, srv := range servers {
		srv.Shutdown()
	}
	o.generation.Store(1)
	node = launch(t, nil, flags...)
	for _, path := range paths {
		got := node.get(path)
		if g, err := generationOf(got.body); err != nil || g != 1 {
			t.Errorf("%s is of generation %d (%s), %v", path, g, got.Header.Get("Cache-Status"), err)
		}
	}
}

func TestFleet_ReplacesNodesWithoutFailures(t *testing.T) {
	f := newFleet(t)
	f.joined()
	paths, right := f.warmed()
	replaced := 1
	if full() {
		replaced = 3
	}
	load := f.load(8, paths, right)
	for i := range replaced {
		f.nodes[i].stop()
		f.again(i)
		// nginx sends requests to the node again once fail_timeout has passed.
		eventually(t, 30*time.Second, "nginx uses the replaced node", func() bool {
			return metric(t, f.nodes[i], `imagetier_response_bytes_total{cache="disk"}`) != "0"
		})
	}
	answers, wrong, failed := load.end()
	t.Logf("%d right, %d wrong, %d failed", answers, wrong, failed)
	if wrong+failed > 0 {
		t.Errorf("%d right, %d wrong, %d failed", answers, wrong, failed)
	}
}

func TestFleet_BeginsEmptyWhenTheStreamIsGone(t *testing.T) {
	f := newFleet(t)
	f.joined()
	p := pathTo(t, "24x", "kept.jpg")
	f.nodes[2].get(p)
	eventually(t, 10*time.Second, "it is kept", func() bool { return isHit(f.nodes[2].get(p)) })
	f.nodes[2].stop()
	f.again(2)
	f.nodes[2].get(p).want(t, 200, "disk") // a restart alone loses nothing
	f.nodes[2].stop()
	conn, err := nats.Connect(f.nats[0].ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), "IMAGETIER_PURGES"); err != nil {
		t.Fatal(err)
	}
	f.again(2)
	got := f.nodes[2].get(p).Header.Get("Cache-Status")
	if strings.HasSuffix(got, "detail=disk") || strings.HasSuffix(got, "detail=memory") {
		t.Errorf("%s: it was kept", got)
	}
	// The running nodes continue with the new log.
	eventually(t, 20*time.Second, "a purge reaches all", func() bool {
		got := f.purge(0, "nothing.jpg")
		return got.Status == http.StatusOK && got.Nodes.Applied == 3
	})
}

func TestFleet_AcceptsEventsAndPurgesWithoutTheLeader(t *testing.T) {
	f := newFleet(t)
	f.joined()
	killed := false
	for _, srv := range f.nats {
		if srv.JetStreamIsStreamLeader("$G", "IMAGETIER_WARM") {
			srv.Shutdown()
			killed = true
			break
		}
	}
	if !killed {
		t.Fatal("no server leads the stream IMAGETIER_WARM")
	}
	began := time.Now()
	took := eventually(t, 20*time.Second, "an event is accepted", func() bool {
		got := f.nodes[0].postEvent(signEvent(t, fmt.Sprintf("msg_%d", time.Since(began)),
			time.Now(), published("p9", "9.jpg", "v.1")))
		return got.StatusCode == http.StatusAccepted
	})
	purged := eventually(t, 20*time.Second, "a purge reaches all", func() bool {
		got := f.purge(1, "nothing.jpg")
		return got.Status == http.StatusOK && got.Nodes.Applied == 3
	})
	t.Logf("an event after %s, a purge on three nodes after %s more", took, purged)
}

func TestFleet_QueuesPurgesWithoutTheCluster(t *testing.T) {
	f := newFleet(t)
	f.joined()
	paths, _ := f.warmed()
	for _, srv := range f.nats {
		srv.Shutdown()
	}
	name := "load/0.jpg"
	before := f.nodes[0].get(paths[0])
	if before.StatusCode != http.StatusOK {
		t.Fatal(before.Status)
	}
	if got := f.purge(0, name); got.Status != http.StatusAccepted || got.Nodes.Applied != 1 || got.Nodes.Known < 2 {
		t.Errorf("%+v", got)
	}
	if detail := f.nodes[0].get(paths[0]).Header.Get("Cache-Status"); !strings.HasSuffix(detail, "detail=origin") {
		t.Errorf("%s after a purge", detail)
	}
	got, err := os.ReadFile(filepath.Join(cacheOf(f.flags[0]), "fleet", "outbox"))
	if err != nil || !bytes.Contains(got, []byte(`"purge"`)) {
		t.Errorf("the outbox has %q, %v", got, err)
	}
}

func cacheOf(flags []string) string {
	for i, flag := range flags {
		if flag == "--cache-dir" {
			return flags[i+1]
		}
	}
	return ""
}

// TEST_FLEET=serve is make fleet: it runs until it is interrupted.
func TestFleet_Serve(t *testing.T) {
	if os.Getenv("TEST_FLEET") != "serve" {
		t.Skip("make fleet runs it")
	}
	f := newFleet(t)
	fmt.Printf("nginx before three nodes: %s%s\n", f.balancer, signedPath(t, "/40x/v.1/posts/a.jpg.jpg"))
	for i, x := range f.nodes {
		fmt.Printf("node %d: %s, private %s (admin token %s)\n", i+1, x.public, x.private, token)
	}
	fmt.Println("Ctrl-C stops all of them")
	interrupted, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	<-interrupted.Done()
}
