package settings_test

import (
	"testing"
	"time"

	"github.com/novasocial/imagetier/internal/settings"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "4096": 4096, "4096B": 4096, "50GiB": 50 << 30, "1.5GiB": 3 << 29, "512MiB": 512 << 20, "1KiB": 1024,
		"2TiB": 2 << 40, "50GB": 50e9, "1.25MB": 1_250_000, "1kB": 1000,
		"1TB": 1e12, "0.5B": 0, "8388607TiB": 8388607 << 40,
	} {
		if got, err := settings.ParseSize(text); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "GiB", "50G", "50g", "50gib", "50 GiB", " 50GiB", "50GiB ", "-1", "+1",
		"1e3", "0x10", "1,5GiB", "1.GiB", ".5GiB", "1..5GiB",
		"1.5.5GiB", "5GiBB", "5KB", "5iB", "9223372036854775808", "8388608TiB",
		"99999999999999999999TiB", "1.1234567GiB", "١GiB",
	} {
		if got, err := settings.ParseSize(text); err == nil {
			t.Errorf("%q is read as %d", text, got)
		}
	}
}

func FuzzFormatSize_ReadsBack(f *testing.F) {
	for _, n := range []int64{0, 1, 1023, 1024, 5 << 30, 1<<62 - 1} {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, n int64) {
		if n < 0 || n > 1<<63-2 {
			return
		}
		text := settings.FormatSize(n)
		if back, err := settings.ParseSize(text); err != nil || back != n {
			t.Fatalf("%d is written %q and read as %d, %v", n, text, back, err)
		}
	})
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 5 * time.Second: "5s", 90 * time.Minute: "1h30m",
		24 * time.Hour: "24h", time.Hour + time.Second: "1h0m1s",
		200 * time.Millisecond: "200ms", 10 * time.Minute: "10m", 70 * time.Second: "1m10s",
	} {
		got := settings.FormatDuration(d)
		if back, err := time.ParseDuration(got); got != want || err != nil || back != d {
			t.Errorf("%d is written %q, want %q", d, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{
		"listen",
		"private-listen",
		"cache-dir",
		"cache-disk-size",
		"cache-memory-size",
		"cache-originals-size",
		"keys",
		"keys-file",
		"workers",
		"log-level",
	}
	for typed, want := range map[string]string{
		"cache-disc-size": "cache-disk-size", "cache-size": "cache-dir",
		"cache_disk_size": "cache-disk-size", "CACHE.DISK.SIZE": "cache-disk-size",
		"key": "keys", "kesy": "keys", "worker": "workers", "privatelisten": "private-listen",
		"loglevel": "log-level", "cache-mem-size": "cache-memory-size",
	} {
		if got := settings.Nearest(typed, names); got != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
	if got := settings.Nearest("x", nil); got != "" {
		t.Errorf("%q", got)
	}
}
