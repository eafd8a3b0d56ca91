package service

import (
	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/prefetch/warmer"
	"github.com/novasocial/imagetier/resize"
)

// Requested records a request of the public listener for a variant that the cache had or made.
// Requests of other priorities come from nodes that warm through the balancer.
func (s *Service) Requested(ref imageurl.Ref, out imagecache.Outcome, priority resize.Priority) {
	switch {
	case priority == resize.PriorityLive:
		s.watch.Asked(ref)
	case s.balancer == nil || out.Forward == imagecache.Hit || out.Collapsed: // not made for this request
	case priority == resize.PriorityPage:
		s.watch.MadeFor(ref, warmer.OnPage)
	default:
		s.watch.MadeFor(ref, warmer.Unsaid)
	}
}
