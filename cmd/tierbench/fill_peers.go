package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/resize"
)

const (
	tierAddress = "127.0.0.1:18500"
	tierPrivate = "127.0.0.1:18501"
	peerAddress = "127.0.0.1:18502"
)

// start starts imagetier and its peer over the originals in the directory, with default settings.
func (c *fillCmd) start(ctx context.Context, dir, originals string) (peers [2]fillPeer, stop func(), err error) {
	var running []*exec.Cmd
	stop = func() {
		for _, cmd := range running {
			_ = cmd.Process.Signal(os.Interrupt)
			_ = cmd.Wait()
		}
	}
	run := func(env []string, program string, args ...string) (int, error) {
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.Env = append(os.Environ(), env...)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			return 0, err
		}
		running = append(running, cmd)
		return cmd.Process.Pid, nil
	}
	secret := bytes.Repeat([]byte{0xab}, 32)
	pid, err := run([]string{"IMAGETIER_KEYS=k1=" + hex.EncodeToString(secret)}, filepath.Join(c.Bin, "imagetier"),
		"serve", "--log-level", "error", "--listen", tierAddress, "--private-listen", tierPrivate,
		"--source", "p=dir://"+originals, "--cache-dir", filepath.Join(dir, "cache"))
	if err != nil {
		return peers, stop, err
	}
	signer, err := imageurl.NewSigner(imageurl.Key{ID: "k1", Secret: secret})
	if err != nil {
		return peers, stop, err
	}
	pinned, err := imageurl.ParseVersion("v.1")
	if err != nil {
		return peers, stop, err
	}
	peers[0] = fillPeer{"imagetier", pid, "http://" + tierAddress, func(s resize.Spec, original string) string {
		ref, err := imageurl.NewRef("p", original, pinned, s)
		if err != nil {
			panic(err) // both are this program's
		}
		return signer.Path(ref)
	}}
	if peers[1], err = c.startPeer(run, originals); err != nil {
		return peers, stop, err
	}
	return peers, stop, errors.Join(ready("http://"+tierPrivate+"/readyz"), ready(peers[1].base+"/health"))
}

func (c *fillCmd) startPeer(run func([]string, string, ...string) (int, error), originals string) (fillPeer, error) {
	base := "http://" + peerAddress
	if c.Imgproxy == "" {
		pid, err := run(nil, filepath.Join(c.Bin, "leanvips"), peerAddress, originals)
		return fillPeer{"lean libvips", pid, base, func(s resize.Spec, original string) string {
			crop := ""
			if s.Fit == resize.FitCover {
				crop = "crop/"
			}
			return fmt.Sprintf("/%dx%d/%d/%s%s.%s", s.Width, s.Height, s.EncodeQuality(), crop, original, s.Format)
		}}, err
	}
	pid, err := run([]string{
		"IMGPROXY_BIND=" + peerAddress, "IMGPROXY_LOCAL_FILESYSTEM_ROOT=" + originals, "IMGPROXY_LOG_LEVEL=error",
		"IMGPROXY_JPEG_PROGRESSIVE=true",
	}, c.Imgproxy)
	return fillPeer{"imgproxy", pid, base, func(s resize.Spec, original string) string {
		fit := "fit"
		if s.Fit == resize.FitCover {
			fit = "fill"
		}
		return fmt.Sprintf("/insecure/rs:%s:%d:%d/q:%d/plain/local:///%s@%s",
			fit, s.Width, s.Height, s.EncodeQuality(), original, s.Format)
	}}, err
}

// ready waits until a server responds.
func ready(url string) error {
	for range 100 {
		if resp, err := http.Get(url); err == nil {
			resp.Body.Close()
			if resp.StatusCode != http.StatusServiceUnavailable {
				return nil
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("%s does not answer within 10 s", url)
}

// treeCPU returns the CPU seconds of a process and its descendants, including those that have
// ended.
func treeCPU(pid int) float64 {
	sum := procTicks(fmt.Sprintf("/proc/%d/stat", pid))
	var children []byte
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		more, _ := os.ReadFile(task) // the task may have ended
		children = append(append(children, ' '), more...)
	}
	for _, child := range strings.Fields(string(children)) {
		if id, err := strconv.Atoi(child); err == nil {
			sum += treeCPU(id)
		}
	}
	return sum
}

// settledCPU waits until the process tree is idle, since a mezzanine is made after the answer.
func settledCPU(pid int) float64 {
	for last := treeCPU(pid); ; {
		time.Sleep(300 * time.Millisecond)
		now := treeCPU(pid)
		if now-last < 0.03 {
			return now
		}
		last = now
	}
}

const ticks = 100 // per second, in /proc

// procTicks returns user and system time in seconds, including those of reaped children.
func procTicks(file string) (sum float64) {
	text, _ := os.ReadFile(file)
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	for _, at := range []int{11, 12, 13, 14} {
		if at < len(fields) {
			n, _ := strconv.ParseFloat(fields[at], 64)
			sum += n / ticks
		}
	}
	return sum
}

// machine is the total CPU time of all processes up to a point in time.
type machine struct {
	at   time.Time
	busy float64 // CPU seconds
}

func readMachine() machine {
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	m := machine{at: time.Now()}
	for i, field := range strings.Fields(line) {
		if n, err := strconv.ParseFloat(field, 64); err == nil && i != 4 && i != 5 && i < 9 { // not idle, iowait
			m.busy += n / ticks
		}
	}
	return m
}

// others returns the share of the machine's CPU that other processes have used since before. own is
// the CPU seconds of the peers.
func (m machine) others(before machine, own float64) float64 {
	all := m.at.Sub(before.at).Seconds() * float64(runtime.NumCPU())
	return (m.busy - before.busy - own - procTicks("/proc/self/stat")) / all
}
