package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// clockTick is the unit of the times in /proc: 10 ms on every Linux that Go runs on.
const clockTick = 10e6 // ns

// cpuOf returns the CPU time of a process and its reaped children, in ns.
func cpuOf(b testing.TB, pid int) float64 {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0 // it has ended; its CPU time counts for its parent
	}
	// The second field is the name in parentheses, which may contain any character.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	total := 0.0
	for _, field := range fields[11:15] { // utime stime cutime cstime
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			b.Fatal(err)
		}
		total += n
	}
	return total * clockTick
}

// cpuOfAll returns the CPU time of the tier with its resize processes.
func cpuOfAll(b *testing.B, x *tier) float64 {
	total := cpuOf(b, x.cmd.Process.Pid)
	for _, pid := range childPIDs(x) {
		total += cpuOf(b, pid)
	}
	return total
}

func childPIDs(x *tier) (pids []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", x.cmd.Process.Pid))
	for _, task := range tasks {
		list, _ := os.ReadFile(task)
		for _, field := range strings.Fields(string(list)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// benchTier starts a tier over the real photos.
func benchTier(b *testing.B, memory string) *tier {
	b.Helper()
	dir := photos(b)
	return start(
		b,
		"--listen", freePort(b), "--private-listen", freePort(b), "--keys", key, "--source", "posts=dir://"+dir,
		"--cache-dir", b.TempDir(), "--log-level", "warn", "--cache-memory-size", memory,
		"--cache-disk-size", "2GiB", "--cache-originals-size", "1GiB",
	)
}

// signed is sign without running a command.
func signed(b *testing.B, name, version, spec, format string) string {
	b.Helper()
	return signedPath(b, "/"+spec+"/"+version+"/posts/"+name+"."+format)
}

// seriesOf returns the value of a metric.
func seriesOf(b *testing.B, x *tier, series string) float64 {
	b.Helper()
	v, err := strconv.ParseFloat(metric(b, x, series), 64)
	if err != nil {
		b.Fatalf("%s: %v", series, err)
	}
	return v
}

// drain fetches url and fails unless it came from the given tier; "" is memory or disk.
func drain(b *testing.B, client *http.Client, url, detail string) {
	resp, err := client.Get(url)
	if err != nil {
		b.Error(err)
		return
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	status := resp.Header.Get("Cache-Status")
	right := strings.HasSuffix(status, "detail="+detail) || detail == "" && strings.Contains(status, "; hit;")
	if err != nil || resp.StatusCode != http.StatusOK || n != resp.ContentLength || !right {
		b.Errorf("%s: %s, %d bytes, %v, Cache-Status: %s; want detail=%s", url, resp.Status, n, err, status, detail)
	}
}

// report reports the CPU time of the tier per answer.
func report(b *testing.B, x *tier, before float64) {
	b.Helper()
	spent := cpuOfAll(b, x) - before
	if per := spent / float64(b.N); per >= 1e6 {
		b.ReportMetric(per/1e6, "tier-cpu-ms/op")
	} else {
		b.ReportMetric(per/1e3, "tier-cpu-µs/op")
	}
}

// BenchmarkAnswer measures one answer of a running tier over keep-alive connections. The client
// runs on the same machine.
func BenchmarkAnswer(b *testing.B) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	hits := func(b *testing.B, x *tier, urls []string, detail string) {
		before := cpuOfAll(b, x)
		var next atomic.Int64
		b.ResetTimer()
		b.SetParallelism(4)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				drain(b, client, urls[int(next.Add(1))%len(urls)], detail)
			}
		})
		b.StopTimer()
		report(b, x, before)
	}
	b.Run("memory hit 20 KB", func(b *testing.B) {
		x := benchTier(b, "256MiB")
		url := x.public + signed(b, "phone-srgb.jpg", "v.1", "400x", "jpg")
		drain(b, client, url, "origin")
		hits(b, x, []string{url}, "memory")
	})
	b.Run("disk hit 20 KB", func(b *testing.B) {
		x := benchTier(b, "8MiB")
		var urls []string
		for i := range 800 { // 16 MB in a round: rarely in memory when they are requested
			urls = append(urls, x.public+signed(b, "phone-srgb.jpg", "v."+strconv.Itoa(i), "400x", "jpg"))
			drain(b, client, urls[i], "origin")
		}
		served := seriesOf(b, x, `imagetier_cache_hits_total{tier="disk"}`)
		hits(b, x, urls, "")
		b.ReportMetric(
			100*(seriesOf(b, x, `imagetier_cache_hits_total{tier="disk"}`)-served)/float64(b.N),
			"%from-disk",
		)
	})
	for _, c := range [][3]string{
		{"phone-srgb.jpg", "640x", "jpg"}, {"phone-srgb.jpg", "640x", "webp"}, {"phone-srgb.jpg", "640x", "avif"},
		{"phone-srgb.jpg", "200x200-cover", "webp"},
		{"phone-orient6-p3.jpg", "640x", "jpg"},
		{"progressive-p3.jpg", "640x", "jpg"},
		{"photo.avif", "640x", "jpg"}, {"photo.heic", "640x", "jpg"},
		{"vertical.webp", "640x", "webp"}, {"paper-alpha.png", "640x", "webp"},
	} {
		b.Run(fmt.Sprintf("miss %s %s.%s", c[0], c[1], c[2]), func(b *testing.B) {
			x := benchTier(b, "64MiB")
			drain(b, client, x.public+signed(b, c[0], "v.warm", c[1], c[2]), "origin")
			urls := make([]string, b.N)
			for i := range urls {
				urls[i] = x.public + signed(b, c[0], "v."+strconv.Itoa(i), c[1], c[2])
			}
			before := cpuOfAll(b, x)
			b.ResetTimer()
			for _, url := range urls {
				drain(b, client, url, "origin")
			}
			b.StopTimer()
			report(b, x, before)
		})
	}
}
