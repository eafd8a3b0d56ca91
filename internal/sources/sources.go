// Package sources opens the origins that the configuration names.
//
// [Open] opens one, as it is: doctor asks it what the origin answers. [OpenAll] opens all
// of them for the tier, with metrics, retries, deadlines, limits and circuit breakers.
package sources

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/novasocial/imagetier/internal/circuit"
	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/metrics"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/origin/breaker"
	"github.com/novasocial/imagetier/origin/dirorigin"
	"github.com/novasocial/imagetier/origin/s3origin"
	"github.com/novasocial/imagetier/origin/sourceurl"
	"github.com/novasocial/imagetier/origin/weborigin"
)

// Set holds the configured sources.
type Set struct {
	Guarded  map[string]origin.Source // by name, wrapped by guard
	Samplers map[string]Sampler       // by name; the sources that can list originals
	Listers  map[string]Lister        // by name
	Digests  map[string]bool          // by name; directories, whose entity tags are digests

	checks  map[string]func(name string) error // by name of the source
	closers []io.Closer
}

// CheckName returns an error that wraps [origin.ErrName] if a source can have no original of that name.
func (s *Set) CheckName(source, name string) error {
	if check := s.checks[source]; check != nil {
		return check(name)
	}
	return nil
}

// Sampler is a source that can list some of its originals.
type Sampler interface {
	// Sample returns the names of at most n originals that look like images.
	Sample(ctx context.Context, n int) ([]string, error)
}

// Lister is a source that can list its originals.
type Lister interface {
	// List returns a page of a folder.
	List(ctx context.Context, req origin.ListRequest) (origin.Listing, error)
}

// OpenAll opens every configured source. The error joins those of all that failed.
func OpenAll(ctx context.Context, cfg config.Config, set *metrics.Set) (*Set, error) {
	s := &Set{
		Guarded: make(map[string]origin.Source), Samplers: make(map[string]Sampler),
		Listers: make(map[string]Lister), Digests: make(map[string]bool),
		checks: make(map[string]func(string) error),
	}
	var errs []error
	for _, source := range cfg.Sources {
		src, err := Open(ctx, cfg, source.URL)
		if err != nil {
			errs = append(errs, fmt.Errorf("source %s: %w", source.Name, err))
			continue
		}
		if c, ok := src.(io.Closer); ok {
			s.closers = append(s.closers, c)
		}
		if sampler, ok := src.(Sampler); ok {
			s.Samplers[source.Name] = sampler
		}
		if lister, ok := src.(Lister); ok {
			s.Listers[source.Name] = lister
		}
		s.Digests[source.Name] = source.URL.Kind == sourceurl.Dir
		s.checks[source.Name] = src.(interface{ CheckName(name string) error }).CheckName
		s.Guarded[source.Name] = guard(source.Name, src, cfg, set)
	}
	if len(errs) > 0 {
		return nil, errors.Join(append(errs, s.Close())...)
	}
	return s, nil
}

// Close closes the sources that hold something open.
func (s *Set) Close() error {
	var errs []error
	for _, c := range s.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// Open opens one source without any wrapper.
func Open(ctx context.Context, cfg config.Config, u sourceurl.Source) (origin.Source, error) {
	switch u.Kind {
	case sourceurl.Dir:
		return dirorigin.Open(dirorigin.Config{Dir: u.Path, MaxBytes: cfg.Limits.MaxBytes})
	case sourceurl.S3:
		return s3origin.New(ctx, s3origin.Config{
			Bucket: u.Bucket, Prefix: u.Prefix, Region: u.Region, Endpoint: u.Endpoint,
			PathStyle: u.PathStyle, MissingIs403: u.MissingIs403,
			OpaqueETags: u.OpaqueETags, RequesterPays: u.RequesterPays,
		})
	default:
		return weborigin.New(weborigin.Config{
			Base: u.Base, RedirectHosts: u.RedirectHosts, MissingIs403: u.MissingIs403,
			AllowPrivate: cfg.AllowPrivateOrigins, MaxHeuristic: maxHeuristic(cfg),
		})
	}
}

// maxHeuristic is 0 if what states no lifetime is always revalidated.
func maxHeuristic(cfg config.Config) time.Duration {
	if cfg.LiveTTL == 0 {
		return 0
	}
	return cfg.HeuristicTTL
}

// guard wraps a source in the order that package origin documents.
func guard(name string, src origin.Source, cfg config.Config, set *metrics.Set) origin.Source {
	src = set.Source(name, src)
	src = origin.Retry(src, origin.RetryConfig{MaxBytes: cfg.Limits.MaxBytes})
	src = origin.Deadline(src, cfg.OriginTimeout)
	src = origin.Limit(src, origin.LimitConfig{})
	guarded := breaker.New(src, circuit.Config{})
	set.Breaker(name, guarded.State)
	return guarded
}
