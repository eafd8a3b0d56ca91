package server

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/sources"
	"github.com/novasocial/imagetier/resize"
)

// greeting is what greet shows.
type greeting struct {
	sources         []string // names, in the order of the configuration
	samplers        map[string]sources.Sampler
	signer          *imageurl.Signer
	public, private string // URLs of the listeners
}

// greet prints URLs to try.
func greet(ctx context.Context, out io.Writer, g greeting) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var b strings.Builder
	b.WriteString("\nimagetier is serving. Try:\n\n")
	shown := false
	for _, source := range g.sources {
		for i, path := range samplePaths(ctx, g.signer, source, g.samplers[source]) {
			fmt.Fprintf(&b, "  %-14s %s%s\n", [...]string{"thumbnail", "same, square", "another"}[i], g.public, path)
			shown = true
		}
		if shown {
			break
		}
	}
	if !shown && len(g.sources) > 0 {
		const example = "  %-14s imagetier sign --source %s --name NAME --version v.1 --spec 880x --format webp --base %s\n"
		fmt.Fprintf(&b, example, "thumbnail", g.sources[0], g.public)
	}
	fmt.Fprintf(&b, "  %-14s %s/\n", "console", g.private)
	fmt.Fprintf(&b, "  %-14s curl -s %s/metrics | grep ^imagetier_\n\n", "metrics", g.private)
	fmt.Fprint(out, b.String())
}

// samplePaths returns up to three signed paths: two variants of one original and one of another.
func samplePaths(ctx context.Context, signer *imageurl.Signer, source string, from sources.Sampler) (paths []string) {
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
