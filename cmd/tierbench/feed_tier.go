package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Secrets of tiers that are started here, for one run on the loopback interface.
const (
	feedKeys   = "bench=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	feedSecret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
)

// tierConfig configures a tier to start.
type tierConfig struct {
	program string // path of imagetier; imagetier-resize is in the same directory
	dir     string // its cache
	origin  string // URL of its source
	warm    string
	watch   time.Duration // --wasted-after
	more    []string      // flags
}

// tierProcess is a running tier.
type tierProcess struct {
	public, private string // URLs
	cmd             *exec.Cmd
	ended           chan struct{}
	mu              sync.Mutex
	logged          bytes.Buffer // guarded by mu: its log, shown if it ends
}

// startTier starts a tier and returns when it is ready.
func startTier(ctx context.Context, cfg tierConfig) (*tierProcess, error) {
	args := append([]string{
		"serve", "--log-format", "json", "--log-level", "info", "--listen", "127.0.0.1:0",
		"--private-listen", "127.0.0.1:0", "--allow-private-origins",
		"--source", sourceName + "=" + cfg.origin, "--cache-dir", cfg.dir,
		"--warm", cfg.warm, "--wasted-after", cfg.watch.String(),
		"--cache-memory-size", "256MiB", "--cache-disk-size", "4GiB", "--cache-originals-size", "1GiB",
	}, cfg.more...)
	x := &tierProcess{cmd: exec.Command(cfg.program, args...), ended: make(chan struct{})}
	x.cmd.Env = append(os.Environ(), "IMAGETIER_KEYS="+feedKeys, "IMAGETIER_WEBHOOK_SECRETS="+feedSecret)
	stderr, err := x.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := x.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the tier (make build builds it): %w", err)
	}
	listening := make(chan struct{})
	go func() {
		var once sync.Once
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			var line struct{ Level, Msg, Public, Private string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
				x.public, x.private = line.Public, line.Private
				once.Do(func() { close(listening) })
			}
			if line.Level != "INFO" {
				x.mu.Lock()
				x.logged.WriteString(lines.Text() + "\n")
				x.mu.Unlock()
			}
		}
		_ = x.cmd.Wait()
		close(x.ended)
	}()
	select {
	case <-listening:
	case <-x.ended:
		return nil, fmt.Errorf("the tier ended: %s", x.log())
	case <-time.After(30 * time.Second):
		x.stop()
		return nil, errors.New("the tier does not say where it listens")
	}
	if err := x.awaitReady(ctx); err != nil {
		x.stop()
		return nil, err
	}
	return x, nil
}

func (x *tierProcess) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, x.private+"/readyz", nil)
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
		case <-ctx.Done():
			return fmt.Errorf("the tier does not get ready: %s", x.log())
		case <-x.ended:
			return fmt.Errorf("the tier ended: %s", x.log())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// log returns the last lines of the tier's log.
func (x *tierProcess) log() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	text := x.logged.String()
	return text[max(0, len(text)-2000):]
}

// stop ends the tier and waits for it.
func (x *tierProcess) stop() {
	_ = x.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-x.ended:
	case <-time.After(40 * time.Second):
		_ = x.cmd.Process.Kill()
		<-x.ended
	}
}

// copyCache copies the cache of a stopped tier.
func copyCache(from, to string) error {
	for _, part := range []string{"originals", "variants"} {
		if _, err := os.Stat(filepath.Join(from, part)); err != nil {
			continue
		}
		if err := os.CopyFS(filepath.Join(to, part), os.DirFS(filepath.Join(from, part))); err != nil {
			return fmt.Errorf("copy the cache: %w", err)
		}
	}
	return nil
}

// copyLearnt copies the warming statistics of a stopped tier.
func copyLearnt(from, to string) error {
	const name = "warming.json"
	text, err := os.ReadFile(filepath.Join(from, name))
	if err == nil {
		err = os.WriteFile(filepath.Join(to, name), text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("copy the learned statistics: %w", err)
	}
	return nil
}
