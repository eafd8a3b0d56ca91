package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/novasocial/imagetier/resize"
)

// fillCmd measures the first size of originals that no server has seen, and six sizes requested at once.
type fillCmd struct {
	Photos   string `default:"../../deploy/photos" help:"Directory of JPEGs. The eight largest are used."`
	Bin      string `default:"../../bin"           help:"Directory of imagetier and leanvips."`
	Imgproxy string `help:"imgproxy binary to compare with. If it is empty, leanvips is the peer."`
	Rounds   int    `default:"3"                   help:"Paired rounds. Ratios are their medians."`
}

// fillCase is a size to measure, with its targets.
type fillCase struct {
	spec, format string
	cpu          float64 // maximum CPU time, relative to imgproxy
	ofLean       float64 // CPU time of imgproxy, relative to lean libvips (docs/benchmarks/fills.md)
}

var fillCases = []fillCase{
	{"640x640", "jpg", 0.92, 0.96},
	{"640x640", "webp", 0.92, 0.87},
	{"200x200-cover", "webp", 0.92, 0.97},
	{"1080x1080", "jpg", 0.88, 0.83},
}

// Targets of every case and of the set, relative to imgproxy.
const (
	wantFillP50  = 1.0
	wantFillRate = 1.05 // minimum
	wantFillSet  = 0.50
)

// fillSet has the sizes of one post.
var fillSet = []fillCase{
	{spec: "200x200-cover", format: "webp"}, {spec: "320x320", format: "webp"}, {spec: "640x640", format: "webp"},
	{spec: "1080x1080", format: "webp"}, {spec: "640x640", format: "jpg"}, {spec: "1080x1080", format: "jpg"},
}

// fillPeer is a running server.
type fillPeer struct {
	name string
	pid  int
	base string
	path func(s resize.Spec, original string) string
}

// fillFigures has the results of one peer in one round: CPU time of a fill in milliseconds, median
// latency in milliseconds, and fills per second with eight clients.
type fillFigures struct{ cpu, p50, rate float64 }

// Clients of the rate, and how many fills of each photo they make: a few seconds of work.
const (
	fillClients = 8
	fillRepeats = 10
)

func (c *fillCmd) Run() error {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "bench-fill-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b := &fillBench{dir: filepath.Join(dir, "originals")}
	if err := errors.Join(os.Mkdir(b.dir, 0o755), b.choose(c.Photos)); err != nil {
		return err
	}
	peers, stop, err := c.start(ctx, dir, b.dir)
	defer stop()
	if err != nil {
		return err
	}
	before, own := readMachine(), 0.0
	table := make(map[string][2][]fillFigures)
	for range c.Rounds {
		for _, one := range append(slices.Clone(fillCases), fillCase{spec: "six sizes"}) {
			name := strings.TrimSpace(one.spec + " " + one.format)
			rows := table[name]
			for i, p := range peers {
				f, spent, err := b.measure(ctx, p, one)
				if err != nil {
					return fmt.Errorf("%s %s: %w", p.name, name, err)
				}
				own += spent
				rows[i] = append(rows[i], f)
			}
			table[name] = rows
		}
	}
	return c.report(peers, table, readMachine().others(before, own))
}

// report prints the table. If the machine was otherwise idle, missed targets are an error.
func (c *fillCmd) report(peers [2]fillPeer, table map[string][2][]fillFigures, others float64) error {
	fmt.Printf("| first size | %s: CPU ms / p50 ms / fills a second | imagetier | ratios | wanted |\n", peers[1].name)
	fmt.Println("|---|---|---|---|---|")
	var missed []string
	for _, one := range append(slices.Clone(fillCases), fillCase{spec: "six sizes", cpu: wantFillSet}) {
		name := strings.TrimSpace(one.spec + " " + one.format)
		rows := table[name]
		scale := 1.0
		if c.Imgproxy == "" {
			scale = cmp.Or(one.ofLean, 0.9)
		}
		want := fillFigures{one.cpu * scale, wantFillP50 * scale, wantFillRate / scale}
		var ratio fillFigures
		for figure, at := range map[*float64]func(fillFigures) float64{
			&ratio.cpu:  func(f fillFigures) float64 { return f.cpu },
			&ratio.p50:  func(f fillFigures) float64 { return f.p50 },
			&ratio.rate: func(f fillFigures) float64 { return f.rate },
		} {
			var all []float64
			for i, f := range rows[0] {
				all = append(all, at(f)/at(rows[1][i]))
			}
			*figure = medianOf(all)
		}
		set := one.format == ""
		if ratio.cpu > want.cpu || !set && (ratio.p50 > want.p50 || ratio.rate < want.rate) {
			missed = append(missed, name)
		}
		fmt.Printf("| %s | %s | %s | %s | %s |\n", name, fillText(medians(rows[1]), set, "%.0f", "%.1f"),
			fillText(medians(rows[0]), set, "%.0f", "%.1f"), fillText(ratio, set, "%.2f", "%.2f"),
			fillText(want, set, "%.2f", "%.2f"))
	}
	if others > 0.1 {
		fmt.Printf("other processes took %.0f %% of the machine: the wanted ratios are not checked\n", 100*others)
		return nil
	}
	if len(missed) > 0 {
		return fmt.Errorf("targets are missed: %s", strings.Join(missed, ", "))
	}
	return nil
}

