package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/httpapi/admin"
	"github.com/novasocial/imagetier/internal/httpapi/problem"
	"github.com/novasocial/imagetier/internal/jetstream"
	"github.com/novasocial/imagetier/internal/webhook"
	"github.com/novasocial/imagetier/origin/sourceurl"
	"github.com/novasocial/imagetier/prefetch/events"
	"github.com/novasocial/imagetier/prefetch/profile"
	"github.com/novasocial/imagetier/prefetch/warmer"
)

// Event is admin.Intake's. Without secrets events are refused; with --dev they pass unsigned,
// so that one can be tried with curl.
func (p *prefetch) Event(ctx context.Context, header http.Header, read func() ([]byte, error)) (kind string, repeated bool, err error) {
	var claim webhook.Claim
	unsigned := p.verifier == nil && p.cfg.Dev
	switch {
	case unsigned:
		claim.ID = header.Get("webhook-id")
	case p.verifier == nil:
		return "", false, fmt.Errorf("%w: no webhook secrets are configured (--webhook-secrets)", problem.ErrForged)
	default:
		if claim, err = p.verifier.Claim(header); err != nil {
			return "", false, shown(problem.ErrForged, err)
		}
	}
	body, err := read()
	if err != nil {
		return "", false, err
	}
	if !unsigned {
		if err := p.verifier.Verify(claim, body); err != nil {
			return "", false, shown(problem.ErrForged, err)
		}
	}
	event, err := p.reader.ParseEvent(body)
	if err != nil {
		return "", false, shown(problem.ErrEvent, err)
	}
	if event.Type == events.FeedPage {
		p.leaveOut(&event)
	}
	plan, err := warmer.PlanEvent(event)
	if err != nil {
		return event.Type, false, err
	}
	id := claim.ID
	if id != "" {
		id = "event " + id
	}
	repeated, err = p.take(ctx, id, plan)
	return event.Type, repeated, err
}

// leaveOut takes from a page what was warmed a short time ago: most of what is on one is on
// many, and each would be a job.
func (p *prefetch) leaveOut(page *events.Event) {
	for i := range page.Posts {
		post := &page.Posts[i]
		if post.Image != nil && !post.Image.AskTag && p.watch.Lately(post.Image.Image, page.Profile) {
			post.Image = nil
		}
		if a := post.Author; a != nil && a.Avatar != nil && !a.Avatar.AskTag && p.watch.Lately(a.Avatar.Image, events.Avatar) {
			post.Author = nil
		}
	}
}

// shown makes err one that edge knows, with the text that a client may read.
func shown(kind, err error) error { return &shownError{kind, err} }

type shownError struct{ kind, err error }

func (e *shownError) Error() string   { return e.err.Error() }
func (e *shownError) Unwrap() []error { return []error{e.kind, e.err} }

// take notes the tags and queues the rest, both durably. What was taken before under id changes
// nothing: a post.published that is sent again does not undo the post.deleted behind it.
func (p *prefetch) take(ctx context.Context, id string, plan warmer.Plan) (repeated bool, err error) {
	p.awaitStart(ctx)
	seen, err := p.bus.Seen(ctx, id)
	if seen || err != nil {
		return seen, queued(err)
	}
	if err := p.tags.Take(ctx, id, plan.Learn, plan.End); err != nil {
		return false, fmt.Errorf("%w: %w", problem.ErrQueue, err)
	}
	messages := make([]jetstream.Message, len(plan.Messages))
	for i, m := range plan.Messages {
		messages[i] = jetstream.Message{Priority: m.Priority, Data: m.Data}
	}
	repeated, err = p.bus.Put(ctx, id, messages...)
	return repeated, queued(err)
}

// startTime is how long the queue may take to start before events are refused for it.
const startTime = 2 * time.Second

// awaitStart waits for the queue where this process has only just started: senders that are
// refused then come again much later than it takes.
func (p *prefetch) awaitStart(ctx context.Context) {
	if left := startTime - time.Since(p.started); left > 0 && !p.bus.Available() {
		ctx, cancel := context.WithTimeout(ctx, left)
		defer cancel()
		_ = p.bus.Ready(ctx) // what is not ready then says so when it is asked
	}
}

