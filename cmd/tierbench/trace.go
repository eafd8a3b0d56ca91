package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
)

// request is a request for an object.
type request struct {
	id   uint32
	size int32 // bytes
}

// trace is a sequence of requests.
type trace struct {
	name     string
	requests []request
}

// footprint returns the number of distinct objects and their total size in bytes.
func (t trace) footprint() (objects int, bytes int64) {
	seen := make(map[uint32]bool)
	for _, r := range t.requests {
		if !seen[r.id] {
			seen[r.id] = true
			bytes += int64(r.size)
		}
	}
	return len(seen), bytes
}

// readTrace reads a file of object ids (int32, compressed with xz), whose sizes are those of
// sizeOf.
func readTrace(dir, name string, order binary.ByteOrder, most int) (trace, error) {
	cmd := exec.Command("xz", "-dc", filepath.Join(dir, name+".trace.xz"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		return trace{}, err
	}
	if err := cmd.Start(); err != nil {
		return trace{}, fmt.Errorf("xz: %w", err)
	}
	raw, err := io.ReadAll(out)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return trace{}, fmt.Errorf("read %s: %w", name, err)
	}
	return trace{name, idsOf(raw, order, most)}, nil
}

// idsOf reads at most most ids (0: all).
func idsOf(raw []byte, order binary.ByteOrder, most int) []request {
	n := len(raw) / 4
	if most > 0 {
		n = min(n, most)
	}
	requests := make([]request, n)
	for i := range requests {
		id := order.Uint32(raw[4*i:])
		requests[i] = request{id, sizeOf(id)}
	}
	return requests
}

// sizeOf returns the size of an object of a trace without sizes: lognormal by a hash of its id,
// median 16 KB, mean about 25 KB, between 1 and 400 KB.
func sizeOf(id uint32) int32 {
	h := fnv.New64a()
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], id)
	h.Write(b[:])
	random := rand.New(rand.NewPCG(h.Sum64(), 1))
	size := 16_000 * math.Exp(0.95*random.NormFloat64())
	return int32(min(max(size, 1_000), 400_000))
}

// cdn draws independent requests from the popularity and size distributions of a CDN. Real requests
// are not independent.
func cdn(dir string, n int) (trace, error) {
	var popularity struct {
		Counts  []float64 `json:"popularityBuckets"`
		Weights []float64 `json:"popularityWeights"`
	}
	var sizes struct {
		Ranges  []float64 `json:"valSizeRange"`
		Weights []float64 `json:"valSizeRangeProbability"`
	}
	for file, into := range map[string]any{"metacdn_pop.json": &popularity, "metacdn_sizes.json": &sizes} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			return trace{}, err
		}
		if err := json.Unmarshal(text, into); err != nil {
			return trace{}, fmt.Errorf("%s: %w", file, err)
		}
	}
	if len(popularity.Counts) == 0 || len(sizes.Ranges) == 0 {
		return trace{}, fmt.Errorf("the distributions in %s have an unexpected format", dir)
	}
	random := rand.New(rand.NewPCG(1, 2))
	pickBucket, pickSize := picker(popularity.Weights), picker(sizes.Weights)
	first := make([]float64, len(popularity.Counts)+1)
	for i, count := range popularity.Counts {
		first[i+1] = first[i] + count
	}
	sized := make(map[uint32]int32)
	t := trace{name: "metacdn"}
	for range n {
		bucket := pickBucket(random)
		id := uint32(first[bucket] + random.Float64()*popularity.Counts[bucket])
		size, ok := sized[id]
		if !ok {
			at := pickSize(random)
			low, high := sizes.Ranges[at], sizes.Ranges[min(at+1, len(sizes.Ranges)-1)]
			size = int32(min(max(low+random.Float64()*(high-low), 100), 400_000))
			sized[id] = size
		}
		t.requests = append(t.requests, request{id, size})
	}
	return t, nil
}

// picker returns a function that draws an index by weight.
func picker(weights []float64) func(*rand.Rand) int {
	sums := make([]float64, len(weights))
	total := 0.0
	for i, w := range weights {
		total += w
		sums[i] = total
	}
	return func(random *rand.Rand) int {
		return min(sort.SearchFloat64s(sums, random.Float64()*total), len(weights)-1)
	}
}

// feed returns a day of a social feed: posts by authors with Zipf-distributed followers, viewed
// mostly while they are new, each in one or two of four sizes, and occasionally old objects that
// are never requested again.
func feed(n int) trace {
	random := rand.New(rand.NewPCG(3, 4))
	audience := rand.NewZipf(random, 1.1, 8, 20_000)
	sizes := [...]int32{8_000, 18_000, 42_000, 90_000}
	t := trace{name: "feed"}
	var posts []uint64 // ranks of their authors, newest last
	for i := range n {
		if i%40 == 0 { // a post every forty views
			posts = append(posts, audience.Uint64())
		}
		if random.IntN(8) == 0 { // a one-hit wonder
			t.requests = append(t.requests, request{1<<31 | uint32(i), sizes[random.IntN(len(sizes))]})
			continue
		}
		for {
			age := int(random.ExpFloat64() * 3_000) // views are of the newest few thousand posts
			if age >= len(posts) {
				age = random.IntN(len(posts))
			}
			at := len(posts) - 1 - age
			if rank := posts[at]; random.Float64() < 30/float64(30+rank) { // large audiences see it more often
				size := (at + random.IntN(3)/2) % len(sizes)
				t.requests = append(t.requests, request{uint32(at)<<2 | uint32(size), sizes[size] + int32(at%4_000)})
				break
			}
		}
	}
	return t
}