func fillText(f fillFigures, set bool, times, rate string) string {
	if set {
		return fmt.Sprintf(times, f.cpu)
	}
	return fmt.Sprintf(times+" / "+times+" / "+rate, f.cpu, f.p50, f.rate)
}

func medians(all []fillFigures) fillFigures {
	var cpu, p50, rate []float64
	for _, f := range all {
		cpu, p50, rate = append(cpu, f.cpu), append(p50, f.p50), append(rate, f.rate)
	}
	return fillFigures{medianOf(cpu), medianOf(p50), medianOf(rate)}
}

func medianOf(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

// fillBench sends the requests.
type fillBench struct {
	dir    string   // of originals
	photos []string // files of which originals are copies
	made   int      // originals
}

func (b *fillBench) choose(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.jpg"))
	if err != nil {
		return err
	}
	size := func(file string) int64 {
		if info, err := os.Stat(file); err == nil {
			return info.Size()
		}
		return 0
	}
	slices.SortFunc(files, func(x, y string) int { return cmp.Compare(size(y), size(x)) })
	if len(files) < 8 {
		return fmt.Errorf("%d JPEGs in %s, 8 are needed", len(files), dir)
	}
	b.photos = files[:8]
	return nil
}

// originals makes each photo n times an original that no server has seen, and returns their names.
func (b *fillBench) originals(n int) (names []string, err error) {
	for range n {
		for _, photo := range b.photos {
			content, err := os.ReadFile(photo)
			if err != nil {
				return nil, err
			}
			b.made++
			name := fmt.Sprintf("p%d.jpg", b.made)
			if err := os.WriteFile(filepath.Join(b.dir, name), content, 0o644); err != nil {
				return nil, err
			}
			names = append(names, name)
		}
	}
	return names, nil
}

// remove removes originals, before the system has written them to the disk.
func (b *fillBench) remove(names []string) (err error) {
	for _, name := range names {
		err = errors.Join(err, os.Remove(filepath.Join(b.dir, name)))
	}
	return err
}

// measure returns the figures of one case, and the total CPU seconds of the peer.
func (b *fillBench) measure(ctx context.Context, p fillPeer, one fillCase) (f fillFigures, spent float64, err error) {
	names, err := b.originals(1)
	if err != nil {
		return f, 0, err
	}
	start := treeCPU(p.pid)
	var took []float64
	for _, name := range names {
		begin := time.Now()
		if one.format == "" {
			err = b.together(ctx, p, name)
		} else {
			err = get(ctx, p, one, name)
		}
		if err != nil {
			return f, 0, err
		}
		took = append(took, float64(time.Since(begin).Milliseconds()))
	}
	f.cpu, f.p50 = 1000*(settledCPU(p.pid)-start)/float64(len(names)), medianOf(took)
	if one.format != "" {
		f.rate, err = b.eightClients(ctx, p, one)
	}
	return f, settledCPU(p.pid) - start, errors.Join(err, b.remove(names))
}

// together requests the six sizes of one original at once.
func (b *fillBench) together(ctx context.Context, p fillPeer, name string) error {
	errs := make([]error, len(fillSet))
	var all sync.WaitGroup
	for i, one := range fillSet {
		all.Go(func() { errs[i] = get(ctx, p, one, name) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// eightClients returns how many fills a second eight clients get.
func (b *fillBench) eightClients(ctx context.Context, p fillPeer, one fillCase) (rate float64, err error) {
	names, err := b.originals(fillRepeats)
	if err != nil {
		return 0, err
	}
	left := make(chan string, len(names))
	for _, name := range names {
		left <- name
	}
	close(left)
	errs := make([]error, fillClients)
	var all sync.WaitGroup
	begin := time.Now()
	for i := range fillClients {
		all.Go(func() {
			for name := range left {
				errs[i] = errors.Join(errs[i], get(ctx, p, one, name))
			}
		})
	}
	all.Wait()
	rate = float64(len(names)) / time.Since(begin).Seconds()
	return rate, errors.Join(append(errs, b.remove(names))...)
}

// get requests one size, and retries while the server is too busy.
func get(ctx context.Context, p fillPeer, one fillCase, name string) error {
	s, err := resize.ParseSpec(one.spec, one.format)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+p.path(s, name), nil)
	if err != nil {
		return err
	}
	for {
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		switch {
		case resp.StatusCode == http.StatusServiceUnavailable: // the queue is full: a client retries
			time.Sleep(100 * time.Millisecond)
		case err == nil && resp.StatusCode != http.StatusOK:
			return fmt.Errorf("%s: %.200s", resp.Status, body)
		default:
			return err
		}
	}
}
