package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/resize"
)

// A sampler is a source that can name some of its originals.
type sampler interface {
	// Sample returns at most n names of what look like images.
	Sample(ctx context.Context, n int) ([]string, error)
}

// greeting is what there is to try.
type greeting struct {
	signer          *imageurl.Signer
	samples         map[string]sampler // by source
	public, private string             // URLs
}

// greet tells a person at a terminal what to try. Only --dev has such a person.
func greet(ctx context.Context, out io.Writer, cfg config.Config, g greeting) {
	if !cfg.Dev {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var b strings.Builder
	b.WriteString("\nimagetier is serving. Try:\n\n")
	shown := false
	for _, source := range cfg.Sources {
		for i, url := range sampleURLs(ctx, g.signer, source.Name, g.samples[source.Name]) {
			fmt.Fprintf(&b, "  %-14s %s%s\n", [...]string{"thumbnail", "same, square", "another"}[i], g.public, url)
			shown = true
		}
		if shown {
			break
		}
	}
	if !shown && len(cfg.Sources) > 0 {
		fmt.Fprintf(&b, "  %-14s imagetier sign --source %s --name NAME --version v.1 --spec 880x --format webp --base %s\n", "thumbnail", cfg.Sources[0].Name, g.public)
	}
	fmt.Fprintf(&b, "  %-14s %s/\n", "status page", g.private)
	fmt.Fprintf(&b, "  %-14s curl -s %s/metrics | grep ^imagetier_\n\n", "metrics", g.private)
	fmt.Fprint(out, b.String())
}

// sampleURLs returns up to three signed paths: two variants of one original and one of another.
func sampleURLs(ctx context.Context, signer *imageurl.Signer, source string, from sampler) (paths []string) {
	if from == nil {
		return nil
	}
	names, err := from.Sample(ctx, 2)
	if err != nil || len(names) == 0 {
		return nil
	}
	for i, spec := range []resize.Spec{
		{Width: 880, Format: resize.WebP},
		{Width: 400, Height: 400, Fit: resize.FitCover, Format: resize.WebP},
		{Width: 880, Format: resize.JPEG},
	} {
		if i == 2 && len(names) < 2 {
			break
		}
		version, err := imageurl.NewVersion(imageurl.Trusted, "1")
		if err != nil {
			return paths
		}
		ref, err := imageurl.NewRef(source, names[i/2], version, spec)
		if err != nil {
			continue
		}
		paths = append(paths, signer.Path(ref))
	}
	return paths
}
