package service

import (
	"context"
	"fmt"
	"net/http"
	"slices"

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
	var recent []warmer.Tagged
	if event.Type == events.FeedPage {
		recent = s.skipRecent(&event)
	}
	plan, err := warmer.PlanEvent(event)
	if err != nil {
		return taken, err
	}
	plan.Learn = append(plan.Learn, recent...)
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
	id = eventID(id)
	if len(plan.Learn) > 0 {
		if repeated, err := s.seen(ctx, id); repeated || err != nil {
			return repeated, err
		}
	}
	// Before the id is noted: a page that is refused is sent again with the same id.
	if s.cfg.Mode != warmer.None && !s.pages.put(paths) {
		return false, fmt.Errorf("%w: %d paths of pages are waiting", ErrQueueFull, s.pages.waiting())
	}
	if len(plan.Learn) == 0 {
		return false, nil
	}
	return s.store(ctx, id, plan)
}

// skipRecent removes the images from a page that were warmed recently: most images are on many
// pages, and each would be a job. It returns their tags that are not known: an image may have been
// warmed without them, and post.deleted needs them.
func (s *Service) skipRecent(page *events.Event) (learn []warmer.Tagged) {
	recent := func(img *events.Image, profileName string) bool {
		if img == nil || img.AskTag || !s.watch.Lately(img.Image, profileName) {
			return false
		}
		learn = append(learn, slices.DeleteFunc(warmer.TagsOf(*img), s.cfg.Tags.Knows)...)
		return true
	}
	for i := range page.Posts {
		post := &page.Posts[i]
		if recent(post.Image, page.Profile) {
			post.Image = nil
		}
		if post.Author != nil && recent(post.Author.Avatar, events.Avatar) {
			post.Author = nil
		}
	}
	return learn
}
