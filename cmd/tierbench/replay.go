package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
)

// replayCmd replays traces into each cache.
type replayCmd struct {
	Traces string   `default:"../../../shared/traces" help:"Directory of the traces." type:"path"`
	Only   []string `help:"Replay only these: web07, web12, orm-busy, metacdn, feed."`
	SVG    string   `help:"Draw hit ratios by cache size into this file." placeholder:"FILE"`
	Most   int      `default:"2000000" help:"Maximum number of requests per trace."`
}

// Help implements kong.HelpProvider.
func (replayCmd) Help() string {
	return `Replays each trace into each cache at 1, 5 and 10 % of its footprint, starting empty; a miss stores the
object. The object hit ratio counts requests, the byte hit ratio their bytes.

If 1 % of a footprint is less than 16 MiB, all sizes of the trace are multiplied (the table has the factor), so that
shards and headers weigh as much as in production.`
}

var shares = []float64{0.01, 0.05, 0.10}

// ratio is the result of one replay, in percent.
type ratio struct{ objects, bytes float64 }

// result has the ratios of one trace, by contender and cache size.
type result struct {
	trace  string
	scale  int32
	ratios [][]ratio
}

// Run replays and prints.
func (c *replayCmd) Run() error {
	debug.SetGCPercent(50)
	var results []result
	for _, name := range []string{"web07", "web12", "orm-busy", "metacdn", "feed"} {
		if len(c.Only) > 0 && !strings.Contains(","+strings.Join(c.Only, ",")+",", ","+name+",") {
			continue
		}
		t, err := c.load(name)
		if err != nil {
			return err
		}
		r, err := replay(t, os.Stdout)
		if err != nil {
			return err
		}
		results = append(results, r)
	}
	if c.SVG == "" {
		return nil
	}
	return os.WriteFile(c.SVG, chart(results), 0o644)
}

func (c *replayCmd) load(name string) (trace, error) {
	switch name {
	case "feed":
		return feed(min(c.Most, 1_000_000)), nil
	case "metacdn":
		return cdn(c.Traces, min(c.Most, 1_000_000))
	case "orm-busy":
		return readTrace(c.Traces, name, binary.LittleEndian, c.Most)
	}
	return readTrace(c.Traces, name, binary.BigEndian, c.Most)
}

// replay runs one trace through all contenders and prints its table.
func replay(t trace, out io.Writer) (result, error) {
	objects, bytes := t.footprint()
	r := result{trace: t.name, scale: 1}
	for int64(float64(bytes)*shares[0])*int64(r.scale) < 16<<20 {
		r.scale *= 2
	}
	if r.scale > 1 {
		bytes *= int64(r.scale)
		for i := range t.requests {
			t.requests[i].size *= r.scale
		}
	}
	fmt.Fprintf(out, "\n%s: %d requests, %d objects, %.0f MiB (sizes ×%d); objects %% / bytes %%\n\n",
		t.name, len(t.requests), objects, float64(bytes)/(1<<20), r.scale)
	fmt.Fprintf(out, "| cache | 1 %% | 5 %% | 10 %% |\n|---|---|---|---|\n")
	for _, who := range contenders {
		var row []ratio
		fmt.Fprintf(out, "| %s |", who.name)
		for _, share := range shares {
			c, err := who.open(int64(float64(bytes) * share))
			if err != nil {
				return r, fmt.Errorf("%s: %w", who.name, err)
			}
			one := t.through(c)
			row = append(row, one)
			fmt.Fprintf(out, " %.1f / %.1f |", one.objects, one.bytes)
		}
		fmt.Fprintln(out)
		r.ratios = append(r.ratios, row)
	}
	return r, nil
}

// through replays t through c.
func (t trace) through(c cache) ratio {
	var hits, asked, hitBytes, askedBytes int64
	for _, r := range t.requests {
		asked++
		askedBytes += int64(r.size)
		if c.ask(r) {
			hits++
			hitBytes += int64(r.size)
		}
	}
	return ratio{100 * float64(hits) / float64(asked), 100 * float64(hitBytes) / float64(askedBytes)}
}
