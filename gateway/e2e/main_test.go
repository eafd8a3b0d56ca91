// Package e2e tests the built gateway with a real tier, on the loopback interface.
package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/novasocial/imagetier/internal/testutil"
)

const (
	key        = "k1=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	hookSecret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
	adminToken = "e2e-admin-token-1"
	iPhone     = "App/1.0 (iPhone; iOS 17.4; Scale/3.00)"
)

// bin is the directory in which TestMain built the programs.
var bin string

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("end-to-end tests do not run with -short")
		os.Exit(0)
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "imagetier-gateway-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		bin = dir
		for _, b := range []struct{ module, pkg, cgo string }{
			{"../..", "./cmd/imagetier", "0"},
			{"../..", "./cmd/imagetier-resize", "1"},
			{"..", "./cmd/imagetier-gateway", "0"},
		} {
			cmd := exec.Command("go", "build", "-o", dir+"/", b.pkg)
			cmd.Dir = b.module
			cmd.Env = append(os.Environ(), "CGO_ENABLED="+b.cgo)
			if out, err := cmd.CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "build %s (is libvips-dev there? make test installs it): %v\n%s",
					b.pkg, err, out)
				return 1
			}
		}
		return m.Run()
	}())
}

// program is a running imagetier or imagetier-gateway.
type program struct {
	t               *testing.T
	public, private string // URLs
	process         *os.Process
	mu              sync.Mutex
	log             strings.Builder
}

// start runs a program on ports of its own until the test ends.
func start(t *testing.T, name string, args ...string) *program {
	t.Helper()
	p := &program{t: t}
	args = append(args, "--listen=127.0.0.1:0", "--private-listen=127.0.0.1:0")
	cmd := exec.Command(filepath.Join(bin, name), args...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.process = cmd.Process
	serving, ended := make(chan [2]string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.mu.Lock()
			p.log.WriteString(lines.Text() + "\n")
			p.mu.Unlock()
			var entry struct{ Msg, Public, Private string }
			if json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Msg == "serving" {
				serving <- [2]string{url(entry.Public), url(entry.Private)}
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended // Wait closes the pipe, and may only be called when it was read to its end
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, p.output())
		}
	})
	select {
	case at := <-serving:
		p.public, p.private = at[0], at[1]
	case <-ended:
		t.Fatalf("%s ended: %s", name, p.output())
	case <-time.After(30 * time.Second):
		t.Fatalf("%s does not serve: %s", name, p.output())
	}
	return p
}

func (p *program) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

func url(address string) string {
	if strings.HasPrefix(address, "http") {
		return address
	}
	return "http://" + address
}

// photos returns a directory with a few pictures.
func photos(t *testing.T) (dir string, names []string) {
	t.Helper()
	from := testutil.Photos(t)
	dir = t.TempDir()
	for _, name := range []string{"phone-srgb.jpg", "phone-orient6-p3.jpg", "alpha.png", "progressive-p3.jpg"} {
		text, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return dir, names
}

// get sends a request as a phone does, and returns status, headers and body.
func get(t *testing.T, url string, headers ...string) (int, http.Header, string) {
	t.Helper()
	return send(t, http.MethodGet, url, nil, append([]string{"User-Agent: " + iPhone}, headers...)...)
}

// send sends a request with headers such as "Accept: image/webp", and returns status, headers and body.
func send(t *testing.T, method, url string, body []byte, headers ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(text)
}

// until repeats a request until done returns true.
func until(t *testing.T, condition string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !done(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute for: %s", condition)
		}
	}
}
