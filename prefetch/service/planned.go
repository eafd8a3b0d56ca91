package service

import (
	"github.com/novasocial/imagetier/prefetch/events"
	"github.com/novasocial/imagetier/prefetch/warmer"
)

// Taken is what became of an event.
type Taken struct {
	Kind     string // its type; "" if that was not read
	Repeated bool   // its id was taken before: nothing is done now
	Posts    []Planned
}

// Planned says what is made early of a post that was published or updated.
type Planned struct {
	ID string `json:"id"`
	// Specs of its image, like 1320x.webp; empty if there are none, for Reason.
	Specs  []string `json:"specs"`
	Reason string   `json:"reason,omitempty"`
}

// maxPlanned is how many posts of an event an answer describes: it is for those who try one by hand.
const maxPlanned = 20

// planned says what the event makes, as far as is known now: what is learned until its jobs are done may
// change it.
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
