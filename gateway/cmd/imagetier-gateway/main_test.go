package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/gateway/cmd/imagetier-gateway/internal/config"
	"github.com/novasocial/imagetier/internal/program"
	"github.com/novasocial/imagetier/internal/program/programtest"
)

const hexKey = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// command runs a command in this process to its end.
func command(t *testing.T, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return programtest.Run(t, gatewayProgram(), programtest.Command{Args: args, Environ: environ})
}

func TestGateway_Documents(t *testing.T) {
	programtest.Document(t, config.Schema, "../../../docs/operate/gateway-configuration.md",
		"../../../deploy/imagetier-gateway.yaml",
		"# Every setting of imagetier-gateway, with its default. Keep only those of the command that you\n"+
			"# run: imagetier-gateway proxy --config imagetier-gateway.yaml, or serve.\n")
}

func TestGateway_Help(t *testing.T) {
	programtest.Help(t, gatewayProgram, "proxy", "serve", "sign", "doctor")
}

func TestGateway_SettingSpellings(t *testing.T) {
	programtest.Spellings(t, gatewayProgram, config.EnvPrefix)
}

func TestGateway_Run_InvalidUsage(t *testing.T) {
	code, _, stderr := command(
		t,
		[]string{"IMAGETIER_GATEWAY_IMAGE_BAES=x"},
		"proxy",
		"--upstrem", "http://x", "--fields", "imageUrl=fed",
	)
	for _, want := range []string{
		"--upstrem: unknown; the nearest is --upstream",
		"IMAGETIER_GATEWAY_IMAGE_BAES: unknown; the nearest is IMAGETIER_GATEWAY_IMAGE_BASE",
		"unknown profile fed, did you mean feed?", "--image-prefix: required",
	} {
		if !strings.Contains(stderr, want) {
			t.Errorf("%q is not in:\n%s", want, stderr)
		}
	}
	if code != int(program.Usage) {
		t.Errorf("exit code %d", code)
	}
	if code, _, stderr := command(t, nil, "version", "--jsn"); code != int(program.Usage) ||
		!strings.Contains(stderr, "--json") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if code, stdout, _ := command(t, nil, "version", "--json"); code != 0 || !strings.Contains(stdout, `"go":"go1.`) {
		t.Errorf("exit code %d: %s", code, stdout)
	}
	keys := []string{"IMAGETIER_GATEWAY_KEYS=k1=" + hexKey}
	if code, stdout, stderr := command(t, keys, "config", "print"); code != 0 ||
		strings.Contains(stdout, hexKey) || !strings.Contains(stdout, "image") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	if code, stdout, stderr := command(t, nil, "config", "check"); code != 0 || stdout != "ok\n" {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
}

// testGateway is a gateway that runs in this process.
type testGateway struct {
	public, private string // URLs
	stop            context.CancelFunc
	code            chan int
	log             *bytes.Buffer // complete once code was received
}

// start runs a command and waits until it serves.
func start(t *testing.T, args ...string) *testGateway {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	from, to := io.Pipe()
	r := &testGateway{stop: cancel, code: make(chan int, 1), log: &bytes.Buffer{}}
	go func() {
		code := gatewayProgram().Run(ctx, &program.Process{
			Args: append(args, "--listen=127.0.0.1:0", "--private-listen=127.0.0.1:0"), Stdout: io.Discard, Stderr: to,
		})
		to.Close()
		r.code <- code
	}()
	lines := bufio.NewReader(from)
	for r.public == "" {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("exited with %d: %s", <-r.code, r.log)
		}
		r.log.WriteString(line)
		var entry struct{ Msg, Public, Private string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "serving" {
			r.public, r.private = "http://"+entry.Public, "http://"+entry.Private
		}
	}
	logged := make(chan struct{})
	go func() { io.Copy(r.log, lines); close(logged) }()
	t.Cleanup(func() { cancel(); <-logged })
	return r
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// The proxy rewrites answers, reports images to the tier, exports metrics and drains.
func TestProxyCmd_Run(t *testing.T) {
	hold := make(chan struct{})
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"picture":"https://cdn.app.example/a.jpg","small":null,"rest":`)
		w.(http.Flusher).Flush()
		if r.URL.Path == "/slow" {
			<-hold
		}
		io.WriteString(w, `0}`)
	}))
	defer service.Close()
	events := make(chan string, 10)
	tier := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		events <- r.URL.Path + " " + string(body)
		w.WriteHeader(http.StatusAccepted)
	}))
	defer tier.Close()
	g := start(
		t,
		"proxy",
		"--upstream="+service.URL,
		"--image-base=https://img.example.com",
		"--image-prefix=https://cdn.app.example/=posts",
		"--keys=k1="+hexKey,
		"--fields=picture=feed,small=avatar",
		"--fill=small=picture",
		"--tier="+tier.URL,
		"--webhook-secret=whsec_"+strings.Repeat("AAAA", 8),
	)

	_, body := get(t, g.public+"/")
	if !strings.Contains(body, `"picture":"https://img.example.com/i/k1.`) ||
		!strings.Contains(body, `"small":"https://img.example.com/i/k1.`) ||
		!strings.Contains(body, "/64x64-cover/v.0/posts/a.jpg.jpg") {
		t.Errorf("the answer is %s", body)
	}
	reported := <-events
	if !strings.Contains(reported, `/v1/events {"type":"feed.page"`) ||
		strings.Count(reported, `"/i/k1.`) != 2 || !strings.Contains(reported, "/64x64-cover/v.0/posts/a.jpg.jpg\"") {
		t.Errorf("the tier got %s", reported)
	}
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ready", "/debug/pprof/": "heap"} {
		if status, body := get(t, g.private+path); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	private := "--private-listen=" + strings.TrimPrefix(g.private, "http://")
	if code, stdout, stderr := command(t, nil, "health", "--ready", private); code != 0 || stdout != "ok\n" {
		t.Errorf("health: %d %s", code, stderr)
	}
	wantMetrics(t, g.private,
		`imagetier_gateway_handed_out_images_total{outcome="sent"} 2`,
		`imagetier_gateway_proxy_requests_total{kind="json",status="2xx"} 1`,
		`imagetier_gateway_proxy_requests_total{kind="failed",status="5xx"} 0`,
		`imagetier_gateway_urls_total{outcome="signed"} 2`, `imagetier_gateway_build_info{`, `mode="proxy"`,
		`imagetier_gateway_proxy_first_byte_seconds_count{kind="json"} 1`, "go_goroutines",
	)

	// Requests in flight complete while the gateway drains.
	slow, err := http.Get(g.public + "/slow")
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Body.Close()
	g.stop()
	waitFor(t, g.private+"/readyz", "draining")
	close(hold)
	if rest, err := io.ReadAll(slow.Body); err != nil || !strings.HasSuffix(string(rest), "0}") {
		t.Errorf("in flight: %q, %v", rest, err)
	}
	if code := <-g.code; code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// waitFor polls the URL until the answer contains all texts, and returns it.
func waitFor(t *testing.T, url string, texts ...string) (body string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; <-tick.C {
		_, body = get(t, url)
		missing := slices.IndexFunc(texts, func(text string) bool { return !strings.Contains(body, text) })
		if missing < 0 {
			return body
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is not in %s:\n%s", texts[missing], url, body)
		}
	}
}

// wantMetrics waits until /metrics of a private listener has all samples: requests are counted after their
// answers. All metrics must have the program's prefix, or that of a library.
func wantMetrics(t *testing.T, private string, samples ...string) {
	t.Helper()
	known := regexp.MustCompile("^(#|go_|process_|promhttp_|" + namespace + "_)")
	for line := range strings.Lines(waitFor(t, private+"/metrics", samples...)) {
		if !known.MatchString(line) {
			t.Errorf("metric without the prefix: %s", line)
		}
	}
}

func TestProxyCmd_Run_PortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	code, _, stderr := command(
		t,
		nil,
		"proxy",
		"--upstream=http://127.0.0.1:1",
		"--image-base=https://img.example.com",
		"--image-prefix=https://cdn.app.example/=posts",
		"--dev",
		"--listen="+l.Addr().String(),
		"--private-listen=127.0.0.1:0",
	)
	if code != int(program.Failed) || !strings.Contains(stderr, "public listener") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestGateway_Log_RedactsSecrets(t *testing.T) {
	var out bytes.Buffer
	c := &proxyCmd{settingsFor(config.ForProxy)}
	g, err := c.open(t.Context(), &program.Process{Stderr: &out, Environ: []string{
		"IMAGETIER_GATEWAY_UPSTREAM=http://x", "IMAGETIER_GATEWAY_IMAGE_BASE=https://x",
		"IMAGETIER_GATEWAY_IMAGE_PREFIX=https://y/=posts",
		"IMAGETIER_GATEWAY_KEYS=k1=" + hexKey, "IMAGETIER_GATEWAY_ADMIN_TOKEN=hunter22hunter22",
	}})
	if err != nil {
		t.Fatal(err)
	}
	g.log.Info("x", "err", fmt.Errorf("Bearer hunter22hunter22 and %s", hexKey))
	if strings.Contains(out.String(), "hunter22") || strings.Contains(out.String(), hexKey) ||
		!strings.Contains(out.String(), "(secret)") {
		t.Errorf("logged %s", &out)
	}
}
