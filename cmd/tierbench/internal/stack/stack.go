package stack

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Prefix is what the URLs of originals begin with, as the content service has them.
const Prefix = "https://cdn.app.example/"

// source is the name of the tier's source of originals.
const source = "posts"

// Config of a Stack.
type Config struct {
	Bin    string // directory of imagetier, imagetier-resize, imagetier-gateway and fakebackends
	Dir    string // for logs, caches and originals; must exist
	Photos string // directory of JPEGs that the originals are copies of
	// Latencies of the services, per call and per connection.
	Feed, Content, User, Connect time.Duration
	// NoRedis starts no Redis even if it is installed.
	NoRedis bool
	// Events is called with each event that the gateway sends to the tier, and with the status of the
	// answer. If Events is nil, the gateway is connected to the tier directly.
	Events func(status int, body []byte)
}

// Stack is the running processes. Its fields must not be changed.
type Stack struct {
	Gateway     string // POST /graphql
	Before      string // POST /graphql of the baseline without a gateway, which opens a connection per call
	Private     string // the gateway's private listener
	TierPrivate string // the tier's private listener
	Originals   string // directory of the originals under Prefix
	Users       *Users

	FeedService, ContentService, UserService *Process
	Redis                                    *Process // nil without Redis
	GatewayProgram, Tier                     *Process

	cfg            Config
	secrets        secrets
	posts, avatars []string // names below Prefix
	relay          *relay   // nil without Config.Events

	processes []*Process
	services  [3]string // addresses
	counts    [3]string // addresses of their connection counters
	redis     string    // address
}

// names are the names of the services.
var names = [3]string{"feed", "content", "user"}

// secrets of one run.
type secrets struct{ key, webhook, admin string }

func newSecrets() secrets {
	random := func() []byte {
		b := make([]byte, 32)
		_, _ = rand.Read(b) // it never fails
		return b
	}
	return secrets{
		key:     hex.EncodeToString(random()),
		webhook: "whsec_" + base64.StdEncoding.EncodeToString(random()),
		admin:   hex.EncodeToString(random()),
	}
}