// bucket is a configured source that a notice may be about.
type bucket struct {
	name   string // of the bucket
	prefix string // of keys; "" is none, else it ends in /
	source string
}

func bucketsOf(cfg config.Config) (buckets []bucket) {
	for _, s := range cfg.Sources {
		if s.URL.Kind == sourceurl.S3 {
			buckets = append(buckets, bucket{s.URL.Bucket, s.URL.Prefix, s.Name})
		}
	}
	return buckets
}

// Notice is admin.Intake's. What was made or replaced is purged and warmed, in the versions that
// URLs of it carry as --image-prefix says, by the profile feed; what was
// removed is purged. Objects of no source are nothing to us.
func (p *prefetch) Notice(ctx context.Context, body []byte) (kinds []string, err error) {
	notices, err := events.ParseNotices(body)
	if err != nil {
		return nil, shown(problem.ErrEvent, err)
	}
	for _, n := range notices {
		for _, b := range p.buckets {
			name, ok := strings.CutPrefix(n.Key, b.prefix)
			if n.Bucket != b.name || !ok || name == "" {
				continue
			}
			plan, err := p.planNotice(n, b.source, name)
			if err != nil {
				return nil, err
			}
			sum := sha256.Sum256([]byte(b.source + "\x00" + n.ID))
			if _, err := p.take(ctx, "s3 "+hex.EncodeToString(sum[:]), plan); err != nil {
				return nil, err
			}
			kind := "s3.created"
			if n.Removed {
				kind = "s3.removed"
			}
			kinds = append(kinds, kind)
		}
	}
	return kinds, nil
}

// noticeProfile is what is made of an image that a bucket tells of.
const noticeProfile = "feed"

func (p *prefetch) planNotice(n events.Notice, source, name string) (warmer.Plan, error) {
	of := imagecache.Original{Source: source, Name: name}
	job := warmer.Job{Purges: []warmer.Purge{warmer.PurgeOf(of)}}
	if !n.Removed {
		if v, ok := p.cfg.Links.VersionOf(source, n.ETag); ok {
			if img, err := profile.NewImage(source, name, v); err == nil {
				job.Warms = []warmer.Warm{{Image: img, Profile: noticeProfile}}
			}
		}
	}
	data, err := json.Marshal(job)
	return warmer.Plan{Messages: []warmer.Message{{Priority: warmer.Second, Data: data}}}, err
}

// noticed takes in what an S3 server published over NATS.
func (p *prefetch) noticed(ctx context.Context, _ string, data []byte) error {
	kinds, err := p.Notice(ctx, data)
	switch {
	case errors.Is(err, problem.ErrEvent):
		p.set.Event("unknown", "invalid")
		return fmt.Errorf("%w: %w", jetstream.ErrUseless, err)
	case err != nil:
		return err
	case len(kinds) == 0:
		p.set.Event("unknown", "ignored")
	}
	for _, kind := range kinds {
		p.set.Event(kind, "accepted")
	}
	return nil
}

// Queue is admin.Warmer's.
func (p *prefetch) Queue(ctx context.Context, what admin.Warming) error {
	images, err := p.images(what, func(err error) error { return err })
	if err != nil {
		return err
	}
	plan, err := warmer.PlanImages(what.Profile, images, what.Refs)
	if err != nil {
		return err
	}
	_, err = p.take(ctx, "", plan)
	return err
}

// images reads the images of what; wrong decides what becomes of one that is none.
func (p *prefetch) images(what admin.Warming, wrong func(error) error) (images []events.Image, err error) {
	if _, ok := p.cfg.Profiles.Get(what.Profile); !ok && len(what.Images) > 0 {
		return nil, shown(problem.ErrEvent, fmt.Errorf("profile: there is no profile %q", what.Profile))
	}
	for i, said := range what.Images {
		img, err := p.reader.Image(fmt.Sprintf("images[%d]", i), said.Source, said.Name, said.Version, said.URL, said.Tags)
		if err == nil && img == nil {
			err = fmt.Errorf("images[%d].url: no --image-prefix fits", i)
		}
		if err != nil {
			if err := wrong(shown(problem.ErrEvent, err)); err != nil {
				return nil, err
			}
			continue
		}
		images = append(images, *img)
	}
	return images, nil
}

