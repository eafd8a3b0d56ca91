// Command tierbench compares imagetier's tiers with others: on traces, side by side in
// one run. It is a module of its own, so that what it compares with stays out of the product.
package main

import (
	"fmt"
	"os"

	"github.com/alecthomas/kong"
)

type cli struct {
	Replay replayCmd `cmd:"" help:"Hit ratios of the memory tier and of others on traces."`
	Memory memoryCmd `cmd:"" help:"Reads a second, memory and garbage collection of a full memory tier."`
	Page   pageCmd   `cmd:"" help:"How long a page of the feed takes on a phone, from the query to the last picture."`
	Fill   fillCmd   `cmd:"" help:"First sizes of new originals, beside imgproxy or lean libvips."`
	Load   loadCmd   `cmd:"" help:"Load tests of the gateway by k6, with faults under load."`
	Corpus corpusCmd `cmd:"" help:"Compare the resize program with other decoders on generated files of every kind."`
	Feed   feedCmd   `cmd:"" help:"A day of a social feed against a running tier: what warming makes of it."`
	Plan   planCmd   `cmd:"" help:"The plan of warming alone, simulated."`
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