// Start starts everything. Close ends what was started, even if Start fails.
func Start(ctx context.Context, cfg Config) (*Stack, error) {
	s := &Stack{cfg: cfg, secrets: newSecrets(), Originals: filepath.Join(cfg.Dir, "originals")}
	if err := s.startAll(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Stack) startAll(ctx context.Context) (err error) {
	s.posts, err = copyPhotos(s.cfg.Photos, s.Originals)
	if err != nil {
		return err
	}
	if s.Users, err = newUsers(); err != nil {
		return err
	}
	at, err := freeAddresses(4)
	if err != nil {
		return err
	}
	tier := at[0]
	if err := s.startTier(ctx, tier, at[1]); err != nil {
		return err
	}
	s.avatars, err = makeAvatars(ctx, "http://"+tier, s.secrets.key, s.posts, s.Originals)
	if err != nil {
		return err
	}
	if err := s.startServices(ctx); err != nil {
		return err
	}
	if err := s.startRedis(ctx); err != nil {
		return err
	}
	return s.startGateway(ctx, at[2], at[3], "--image-base=http://"+tier)
}

// startTier also starts the relay that observes its events.
func (s *Stack) startTier(ctx context.Context, public, private string) (err error) {
	s.Tier = s.program("imagetier", public, private,
		[]string{
			"IMAGETIER_KEYS=k1=" + s.secrets.key,
			"IMAGETIER_WEBHOOK_SECRETS=" + s.secrets.webhook,
			"IMAGETIER_ADMIN_TOKEN=" + s.secrets.admin,
		},
		"--source="+source+"=dir://"+s.Originals,
		"--cache-dir="+filepath.Join(s.cfg.Dir, "cache"),
		"--cache-memory-size=256MiB", "--cache-disk-size=2GiB", "--cache-originals-size=1GiB",
		"--image-prefix="+Prefix+"="+source,
		"--warm=all",
	)
	if err := s.Tier.start(ctx); err != nil {
		return err
	}
	s.TierPrivate = "http://" + private
	if s.cfg.Events != nil {
		s.relay, err = newRelay(s.TierPrivate, s.cfg.Events)
	}
	return err
}

// startGateway starts the gateway with flags beside those for the other programs.
func (s *Stack) startGateway(ctx context.Context, public, private string, flags ...string) error {
	eventsTo := s.TierPrivate
	if s.relay != nil {
		eventsTo = s.relay.url
	}
	flags = append(flags,
		"--dev", "--test-token=test-token=seed",
		"--image-prefix="+Prefix+"="+source,
		"--tier="+eventsTo,
		"--jwks="+s.Users.JWKS,
	)
	for i, name := range names {
		flags = append(flags, "--"+name+"="+s.services[i])
	}
	if s.Redis != nil {
		flags = append(flags, "--redis="+s.redis)
	}
	s.GatewayProgram = s.program("imagetier-gateway", public, private,
		[]string{
			gcTrace,
			"IMAGETIER_GATEWAY_KEYS=k1=" + s.secrets.key,
			"IMAGETIER_GATEWAY_WEBHOOK_SECRET=" + s.secrets.webhook,
			"IMAGETIER_GATEWAY_ADMIN_TOKEN=" + s.secrets.admin,
		},
		flags...)
	s.Gateway, s.Private = "http://"+public+"/graphql", "http://"+private
	if err := s.GatewayProgram.start(ctx); err != nil {
		return err
	}
	return s.isReady(ctx)
}

// Forget restarts Redis and the gateway with empty caches.
func (s *Stack) Forget(ctx context.Context) error {
	for _, p := range []*Process{s.GatewayProgram, s.Redis} {
		if p != nil {
			p.stop()
		}
	}
	for _, p := range []*Process{s.Redis, s.GatewayProgram} {
		if p != nil {
			if err := p.start(ctx); err != nil {
				return err
			}
		}
	}
	return s.isReady(ctx)
}

// program returns a process of imagetier or imagetier-gateway, whose JSON log says when it is
// serving.
func (s *Stack) program(name, public, private string, env []string, args ...string) *Process {
	p := s.process(
		name,
		name,
		append([]string{"serve", "--listen=" + public, "--private-listen=" + private, "--log-format=json"}, args...)...)
	p.env = env
	p.ready = func(line string) bool {
		var entry struct{ Msg string }
		return json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "serving"
	}
	return p
}

// process returns a process of the stack without starting it.
func (s *Stack) process(name, program string, args ...string) *Process {
	p := &Process{
		Name: name,
		path: filepath.Join(s.cfg.Bin, program),
		args: args,
		log:  filepath.Join(s.cfg.Dir, name+".log"),
	}
	s.processes = append(s.processes, p)
	return p
}

// startServices starts the three services, each in its own process on a fixed port. The last one
// also serves the baseline without a gateway.
func (s *Stack) startServices(ctx context.Context) error {
	at, err := freeAddresses(7)
	if err != nil {
		return err
	}
	for i, into := range []**Process{&s.FeedService, &s.ContentService, &s.UserService} {
		args := []string{
			"--services=" + names[i], "--feed=" + at[0], "--content=" + at[1], "--user=" + at[2], "--http=" + at[3+i],
			"--feed-latency=" + s.cfg.Feed.String(), "--content-latency=" + s.cfg.Content.String(),
			"--user-latency=" + s.cfg.User.String(), "--connect-latency=" + s.cfg.Connect.String(),
			"--images-prefix=" + Prefix, "--image-names=" + strings.Join(s.posts, ","),
			"--avatar-names=" + strings.Join(s.avatars, ","),
		}
		if i == 2 {
			args = append(args, "--before="+at[6])
		}
		p := s.process(names[i], "fakebackends", args...)
		p.ready = func(line string) bool { return line == "ready" }
		if err := p.start(ctx); err != nil {
			return err
		}
		*into = p
		s.services[i], s.counts[i] = at[i], "http://"+at[3+i]+"/connections"
	}
	s.Before = "http://" + at[6] + "/graphql"
	return nil
}

// startRedis starts a Redis without persistence, if it is installed.
func (s *Stack) startRedis(ctx context.Context) error {
	path, err := exec.LookPath("redis-server")
	if s.cfg.NoRedis || err != nil {
		return nil
	}
	at, err := freeAddresses(1)
	if err != nil {
		return err
	}
	s.redis = at[0]
	host, port, _ := net.SplitHostPort(s.redis)
	p := s.process(
		"redis",
		path,
		"--port", port, "--bind", host, "--save", "", "--appendonly", "no", "--dir", s.cfg.Dir,
	)
	p.path = path
	p.ready = func(line string) bool { return strings.Contains(line, "Ready to accept connections") }
	if err := p.start(ctx); err != nil {
		return err
	}
	s.Redis = p
	return nil
}

// freeAddresses returns addresses on 127.0.0.1 with free ports.
func freeAddresses(n int) (free []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // closed at the end, so that no port is returned twice
		free = append(free, l.Addr().String())
	}
	return free, nil
}

