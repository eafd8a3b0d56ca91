package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/metrics"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/origin/breaker"
	"github.com/novasocial/imagetier/origin/dirorigin"
	"github.com/novasocial/imagetier/origin/s3origin"
	"github.com/novasocial/imagetier/origin/sourceurl"
	"github.com/novasocial/imagetier/origin/weborigin"
)

// sources are the configured origins.
type sources struct {
	guarded map[string]origin.Source // by alias, with everything around them
	samples map[string]sampler       // those that can name originals
	open    []io.Closer
}

// openSources opens every configured source and puts around each what package origin
// says. The error joins those of all that could not be opened.
func openSources(ctx context.Context, cfg config.Config, set *metrics.Set) (*sources, error) {
	s := &sources{guarded: make(map[string]origin.Source), samples: make(map[string]sampler)}
	var faults []error
	for _, configured := range cfg.Sources {
		name := configured.Name
		src, err := openSource(ctx, cfg, configured.URL)
		if err != nil {
			faults = append(faults, fmt.Errorf("source %s: %w", name, err))
			continue
		}
		if c, ok := src.(io.Closer); ok {
			s.open = append(s.open, c)
		}
		if named, ok := src.(sampler); ok {
			s.samples[name] = named
		}
		s.guarded[name] = guard(name, src, cfg, set)
	}
	if len(faults) > 0 {
		s.close()
		return nil, errors.Join(faults...)
	}
	return s, nil
}

func (s *sources) close() {
	for _, c := range s.open {
		_ = c.Close() // a directory's handle; nothing was written through it
	}
}

// openSource opens one without anything around it.
func openSource(ctx context.Context, cfg config.Config, s sourceurl.Source) (origin.Source, error) {
	switch s.Kind {
	case sourceurl.Dir:
		return dirorigin.Open(dirorigin.Config{Dir: s.Path, MaxBytes: cfg.Limits.MaxBytes})
	case sourceurl.S3:
		return s3origin.New(ctx, s3origin.Config{
			Bucket: s.Bucket, Prefix: s.Prefix, Region: s.Region, Endpoint: s.Endpoint,
			PathStyle: s.PathStyle, MissingIs403: s.MissingIs403,
		})
	default:
		return weborigin.New(weborigin.Config{
			Base: s.Base, RedirectHosts: s.RedirectHosts, AllowPrivate: cfg.AllowPrivateOrigins, MaxHeuristic: cfg.LiveTTL,
		})
	}
}

// guard puts the wrappers around a source in the order that package origin gives.
func guard(name string, src origin.Source, cfg config.Config, set *metrics.Set) origin.Source {
	src = set.Source(name, src)
	src = origin.Retry(src, origin.RetryConfig{MaxBytes: cfg.Limits.MaxBytes})
	src = origin.Deadline(src, cfg.OriginTimeout)
	src = origin.Limit(src, origin.LimitConfig{})
	guarded := breaker.New(src, breaker.Config{})
	set.Breaker(name, func() int { return int(guarded.State()) })
	return guarded
}
