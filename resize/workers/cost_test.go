package workers

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/novasocial/imagetier/internal/testutil"
	"github.com/novasocial/imagetier/resize"
)

func spec(t *testing.T, name string) resize.Spec {
	t.Helper()
	s, err := resize.ParseSpecName(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The predicted cost is within a factor of two of the measured one (docs/benchmarks/costs.md).
func TestCostOf_MatchesMeasurements(t *testing.T) {
	for _, c := range []struct {
		photo, spec string
		measured    time.Duration
		expensive   bool
	}{
		{"phone-srgb.jpg", "640x.jpg", 52 * time.Millisecond, false},
		{"phone-srgb.jpg", "640x.webp", 71 * time.Millisecond, false},
		{"phone-srgb.jpg", "640x.avif", 107 * time.Millisecond, false},
		{"progressive-p3.jpg", "640x.jpg", 170 * time.Millisecond, false},
		{"photo.avif", "640x.jpg", 155 * time.Millisecond, false},
		{"photo.heic", "640x.jpg", 485 * time.Millisecond, true},
	} {
		got := costOf(testutil.Photo(t, c.photo), []resize.Spec{spec(t, c.spec)})
		if got.cpu < c.measured/2 || got.cpu > c.measured*2 || got.expensive() != c.expensive {
			t.Errorf("%s to %s: %v and expensive %v, measured were %v",
				c.photo, c.spec, got.cpu, got.expensive(), c.measured)
		}
	}
}

func TestCostOf_CountsDecodingOnce(t *testing.T) {
	original := testutil.Photo(t, "phone-srgb.jpg")
	one := costOf(original, []resize.Spec{spec(t, "640x.webp")})
	two := costOf(original, []resize.Spec{spec(t, "640x.webp"), spec(t, "640x.avif")})
	if two.cpu <= one.cpu || two.cpu >= 2*one.cpu+60*time.Millisecond || two.memory != one.memory || one.avif ||
		!two.avif {
		t.Errorf("one %+v, two %+v", one, two)
	}
	if none := costOf([]byte("not an image"), []resize.Spec{spec(t, "640x.webp")}); none != (cost{}) {
		t.Errorf("cost of bytes that are not an image: %+v, want 0", none)
	}
}

// All sizes of a post run on the processes for cheap jobs, since none of them takes long; too many sizes do not.
func TestCost_Expensive_ManySpecs(t *testing.T) {
	original := testutil.Photo(t, "phone-portrait-p3.jpg")
	var specs []resize.Spec
	for _, name := range []string{"440x.webp", "880x.webp", "1320x.webp", "440x.jpg", "880x.jpg", "1320x.jpg"} {
		specs = append(specs, spec(t, name))
	}
	if c := costOf(original, specs); c.cpu < expensiveCPU || c.expensive() {
		t.Errorf("a post: %+v, want one that takes longer than one expensive image, but is not expensive", c)
	}
	if c := costOf(original, slices.Concat(specs, specs)); !c.expensive() {
		t.Errorf("twelve sizes: %+v, want an expensive one", c)
	}
}

func TestCostOf_AnimationCountsFrames(t *testing.T) {
	original := testutil.Photo(t, "animation.gif")
	all := costOf(original, []resize.Spec{spec(t, "320x.webp")})
	first := costOf(original, []resize.Spec{spec(t, "320x-still.webp")})
	if all.cpu < 2*first.cpu {
		t.Errorf("all frames %v, the first %v", all.cpu, first.cpu)
	}
}

func TestCostOf_Info(t *testing.T) {
	original := testutil.Photo(t, "phone-srgb.jpg")
	info := costOf(original, []resize.Spec{{Shape: resize.ShapeInfo, Format: resize.JSON}})
	if small := costOf(original, []resize.Spec{spec(t, "200x200-cover.webp")}); info.cpu > small.cpu ||
		info.expensive() {
		t.Errorf("info %v, 200x200 %v", info.cpu, small.cpu)
	}
}

func TestChild_Nice(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Skip("cannot start sleep: ", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	c := &child{cmd: cmd}
	niceness := func(pid int) int {
		raw, err := unix.Getpriority(unix.PRIO_PROCESS, pid)
		if err != nil {
			t.Fatal(err)
		}
		return 20 - raw // as the system call returns it
	}
	c.nice(expensiveNice)
	if got, own := niceness(cmd.Process.Pid), niceness(os.Getpid()); got != min(own+expensiveNice, 19) {
		t.Errorf("%d, want %d more than %d", got, expensiveNice, own)
	}
}

// A child may be starting threads while its niceness is set; none of them escapes it.
func TestChild_Nice_ThreadsThatStartMeanwhile(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FAKE_CHILD=threads")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	started := make([]byte, 300)
	if _, err := io.ReadFull(out, started[:50]); err != nil {
		t.Fatal(err)
	}
	(&child{cmd: cmd}).nice(expensiveNice)
	if _, err := io.ReadFull(out, started[50:]); err != nil {
		t.Fatal(err)
	}
	own, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", cmd.Process.Pid))
	if err != nil || len(threads) < 2 {
		t.Fatalf("%d threads, %v", len(threads), err)
	}
	for _, thread := range threads {
		tid, err := strconv.Atoi(filepath.Base(thread))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := unix.Getpriority(unix.PRIO_PROCESS, tid)
		if err == nil && raw != max(own-expensiveNice, 1) {
			t.Errorf("thread %d has niceness %d, want %d", tid, 20-raw, min(20-own+expensiveNice, 19))
		}
	}
}
