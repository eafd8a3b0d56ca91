package stack

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shell returns a process that runs a shell script and is ready when it prints so.
func shell(t *testing.T, script string) *Process {
	t.Helper()
	p := &Process{
		Name:  "shell",
		path:  "/bin/sh",
		args:  []string{"-c", script},
		log:   filepath.Join(t.TempDir(), "log"),
		ready: func(line string) bool { return line == "ready" },
	}
	t.Cleanup(p.stop)
	return p
}

// has reports whether the process has ended.
func (p *Process) has(t *testing.T) bool {
	t.Helper()
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

func TestProcess_KillAndRestart(t *testing.T) {
	p := shell(t, "echo ready; exec sleep 600")
	if err := p.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := p.cmd.Process.Pid
	if p.RSS() <= 0 {
		t.Error("RSS of a running process is 0")
	}
	if err := p.Kill(); err != nil || !p.has(t) {
		t.Fatal(err)
	}
	if err := p.Restart(t.Context()); err != nil || p.cmd.Process.Pid == first {
		t.Fatal(err)
	}
	p.stop()
	if !p.has(t) || p.RSS() != 0 {
		t.Error("the process still runs after stop, or has an RSS")
	}
	p.stop() // a second call does nothing
}

func TestProcess_FrozenEnds(t *testing.T) {
	p := shell(t, "trap 'echo bye; exit' TERM; echo ready; while :; do sleep 0.1; done")
	if err := p.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Freeze(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); state(t, p) != "T"; {
		if time.Now().After(deadline) {
			t.Fatalf("the process is in state %s, want T (stopped)", state(t, p))
		}
	}
	if err := p.Thaw(); err != nil {
		t.Fatal(err)
	}
	_ = p.Freeze()
	p.stop()
	if !p.has(t) || !strings.Contains(p.lastWords(), "bye") {
		t.Errorf("ended: %v, want true; last output %q, want bye in it", p.has(t), p.lastWords())
	}
}

// state returns the process state from /proc.
func state(t *testing.T, p *Process) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", pid(p), "stat"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return rest[:1]
}

func TestProcess_EndsAtOnce(t *testing.T) {
	err := shell(t, "echo no such flag >&2; exit 2").start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no such flag") {
		t.Error(err)
	}
}

func TestPhotos_CopiedUntilEnough(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "originals")
	if _, err := copyPhotos(from, to); err == nil {
		t.Error("copied photos from an empty directory")
	}
	for _, name := range []string{"a.jpg", "b.jpg", "c.jpg"} {
		if err := os.WriteFile(filepath.Join(from, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	copied, err := copyPhotos(from, to)
	if err != nil || len(copied) != photosNeeded {
		t.Fatalf("%q, %v", copied, err)
	}
	if text, err := os.ReadFile(filepath.Join(to, copied[4])); string(text) != "b.jpg" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestFreeAddresses_Differ(t *testing.T) {
	free, err := freeAddresses(20)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, at := range free {
		seen[at] = true
	}
	if len(seen) != 20 {
		t.Errorf("%q", free)
	}
}
