package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/novasocial/imagetier/cmd/tierbench/internal/corpus"
)

// corpusCmd compares the resize program with independent decoders.
type corpusCmd struct {
	Program string   `default:"../../bin/imagetier-resize" help:"The resize program." type:"path"`
	Files   int      `default:"2100" help:"Number of files to generate."`
	Only    []string `help:"Only these kinds: jpeg, png, webp, gif, tiff, avif, heic, jxl."`
	Seed    uint64   `default:"1" help:"Seed of the files."`
	Keep    string   `help:"Existing directory for the files with a wrong answer." type:"existingdir"`

	Sanitized bool     `help:"The program was built with sanitizers (make asan): it is slower and needs more memory."`
	Samples   []string `help:"Directories of further files, of which no picture is known." type:"existingdir"`
	Mutations int      `help:"Number of damaged files, made of the generated ones and the samples."`
}

// Help implements kong.HelpProvider.
func (corpusCmd) Help() string {
	return `Generates files of every kind with other programs and encoders in a temporary directory, and compares the
images of the resize program with those of an independent decoder: size, mean colours, alpha, frames and timing.
Damaged files and samples must give an image or a refusal.`
}

// Run generates and prints.
func (c *corpusCmd) Run() error {
	var missing []string
	for _, program := range corpus.Programs {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, program)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s not found: run deploy/install-deps corpus", strings.Join(missing, ", "))
	}
	return corpus.Run(context.Background(), corpus.Config{
		Program: c.Program, Files: c.Files, Only: c.Only, Seed: c.Seed, Keep: c.Keep,
		Out: os.Stdout, Sanitized: c.Sanitized, Samples: c.Samples, Mutations: c.Mutations,
	})
}
