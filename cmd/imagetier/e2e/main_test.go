// Package e2e tests the built programs from outside: real processes, real sockets, a real S3
// server, a real browser. Everything listens on the loopback interface.
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/novasocial/imagetier/internal/testutil"
)

// bin is the directory in which TestMain built the programs.
var bin string

// raced means that the tests and the tier run under the race detector.
var raced bool

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("end-to-end tests do not run with -short")
		os.Exit(0)
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "imagetier-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		bin = dir
		if out, err := buildTier(); err != nil {
			fmt.Fprintf(os.Stderr, "build imagetier: %v\n%s", err, out)
			return 1
		}
		if out, err := build("1", "../../imagetier-resize"); err != nil {
			fmt.Fprintf(os.Stderr, "build imagetier-resize (is libvips-dev there? make test installs it): %v\n%s",
				err, out)
			return 1
		}
		return m.Run()
	}())
}

// buildTier builds imagetier, without cgo unless the race detector is on.
func buildTier() ([]byte, error) {
	if raced {
		return build("1", "../", "-race")
	}
	return build("0", "../")
}

func build(cgo, pkg string, flags ...string) ([]byte, error) {
	cmd := exec.Command("go", append(append([]string{"build", "-o", bin + "/"}, flags...), pkg)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
	return cmd.CombinedOutput()
}

// key is the signing key of all tests.
const key = "k1=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

// tier is a running imagetier.
type tier struct {
	t       testing.TB
	cmd     *exec.Cmd
	public  string // http://127.0.0.1:port
	private string
	ended   chan struct{} // closed when the process is gone; then err holds
	err     error
	log     *logText
}

type logText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logText) line(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.WriteString(s + "\n")
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs imagetier serve with these flags on free ports, and returns when it is ready.
func start(t testing.TB, flags ...string) *tier {
	t.Helper()
	return startWith(t, nil, flags...)
}

func startWith(t testing.TB, env []string, flags ...string) *tier {
	t.Helper()
	x := launch(t, env, flags...)
	x.waitReady()
	return x
}

// launch runs imagetier serve, and returns when it listens, ready or not.
func launch(t testing.TB, env []string, flags ...string) *tier {
	t.Helper()
	args := append([]string{"serve", "--log-format", "json"}, flags...)
	if !slices.Contains(flags, "--private-listen") {
		args = append(args, "--listen", "127.0.0.1:0", "--private-listen", "127.0.0.1:0")
	}
	cmd := exec.Command(filepath.Join(bin, "imagetier"), args...)
	cmd.Env = append(
		os.Environ(),
		"IMAGETIER_CACHE_MEMORY_SIZE=64MiB",
		"IMAGETIER_CACHE_DISK_SIZE=256MiB",
		"IMAGETIER_CACHE_ORIGINALS_SIZE=256MiB",
	)
	cmd.Env = append(cmd.Env, env...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	x := &tier{t: t, cmd: cmd, ended: make(chan struct{}), log: &logText{}}
	listening := make(chan [2]string, 1)
	if i := slices.Index(flags, "--private-listen"); i >= 0 { // its log level may hide the line
		listening <- [2]string{"http://" + flags[slices.Index(flags, "--listen")+1], "http://" + flags[i+1]}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			x.log.line(lines.Text())
			var entry struct{ Msg, Public, Private string }
			if json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Msg == "serving" {
				select {
				case listening <- [2]string{entry.Public, entry.Private}:
				default:
				}
			}
		}
		x.err = cmd.Wait()
		close(x.ended)
	}()
	t.Cleanup(func() {
		x.kill()
		if strings.Contains(x.log.String(), "DATA RACE") {
			t.Error("the race detector found something")
		}
		if t.Failed() {
			t.Logf("imagetier said:\n%s", x.log)
		}
	})
	select {
	case at := <-listening:
		x.public, x.private = at[0], at[1]
	case <-x.ended:
		t.Fatalf("imagetier ended: %v\n%s", x.err, x.log)
	case <-time.After(30 * time.Second):
		t.Fatalf("imagetier did not say where it listens\n%s", x.log)
	}
	return x
}

// waitReady returns when /readyz answers 200.
func (x *tier) waitReady() {
	x.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		if resp, err := http.Get(x.private + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-x.ended:
			x.t.Fatalf("imagetier ended: %v\n%s", x.err, x.log)
		case <-time.After(20 * time.Millisecond):
		}
	}
	x.t.Fatalf("imagetier did not get ready\n%s", x.log)
}

// stop sends SIGTERM, and fails the test unless imagetier ends without an error.
func (x *tier) stop() {
	x.t.Helper()
	_ = x.cmd.Process.Signal(syscall.SIGTERM)
	x.waitEnded()
	if x.err != nil {
		x.t.Fatalf("imagetier ended with %v\n%s", x.err, x.log)
	}
}

func (x *tier) kill() {
	_ = x.cmd.Process.Kill()
	x.waitEnded()
}

func (x *tier) waitEnded() {
	x.t.Helper()
	select {
	case <-x.ended:
	case <-time.After(40 * time.Second):
		x.t.Fatalf("imagetier does not end\n%s", x.log)
	}
}

// answer is a response with its body.
type answer struct {
	*http.Response
	body []byte
}

func (x *tier) get(path string) answer {
	x.t.Helper()
	return fetch(x.t, x.public+path)
}

func fetch(t testing.TB, url string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	return answer{resp, body}
}

// want fails the test unless the answer has that status and that detail in Cache-Status.
func (a answer) want(t *testing.T, status int, detail string) {
	t.Helper()
	if got := a.Header.Get("Cache-Status"); a.StatusCode != status || !strings.HasSuffix(got, "detail="+detail) {
		t.Fatalf("%s: %d %q, want %d with detail=%s\n%s",
			a.Request.URL, a.StatusCode, got, status, detail, firstBytes(a.body))
	}
}

func firstBytes(b []byte) string { return fmt.Sprintf("%.300q", b) }

// run runs imagetier and returns its output.
func run(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "imagetier"), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("imagetier %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return strings.TrimSpace(string(out))
}

// sign returns the path of a variant, as imagetier sign prints it.
func sign(t testing.TB, name, version, spec, format string) string {
	t.Helper()
	args := []string{"sign", "--keys", key, "--source", "posts", "--name", name, "--version", version, "--spec", spec}
	if format != "" {
		args = append(args, "--format", format)
	}
	return run(t, args...)
}

// photos returns the directory of real photos, or skips the test.
func photos(t testing.TB) string {
	t.Helper()
	return testutil.Photos(t)
}

// copyPhoto copies a real photo into dir, where a test may change it.
func copyPhoto(t *testing.T, dir, name string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(photos(t), name))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
		t.Fatal(err)
	}
}