// Now is admin.Warmer's. As many originals are worked on at once as there are workers; the
// lane of what can wait has room for some more, and what it refuses is asked again.
func (p *prefetch) Now(ctx context.Context, what admin.Warming, report func(admin.Warmed)) error {
	images, err := p.images(what, func(err error) error {
		report(admin.Warmed{Name: err.Error(), Err: fmt.Errorf("%w: %w", imageurl.ErrSyntax, err)})
		return nil
	})
	if err != nil {
		return err
	}
	var originals []imagecache.Original
	byOriginal := make(map[imagecache.Original][]imageurl.Ref)
	for _, ref := range what.Refs {
		of := imagecache.KeyOf(ref).Original()
		if byOriginal[of] == nil {
			originals = append(originals, of)
		}
		byOriginal[of] = append(byOriginal[of], ref)
	}
	slots := make(chan struct{}, max(2, p.cfg.Workers))
	var all sync.WaitGroup
	each := func(work func()) bool {
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
		for i, out := range p.worker.Make(ctx, refs) {
			report(admin.Warmed{Ref: refs[i], Hit: out.Hit, Err: out.Err})
		}
	}
	for _, of := range originals {
		if !each(func() { warm(byOriginal[of]) }) {
			break
		}
	}
	for _, img := range images {
		if !each(func() {
			refs, _, err := p.worker.Refs(ctx, warmer.Warm{Image: img.Image, AskTag: img.AskTag, Profile: what.Profile, All: true})
			if err != nil {
				report(admin.Warmed{Name: img.String(), Err: err})
				return
			}
			warm(refs)
		}) {
			break
		}
	}
	all.Wait()
	return nil
}

// deadPage is how many dead letters are listed at once.
const deadPage = 100

// Dead is admin.DeadLetters'.
func (p *prefetch) Dead(ctx context.Context, from uint64) (letters []admin.DeadLetter, next uint64, err error) {
	found, err := p.bus.Dead(ctx, from, deadPage)
	if err != nil {
		return nil, 0, queued(err)
	}
	for _, l := range found {
		letter := admin.DeadLetter{ID: l.ID, Died: l.Died, Queued: l.Queued, Attempts: l.Attempts, Reason: l.Reason, Job: l.Data}
		var job warmer.Job
		if err := json.Unmarshal(l.Data, &job); err == nil {
			letter.What = job.String()
		}
		letters = append(letters, letter)
	}
	if len(found) == deadPage {
		next = found[deadPage-1].ID + 1
	}
	return letters, next, nil
}

// Retry is admin.DeadLetters'.
func (p *prefetch) Retry(ctx context.Context, ids []uint64) (int, error) {
	return p.settle(ctx, ids, p.bus.Retry)
}

// Discard is admin.DeadLetters'.
func (p *prefetch) Discard(ctx context.Context, ids []uint64) (int, error) {
	return p.settle(ctx, ids, p.bus.Discard)
}

func (p *prefetch) settle(ctx context.Context, ids []uint64, one func(context.Context, uint64) error) (n int, err error) {
	if len(ids) == 0 {
		for from := uint64(0); ; {
			found, err := p.bus.Dead(ctx, from, deadPage)
			if err != nil {
				return 0, queued(err)
			}
			for _, l := range found {
				ids = append(ids, l.ID)
			}
			if len(found) < deadPage {
				break
			}
			from = found[deadPage-1].ID + 1
		}
	}
	for _, id := range ids {
		switch err := one(ctx, id); {
		case err == nil:
			n++
		case !errors.Is(err, jetstream.ErrNotFound):
			return n, queued(err)
		}
	}
	return n, nil
}
