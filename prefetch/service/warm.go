package service

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/jetstream"
	"github.com/novasocial/imagetier/prefetch/events"
	"github.com/novasocial/imagetier/prefetch/warmer"
)

// WarmRequest is a request of an operator to warm images, in the Specs of Profile, and variants.
type WarmRequest struct {
	Profile string
	Images  []ImageFields
	Refs    []imageurl.Ref // of concrete formats
	Wrong   []WarmResult   // paths that are invalid, for Now to report
}

// ImageFields are the JSON fields that name an image.
type ImageFields = events.ImageFields

// MaxTags is how many tags an image may have.
const MaxTags = events.MaxTags

// WarmResult is the outcome of one variant or, if Ref is zero, of an invalid image.
type WarmResult struct {
	Ref  imageurl.Ref
	Name string // as it was sent, if Ref is zero
	Hit  bool   // it was cached
	Err  error  // why it was not made; nil if it is cached
}

// Queue queues the request, and returns when it is stored durably.
func (s *Service) Queue(ctx context.Context, req WarmRequest) error {
	images, err := s.images(req, func(err error) error { return err })
	if err != nil {
		return err
	}
	plan, err := warmer.PlanImages(req.Profile, images, req.Refs)
	if err != nil {
		return err
	}
	_, err = s.take(ctx, "", plan)
	return err
}

// images parses the images of a request; wrong handles an invalid one.
func (s *Service) images(req WarmRequest, wrong func(error) error) (images []events.Image, err error) {
	if _, ok := s.cfg.Profiles.Get(req.Profile); !ok && len(req.Images) > 0 {
		return nil, clientError(ErrInvalid, fmt.Errorf("profile: there is no profile %q", req.Profile))
	}
	for i, fields := range req.Images {
		img, err := s.reader.Image(fmt.Sprintf("images[%d]", i), fields)
		if err == nil && img == nil {
			err = fmt.Errorf("images[%d].url: no --image-prefix fits", i)
		}
		if err != nil {
			if err := wrong(clientError(ErrInvalid, err)); err != nil {
				return nil, err
			}
			continue
		}
		images = append(images, *img)
	}
	return images, nil
}

// Now warms at once, with resize.PriorityWarm, and calls report, possibly concurrently, for each
// variant and for each invalid image. It returns when all are done or ctx is done. After an error
// nothing was started. It works on as many originals concurrently as there are workers. The warm
// queue has room for some more, and refused variants are requested again.
func (s *Service) Now(ctx context.Context, req WarmRequest, report func(WarmResult)) error {
	wrong := req.Wrong
	images, err := s.images(req, func(err error) error {
		wrong = append(wrong, WarmResult{Name: err.Error(), Err: fmt.Errorf("%w: %w", imageurl.ErrSyntax, err)})
		return nil
	})
	if err != nil {
		return err
	}
	var learn []warmer.Tagged
	for _, img := range images {
		learn = append(learn, warmer.TagsOf(img)...)
	}
	// Without the cluster images are warmed as well, and their tags are replicated later.
	if err := s.cfg.Tags.Take(ctx, learn, nil); err != nil && !errors.Is(err, jetstream.ErrUnavailable) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	for _, one := range wrong {
		report(one)
	}
	s.warmAll(ctx, req, images, report)
	return nil
}

// warmAll warms the variants and images of a request, as many originals at once as there are workers.
func (s *Service) warmAll(ctx context.Context, req WarmRequest, images []events.Image, report func(WarmResult)) {
	slots := make(chan struct{}, max(2, s.cfg.Workers))
	var all sync.WaitGroup
	defer all.Wait()
	start := func(work func()) bool {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return false
		}
		all.Go(func() {
			defer func() { <-slots }()
			work()
		})
		return true
	}
	warm := func(refs []imageurl.Ref) {
		for i, out := range s.worker.Make(ctx, refs) {
			report(WarmResult{Ref: refs[i], Hit: out.Hit, Err: out.Err})
		}
	}
	for _, refs := range byOriginal(req.Refs) {
		if !start(func() { warm(refs) }) {
			return
		}
	}
	for _, img := range images {
		if !start(func() {
			refs, _, err := s.worker.Refs(ctx, warmer.Requested(img, req.Profile))
			if err != nil {
				report(WarmResult{Name: img.String(), Err: err})
				return
			}
			warm(refs)
		}) {
			return
		}
	}
}

// byOriginal groups refs by their original, in the order in which the originals first appear.
func byOriginal(refs []imageurl.Ref) (groups [][]imageurl.Ref) {
	at := make(map[imagecache.Original]int)
	for _, ref := range refs {
		of := imagecache.KeyOf(ref).Original()
		i, ok := at[of]
		if !ok {
			i = len(groups)
			at[of], groups = i, append(groups, nil)
		}
		groups[i] = append(groups[i], ref)
	}
	return groups
}
