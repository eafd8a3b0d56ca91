package service

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/prefetch/warmer"
	"github.com/novasocial/imagetier/resize"
)

// variantsAtOnce bounds the variants of one original that are requested at the same time. Package
// fill makes them together and holds all of them in memory; the built-in profiles have six.
const variantsAtOnce = 8

// jobsAtOnce is the minimum number of concurrent jobs. More of them wait for a resize process than run, so that
// requests for their variants join them. Each holds its original in memory.
const jobsAtOnce = 8

// forEach calls request for each of refs, variantsAtOnce at a time, and returns the outcomes in order.
func forEach(refs []imageurl.Ref, request func(imageurl.Ref) warmer.Outcome) []warmer.Outcome {
	outcomes := make([]warmer.Outcome, len(refs))
	var group errgroup.Group
	group.SetLimit(variantsAtOnce)
	for i, ref := range refs {
		group.Go(func() error {
			outcomes[i] = request(ref)
			return nil
		})
	}
	_ = group.Wait()
	return outcomes
}

// makeHere makes variants of one original on this node. Fills of one original that run at the
// same time share its fetch and its decode.
func (s *Service) makeHere(ctx context.Context, refs []imageurl.Ref) []warmer.Outcome {
	if resize.PriorityOf(ctx) == resize.PriorityLive {
		ctx = resize.WithPriority(ctx, resize.PriorityWarm)
	}
	meter := &resize.Meter{}
	ctx = resize.WithMeter(ctx, meter)
	outcomes := forEach(refs, func(ref imageurl.Ref) warmer.Outcome {
		img, out, err := s.cfg.Cache.Get(ctx, ref)
		held := out.Forward == imagecache.Hit || out.Collapsed
		return warmer.Outcome{Hit: err == nil && held, Err: err, Body: img.Body}
	})
	specs := make([]resize.Spec, len(refs))
	for i, ref := range refs {
		specs[i] = ref.Spec()
	}
	warmer.Split(meter.CPU(), specs, outcomes)
	return outcomes
}

func (s *Service) purge(ctx context.Context, of imagecache.Original) error {
	_, err := s.cfg.Cache.Purge(ctx, imagecache.Target{Original: of})
	return err
}

// etagOf asks the origin for an original's entity tag, and returns it without quotes; "" if it has
// no strong one.
func (s *Service) etagOf(ctx context.Context, of imagecache.Original) (string, error) {
	src, ok := s.cfg.Sources[of.Source]
	if !ok {
		return "", fmt.Errorf("%w: no source %s", origin.ErrNotFound, of.Source)
	}
	meta, err := src.Head(ctx, of.Name)
	if err != nil {
		return "", fmt.Errorf("ask for the entity tag of %s %s: %w", of.Source, of.Name, err)
	}
	if n := len(meta.ETag); n > 2 && meta.ETag[0] == '"' && meta.ETag[n-1] == '"' {
		return meta.ETag[1 : n-1], nil
	}
	return "", nil
}
