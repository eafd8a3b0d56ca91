package workers_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/novasocial/imagetier/internal/testutil"
	"github.com/novasocial/imagetier/resize"
	"github.com/novasocial/imagetier/resize/workers"
)

// BenchmarkAllocators compares one child with each allocator that is installed (make
// bench-allocators): CPU time per image and resident memory, for phone photos and other kinds in
// turn. DefaultEnv uses the best one.
func BenchmarkAllocators(b *testing.B) {
	var originals [][]byte
	for _, name := range []string{
		"phone-srgb.jpg", "phone-orient6-p3.jpg", "paper-alpha.png", "phone-android.jpg",
		"progressive-p3.jpg", "phone-p3-b.jpg", "vertical.webp", "phone-portrait-p3.jpg",
	} {
		originals = append(originals, testutil.Photo(b, name))
	}
	specs := []resize.Spec{spec("640x640.jpg"), spec("640x640.webp"), spec("200x200-cover.webp")}
	without := slices.DeleteFunc(workers.DefaultEnv(), func(v string) bool { return strings.HasPrefix(v, "MALLOC_") })
	type allocator struct {
		name string
		env  []string
	}
	all := []allocator{
		{"glibc", without},
		{"glibc, 1 arena", append(slices.Clone(without), "MALLOC_ARENA_MAX=1")},
		{"glibc, 2 arenas", append(slices.Clone(without), "MALLOC_ARENA_MAX=2")},
	}
	for _, lib := range []string{"libjemalloc.so.2", "libtcmalloc_minimal.so.4", "libmimalloc.so.2"} {
		found, err := filepath.Glob("/usr/lib/*/" + lib)
		if err != nil || len(found) == 0 {
			b.Logf("%s is not installed", lib)
			continue
		}
		all = append(all, allocator{lib, append(slices.Clone(without), "LD_PRELOAD="+found[0])})
	}
	for _, a := range all {
		b.Run(a.name, func(b *testing.B) {
			cfg := real(b, workers.Config{Workers: 1, ExpensiveWorkers: 1, MaxRSS: 4 << 30, Timeout: time.Minute})
			cfg.Env = a.env
			p := running(b, cfg)
			one := func(i int) {
				if _, err := resize.Make(b.Context(), p, originals[i%len(originals)], specs...); err != nil {
					b.Fatal(err)
				}
			}
			for i := range originals {
				one(i)
			}
			before, images := cpuOf(b, children(b)), 0
			for b.Loop() {
				for i := range originals {
					one(i)
				}
				images += len(originals) * len(specs)
			}
			b.ReportMetric(float64((cpuOf(b, children(b))-before).Microseconds())/1000/float64(images), "cpu-ms/image")
			var now, most int64
			for _, pid := range children(b) {
				now, most = now+statusOf(b, pid, "VmRSS"), most+statusOf(b, pid, "VmHWM")
			}
			b.ReportMetric(float64(now)/1024, "MiB-resident")
			b.ReportMetric(float64(most)/1024, "MiB-at-most")
		})
	}
}

// cpuOf returns the CPU time that processes have taken.
func cpuOf(b *testing.B, pids []int) (d time.Duration) {
	b.Helper()
	for _, pid := range pids {
		var used unix.Timespec
		if err := unix.ClockGettime(int32(^pid)<<3|2, &used); err != nil { // clock_getcpuclockid
			b.Fatal(err)
		}
		d += time.Duration(used.Nano())
	}
	return d
}

// statusOf returns a line of /proc/PID/status, in KiB.
func statusOf(b *testing.B, pid int, name string) int64 {
	b.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		b.Fatal(err)
	}
	_, line, _ := strings.Cut(string(status), name+":")
	n, err := strconv.ParseInt(strings.Fields(line)[0], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return n
}