// isReady waits until the gateway is ready.
func (s *Stack) isReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, starting)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Private+"/readyz", nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the gateway is not ready after %s: %s", starting, s.GatewayProgram.lastWords())
		}
	}
}

// Connections counts the connections to all services: how many were made, and how many are open.
type Connections struct{ Accepted, Open int64 }

// Connections returns the counters of the services.
func (s *Stack) Connections(ctx context.Context) (all Connections, err error) {
	for _, at := range s.counts {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
		if err != nil {
			return all, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return all, err
		}
		var counts map[string]Connections
		err = json.NewDecoder(resp.Body).Decode(&counts)
		resp.Body.Close()
		if err != nil {
			return all, fmt.Errorf("%s: %w", at, err)
		}
		for _, c := range counts {
			all.Accepted += c.Accepted
			all.Open += c.Open
		}
	}
	return all, nil
}

// Close ends all processes in reverse order of their start.
func (s *Stack) Close() {
	for i := len(s.processes) - 1; i >= 0; i-- {
		s.processes[i].stop()
	}
	if s.relay != nil {
		s.relay.close()
	}
	if s.Users != nil {
		s.Users.close()
	}
}

// Posts returns the URLs of the posts' images.
func (s *Stack) Posts() (urls []string) {
	for _, name := range s.posts {
		urls = append(urls, Prefix+name)
	}
	return urls
}

// WebhookSecret returns the secret that signs events to the tier.
func (s *Stack) WebhookSecret() string { return s.secrets.webhook }

// Logs returns the end of the log of each process, for diagnosing failures.
func (s *Stack) Logs() error {
	var all []error
	for _, p := range s.processes {
		all = append(all, fmt.Errorf("%s: %s", p.Name, p.lastWords()))
	}
	return errors.Join(all...)
}

// photosNeeded is a little more than the number of posts on a page.
const photosNeeded = 40

// copyPhotos fills the directory to with copies of the JPEGs in from, and returns their names.
func copyPhotos(from, to string) (copied []string, err error) {
	found, err := filepath.Glob(filepath.Join(from, "*.jpg"))
	if err != nil || len(found) == 0 {
		return nil, fmt.Errorf("no *.jpg in %s", from)
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return nil, err
	}
	for i := range photosNeeded {
		text, err := os.ReadFile(found[i%len(found)])
		if err != nil {
			return nil, err
		}
		name := fmt.Sprintf("p%02d.jpg", i)
		if err := os.WriteFile(filepath.Join(to, name), text, 0o644); err != nil {
			return nil, err
		}
		copied = append(copied, name)
	}
	return copied, nil
}
