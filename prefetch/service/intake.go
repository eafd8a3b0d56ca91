package service

import (
	"context"
	"fmt"
	"net/http"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/webhook"
	"github.com/novasocial/imagetier/prefetch/events"
	"github.com/novasocial/imagetier/prefetch/warmer"
)

// Event handles the event of a feed service. It reads the body after checking the headers, and
// queues the event if its signature is valid. Without secrets events are refused; with Dev they are
// accepted unsigned, so that they can be tried with curl.
func (s *Service) Event(
	ctx context.Context,
	header http.Header,
	read func() ([]byte, error),
) (taken Taken, err error) {
	var claim webhook.Claim
	unsigned := !s.verifier.Set() && s.cfg.Dev
	switch {
	case unsigned:
		claim.ID = header.Get("webhook-id")
	case !s.verifier.Set():
		return taken, fmt.Errorf("%w: no webhook secrets are configured (--webhook-secrets)", ErrForged)
	default:
		if claim, err = s.verifier.Claim(header); err != nil {
			return taken, clientError(ErrForged, err)
		}
	}
	body, err := read()
	if err != nil {
		return taken, err
	}
	if !unsigned {
		if err := s.verifier.Verify(claim, body); err != nil {
			return taken, clientError(ErrForged, err)
		}
	}
	event, err := s.reader.ParseEvent(body)
	if err != nil {
		return taken, clientError(ErrInvalid, err)
	}
	taken.Kind = event.Type
	if event.Type == events.FeedPage {
		s.skipRecent(&event)
	}
	plan, err := warmer.PlanEvent(event)
	if err != nil {
		return taken, err
	}
	if len(event.Paths) > 0 {
		taken.Repeated, err = s.takePage(ctx, claim.ID, plan, event.Paths)
		return taken, err
	}
	taken.Posts = s.planned(event)
	if taken.Repeated, err = s.take(ctx, eventID(claim.ID), plan); taken.Repeated {
		taken.Posts = nil
	}
	return taken, err
}

// eventID is the id of an event in the queue, "" if the event has no id.
func eventID(id string) string {
	if id == "" {
		return ""
	}
	return "event " + id
}

// takePage handles a page with paths. Only the tags of its posts are stored durably. The paths are
// not: the phone requests them within a moment, so they are useless after a restart, and a repeated
// page costs only lookups.
func (s *Service) takePage(
	ctx context.Context,
	id string,
	plan warmer.Plan,
	paths []imageurl.Ref,
) (repeated bool, err error) {
	if len(plan.Learn) > 0 {
		if repeated, err := s.take(ctx, eventID(id), plan); repeated || err != nil {
			return repeated, err
		}
	}
	if s.cfg.Mode != warmer.None && !s.pages.put(paths) {
		return false, fmt.Errorf("%w: %d paths of pages are waiting", ErrQueueFull, s.pages.waiting())
	}
	return false, nil
}

// skipRecent removes the images from a page that were warmed recently: most images are on many
// pages, and each would be a job.
func (s *Service) skipRecent(page *events.Event) {
	for i := range page.Posts {
		post := &page.Posts[i]
		if post.Image != nil && !post.Image.AskTag && s.watch.Lately(post.Image.Image, page.Profile) {
			post.Image = nil
		}
		if a := post.Author; a != nil && a.Avatar != nil && !a.Avatar.AskTag &&
			s.watch.Lately(a.Avatar.Image, events.Avatar) {
			post.Author = nil
		}
	}
}
