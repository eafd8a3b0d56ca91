// Command tierbench benchmarks imagetier and compares it with other programs and libraries. It is a
// separate module, so that those are not dependencies of imagetier.
package main

import (
	"fmt"
	"os"

	"github.com/alecthomas/kong"
)

type cli struct {
	Replay replayCmd `cmd:"" help:"Compare hit ratios of the memory tier and other caches on traces."`
	Memory memoryCmd `cmd:"" help:"Measure reads per second, memory and garbage collection of a full memory tier."`
	Page   pageCmd   `cmd:"" help:"Measure the load time of a feed page on a simulated phone."`
	Fill   fillCmd   `cmd:"" help:"First sizes of new originals, beside imgproxy or lean libvips."`
	Load   loadCmd   `cmd:"" help:"Run k6 load tests of the gateway, with faults."`
	Corpus corpusCmd `cmd:"" help:"Compare the resize program with other decoders on generated files of every kind."`
	Feed   feedCmd   `cmd:"" help:"Replay a day of a social feed with and without warming."`
	Plan   planCmd   `cmd:"" help:"Simulate the warming plan without a tier."`
}

func main() {
	var commands cli
	ctx := kong.Parse(
		&commands,
		kong.Name("tierbench"),
		kong.UsageOnError(),
		kong.Description(
			"Compares imagetier's tiers with others. Every figure is measured in this run, on this machine.",
		),
	)
	if err := ctx.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "tierbench:", err)
		os.Exit(1)
	}
}
