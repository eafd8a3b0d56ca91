package service

import (
	"context"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/prefetch/warmer"
	"github.com/novasocial/imagetier/resize"
)

// Watched returns c, noting which variants clients request.
func (s *Service) Watched(c Getter) Getter { return &watched{c, s.watch, s.balancer != nil} }

type watched struct {
	Getter
	watch     *warmer.Watch
	forOthers bool // requests of PriorityWarm come from nodes that warm through the balancer
}

func (c *watched) Get(ctx context.Context, ref imageurl.Ref) (imagecache.Image, imagecache.Outcome, error) {
	img, out, err := c.Getter.Get(ctx, ref)
	switch {
	case err != nil:
	case resize.PriorityOf(ctx) == resize.PriorityLive:
		c.watch.Asked(ref)
	case c.forOthers && out.Forward != imagecache.Hit:
		c.watch.MadeFor(ref)
	}
	return img, out, err
}
