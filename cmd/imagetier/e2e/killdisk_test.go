package e2e

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// readyWithin bounds the time from start to readiness, for any state of the directory. It must
// hold for most starts: a busy machine may exceed it once.
const readyWithin = 2 * time.Second

// fromEnvironment returns the number in a variable, else usual, or short with -short.
func fromEnvironment(t *testing.T, name string, usual, short int) int {
	t.Helper()
	if text := os.Getenv(name); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return n
	}
	if testing.Short() {
		return short
	}
	return usual
}

// Each life ends with kill -9 at work, and the next one starts in the same directory.
// IMAGETIER_E2E_LIVES says how many (10), IMAGETIER_E2E_SEED when they end.
func TestTier_Kill_KeepsStoredImages(t *testing.T) {
	t.Parallel()
	lives := fromEnvironment(t, "IMAGETIER_E2E_LIVES", 10, 3)
	seed := fromEnvironment(t, "IMAGETIER_E2E_SEED", rand.IntN(1_000_000), 1)
	t.Logf("IMAGETIER_E2E_SEED=%d", seed)
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	a := newAlbum(t)
	cache := t.TempDir()
	var starts []time.Duration
	next := 0
	for life := range lives {
		began := time.Now()
		x := a.start(cache)
		starts = append(starts, time.Since(began))
		known := a.known()
		waitRecovered(x, len(known)*9/10)
		// A part of them: a slow machine would make more meanwhile than it requests.
		random.Shuffle(len(known), func(i, j int) { known[i], known[j] = known[j], known[i] })
		known = known[:min(len(known), 200)]

		readers := a.crowd(x, 8, next)
		if hits := a.askFor(x, known); hits*10 < len(known)*9 { // while the readers continue
			t.Errorf("life %d: %d of the %d images that were answered before are hits", life, hits, len(known))
		}
		readers.waitFor(random.IntN(120)) // with 0 it is killed while it starts
		readers.dying.Store(true)
		x.kill()
		readers.leave()
		next = int(readers.next.Load())
		if t.Failed() {
			t.Fatalf("life %d of seed %d", life, seed)
		}
	}
	slices.Sort(starts)
	t.Logf("%d images; ready after %v (median), %v (longest)",
		len(a.known()), starts[len(starts)/2], starts[len(starts)-1])
	if median := starts[len(starts)/2]; median > readyWithin {
		t.Errorf("ready after %v, want %v", median, readyWithin)
	}
}

// A second tier on the same directory would overwrite the files of the first.
func TestTier_CacheDir_RefusesSecondProcess(t *testing.T) {
	t.Parallel()
	a := newAlbum(t)
	cache := t.TempDir()
	x := a.start(cache)
	a.ask(x, 0, 5)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	second := exec.CommandContext(
		ctx,
		filepath.Join(bin, "imagetier"),
		append([]string{"serve"}, a.flags(cache, "--listen", "127.0.0.1:0", "--private-listen", "127.0.0.1:0")...)...)
	output, err := second.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("the second ended with %v, want exit status 1", err)
	}
	for _, word := range []string{"in use by another process", cache} {
		if !strings.Contains(string(output), word) {
			t.Errorf("it says %q, want %q in it", output, word)
		}
	}
	if hits := a.ask(x, 0, 5); hits != 5 {
		t.Errorf("%d of 5 are hits of the first one", hits)
	}
	a.ask(x, 5, 10)
	x.stop()
	x = a.start(cache) // the lock ended with its owner
	waitRecovered(x, 10)
	if hits := a.ask(x, 0, 10); hits != 10 {
		t.Errorf("%d of 10 are hits after a restart", hits)
	}
}

// After a downgrade the directory may have files that this version cannot read: they are kept, and
// the log says so.
func TestTier_CacheDir_SetsOtherVersionsAside(t *testing.T) {
	t.Parallel()
	a := newAlbum(t)
	cache := t.TempDir()
	x := a.start(cache, smallDisks...)
	a.ask(x, 0, 30)
	x.stop()
	oldest := segmentsIn(t, cache, "variants")[0]
	edit(t, oldest, func(b []byte) []byte {
		b[8] = 2 // the version, and the checksum of it and the magic before it
		binary.LittleEndian.PutUint32(b[12:], crc32.Checksum(b[:12], crc32.MakeTable(crc32.Castagnoli)))
		return b
	})
	before, err := os.ReadFile(oldest)
	if err != nil {
		t.Fatal(err)
	}

	x = a.start(cache, smallDisks...)
	if hits := a.ask(x, 0, 30); hits == 30 {
		t.Error("all are hits although one file cannot be read")
	}
	eventually(t, recovery, "the log to say that it is set aside", func() bool {
		return strings.Contains(x.log.String(), "aside") &&
			strings.Contains(x.log.String(), filepath.Base(oldest)) &&
			strings.Contains(x.log.String(), "version 2")
	})
	aside, err := filepath.Glob(filepath.Join(cache, "variants", "*.unknown-*"))
	if err != nil || len(aside) != 1 {
		t.Fatalf("set aside: %v, %v", aside, err)
	}
	if after, err := os.ReadFile(aside[0]); err != nil || string(after) != string(before) {
		t.Errorf("the file set aside has changed: %d bytes, want %d; error %v", len(after), len(before), err)
	}
	if hits := a.ask(x, 0, 30); hits != 30 {
		t.Errorf("%d of 30 are hits once made again", hits)
	}
}

// segmentsIn returns the files of a disk tier, oldest first.
func segmentsIn(t *testing.T, cache, tier string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(cache, tier, "*.seg"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s holds no segments (%v)", tier, err)
	}
	slices.Sort(paths)
	return paths
}

// edit changes a file.
func edit(t *testing.T, path string, change func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b = change(b)
	f, err := os.OpenFile(path, os.O_RDWR, 0) // in place, so that a process that has it open sees it
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(int64(len(b))); err != nil {
		t.Fatal(err)
	}
}
