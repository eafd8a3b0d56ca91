package service

import (
	"github.com/novasocial/imagetier/prefetch/events"
	"github.com/novasocial/imagetier/prefetch/warmer"
)

// Taken is the result of an accepted event.
type Taken struct {
	Kind     string // its type; "" if unknown
	Repeated bool   // its id was accepted before: nothing is done
	Posts    []Planned
}

// Planned describes which variants of a published or updated post are made early.
type Planned struct {
	ID string `json:"id"`
	// Specs of its image, like 1320x.webp; if empty, Reason says why.
	Specs  []string `json:"specs"`
	Reason string   `json:"reason,omitempty"`
}

// maxPlanned is the maximum number of posts that an answer describes; the description is for trying
// out events by hand.
const maxPlanned = 20

// planned returns what the event will make, according to the current statistics, which may change
// before its jobs are done.
func (s *Service) planned(e events.Event) (posts []Planned) {
	if e.Type != events.PostPublished && e.Type != events.PostUpdated {
		return nil
	}
	for _, post := range e.Posts[:min(len(e.Posts), maxPlanned)] {
		p := Planned{ID: post.ID, Specs: []string{}}
		switch {
		case post.Image == nil:
			p.Reason = "The post has no image, or no --image-prefix fits its URL."
		case s.cfg.Mode == warmer.None:
			p.Reason = "--warm none makes nothing early."
		default:
			specs, _ := s.watch.Specs(post.Image.Image, e.Profile, warmer.ReachOf(post.Audience), false)
			for _, spec := range specs {
				spec.Crop = post.Image.Crop
				p.Specs = append(p.Specs, spec.Name())
			}
			if len(specs) == 0 {
				p.Reason = "Posts with this audience are requested too rarely: a variant would exceed the budget of " +
					"wasted CPU time. The original is reduced (--mezzanine), so that a request costs little."
			}
		}
		posts = append(posts, p)
	}
	return posts
}
