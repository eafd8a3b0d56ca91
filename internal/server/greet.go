package server

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/sources"
	"github.com/novasocial/imagetier/resize"
)

// greet prints URLs to try.
func (s *Server) greet(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var b strings.Builder
	b.WriteString("\nimagetier is serving. Try:\n\n")
	shown := false
	for _, source := range s.cfg.Sources {
		for i, path := range samplePaths(ctx, s.signer, source.Name, s.sources.Samplers[source.Name]) {
			fmt.Fprintf(&b, "  %-14s %s%s\n", [...]string{"thumbnail", "same, square", "another"}[i], s.publicURL, path)
			shown = true
		}
		if shown {
			break
		}
	}
	if !shown && len(s.cfg.Sources) > 0 {
		fmt.Fprintf(&b, "  %-14s imagetier sign --source %s --name NAME --version v.1 --spec 880x --format webp --base %s\n",
			"thumbnail", s.cfg.Sources[0].Name, s.publicURL)
	}
	fmt.Fprintf(&b, "  %-14s %s/\n", "status page", s.privateURL)
	fmt.Fprintf(&b, "  %-14s curl -s %s/metrics | grep ^imagetier_\n\n", "metrics", s.privateURL)
	fmt.Fprint(s.cfg.Terminal, b.String())
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
