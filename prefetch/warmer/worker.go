package warmer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/prefetch/events"
	"github.com/novasocial/imagetier/prefetch/profile"
	"github.com/novasocial/imagetier/resize"
)

// Delivery is a job taken from a queue. Exactly one of its functions is called, once.
type Delivery struct {
	Data   []byte // a Job as JSON
	Queued time.Time
	Done   func(context.Context) error
	// Again returns it to the queue for another attempt after a pause, or buries it after its last attempt.
	Again func(ctx context.Context, reason string, after time.Duration) (buried bool, err error)
	Bury  func(ctx context.Context, reason string) error
	// Release returns it to the queue untried, because the process ends.
	Release func() error
}

// Outcome is the outcome of one variant.
type Outcome struct {
	Hit  bool          // it was in the cache, or was being made for another caller
	Err  error         // why it could not be made; nil if it is in the cache
	Body []byte        // of a variant that was made here
	CPU  time.Duration // that making it took (Split)
}

// WorkerConfig configures a Worker.
type WorkerConfig struct {
	// Next waits for the next job. Required.
	Next func(context.Context) (Delivery, error)
	// Make makes variants of one original and returns their outcomes in order. Required.
	Make func(ctx context.Context, refs []imageurl.Ref) []Outcome
	// Purge removes an original and its variants. Required.
	Purge func(ctx context.Context, of imagecache.Original) error
	// Tags maps tags to originals. Required.
	Tags interface {
		// Of and LiveOf return an error if they may lack originals.
		Of(ctx context.Context, tag string) ([]imagecache.Original, error)
		LiveOf(ctx context.Context, tag string) ([]imagecache.Original, error)
		Ended(tag string, since time.Time) bool
		Forget(tag string) error
	}
	// Watch selects the Specs to make. Required.
	Watch *Watch
	// Elsewhere means that Make has other nodes make the variants. Those nodes watch them (Watch.MadeFor).
	Elsewhere bool
	// TagOf asks the origin for the entity tag of an original; the result has no quotes and is "" if
	// there is no strong tag. If TagOf is nil, images whose version is their tag are warmed as live.
	TagOf func(ctx context.Context, of imagecache.Original) (string, error)
	// AtOnce is the number of jobs that are done at the same time; 0 is 2.
	AtOnce int
	// Busy is the first pause while the resize queue is full; it doubles up to 20 times as much. 0 is
	// 250 ms.
	Busy time.Duration
	// Observe is called with the outcome of each attempt: ok, skipped, again, dead, invalid. It may
	// be nil.
	Observe func(outcome string)
	Log     *slog.Logger // nil drops
}

// Worker does the jobs of a queue.
type Worker struct{ cfg WorkerConfig }

// NewWorker returns a Worker. It starts nothing.
func NewWorker(cfg WorkerConfig) *Worker {
	if cfg.AtOnce == 0 {
		cfg.AtOnce = 2
	}
	if cfg.Busy == 0 {
		cfg.Busy = 250 * time.Millisecond
	}
	if cfg.Observe == nil {
		cfg.Observe = func(string) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Worker{cfg}
}

// Run works until ctx is done, returns unfinished jobs to the queue, and returns nil.
func (w *Worker) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for range w.cfg.AtOnce {
		all.Go(func() {
			for ctx.Err() == nil {
				d, err := w.cfg.Next(ctx)
				if err != nil {
					if ctx.Err() == nil {
						w.cfg.Log.Warn("taking the next prefetch job failed", "err", err)
						sleep(ctx, time.Second)
					}
					continue
				}
				w.work(ctx, d)
			}
		})
	}
	all.Wait()
	return nil
}

// settleTime bounds the acknowledgement of a job.
const settleTime = 10 * time.Second

// work does one job and acknowledges it.
func (w *Worker) work(ctx context.Context, d Delivery) {
	var job Job
	settle, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	if err := json.Unmarshal(d.Data, &job); err != nil {
		defer cancel()
		w.cfg.Observe("invalid")
		w.logAckError(d.Bury(settle, "not a job: "+err.Error()))
		return
	}
	cancel()
	did, err := w.do(ctx, job, d.Queued)
	settle, cancel = context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	switch {
	case err == nil && did:
		w.cfg.Observe("ok")
		w.logAckError(d.Done(settle))
	case err == nil:
		w.cfg.Observe("skipped")
		w.logAckError(d.Done(settle))
	case ctx.Err() != nil:
		w.logAckError(d.Release())
	case lasting(err):
		w.cfg.Observe("dead")
		w.cfg.Log.Warn("prefetch job failed for good", "job", clip(job.String()), "err", err)
		w.logAckError(d.Bury(settle, err.Error()))
	default:
		buried, faulty := d.Again(settle, err.Error(), pauseOf(err))
		if buried {
			w.cfg.Observe("dead")
			w.cfg.Log.Warn("prefetch job failed too often", "job", clip(job.String()), "err", err)
		} else {
			w.cfg.Observe("again")
			w.cfg.Log.Info("prefetch job failed, retrying later", "job", clip(job.String()), "err", err)
		}
		w.logAckError(faulty)
	}
}

// logAckError logs a failed acknowledgement; the job will be redelivered.
func (w *Worker) logAckError(err error) {
	if err != nil {
		w.cfg.Log.Warn("prefetch job not acknowledged, it will be redelivered", "err", err)
	}
}

// do does a job, and reports whether there was anything to do. Of several errors it prefers one
// after which a retry may help.
func (w *Worker) do(ctx context.Context, job Job, queued time.Time) (did bool, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: panic: %v", resize.ErrFailed, v)
		}
	}()
	if err := w.purge(ctx, job); err != nil {
		return true, err // the replacement must not be made before the purge
	}
	did = len(job.Gone)+len(job.Stale)+len(job.Purges) > 0
	var last, first error
	note := func(err error) {
		switch {
		case err == nil, errors.Is(err, imagecache.ErrTakenDown):
		case lasting(err):
			last = err
		case first == nil:
			first = err
		}
	}
	for _, warm := range job.Warms {
		made, err := w.warm(ctx, warm, queued)
		did = did || made
		note(err)
	}
	byOriginal := make(map[imagecache.Original][]imageurl.Ref)
	for _, ref := range job.Refs {
		of := imagecache.KeyOf(ref.Ref).Original()
		byOriginal[of] = append(byOriginal[of], ref.Ref)
	}
	for _, refs := range byOriginal {
		did = true
		for _, out := range w.Make(ctx, refs) {
			note(out.Err)
		}
	}
	if first != nil {
		return did, first
	}
	return did, last
}

// purgesAtOnce is the number of concurrent purges of a job: each waits up to 5 s for the nodes of a fleet.
// A purge by tag of the private API has the same limit, which this package cannot import.
const purgesAtOnce = 64

func (w *Worker) purge(ctx context.Context, job Job) error {
	originals, unknown := w.toPurge(ctx, job)
	var group errgroup.Group
	group.SetLimit(purgesAtOnce)
	for _, of := range originals {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return w.cfg.Purge(ctx, of)
		})
	}
	if err := errors.Join(group.Wait(), unknown); err != nil {
		return fmt.Errorf("purge: %w", err) // the tags are not forgotten: the next attempt needs them
	}
	for _, tag := range job.Gone {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.cfg.Tags.Forget(tag); err != nil {
			w.cfg.Log.Warn("forgetting a tag failed", "tag", tag, "err", err) // the next purge of it repeats these
		}
	}
	return nil
}

// toPurge returns the originals that a job purges. With an error, those of some tags are missing.
func (w *Worker) toPurge(ctx context.Context, job Job) (originals []imagecache.Original, err error) {
	for _, p := range job.Purges {
		originals = append(originals, p.Original())
	}
	for _, part := range []struct {
		tags   []string
		having func(context.Context, string) ([]imagecache.Original, error)
	}{{job.Gone, w.cfg.Tags.Of}, {job.Stale, w.cfg.Tags.LiveOf}} {
		for _, tag := range part.tags {
			tagged, err := part.having(ctx, tag)
			if err != nil {
				return originals, err
			}
			originals = append(originals, tagged...)
		}
	}
	return originals, nil
}

// warm makes the variants of an image that its profile lists and the Watch wants, and its mezzanine.
func (w *Worker) warm(ctx context.Context, warm Warm, queued time.Time) (did bool, err error) {
	if w.ended(warm, queued) {
		return false, nil
	}
	refs, specs, err := w.Refs(ctx, warm)
	if err != nil || len(refs) == 0 {
		return false, err
	}
	w.watch(refs[0], warm, nil) // before clients can request the variants
	ctx, raise := resize.WithRaise(resize.WithPriority(ctx, resize.PriorityWarm))
	if age := time.Since(queued); !warm.All && age < lateAfter {
		defer time.AfterFunc(announcedFor-age, func() { raise(resize.PriorityPage) }).Stop()
	}
	var made []resize.Spec
	for i, out := range w.Make(ctx, refs) {
		switch {
		case out.Err != nil:
			err = worse(err, out.Err)
		case !out.Hit:
			made = append(made, specs[i])
			if !w.cfg.Elsewhere {
				w.cfg.Watch.Spent(warm.Profile, specs[i], out)
			}
		}
	}
	w.watch(refs[0], warm, made)
	if w.ended(warm, queued) { // deleted while it was made, perhaps after its purge
		err = worse(err, w.cfg.Purge(ctx, imagecache.KeyOf(refs[0]).Original()))
	}
	return true, err
}

// A new post is on pages some seconds after its event. So its job gets their priority announcedFor after it was
// queued, unless it has been there for lateAfter: its event came long ago then, or there are so many that they would
// delay pages.
const (
	announcedFor = 500 * time.Millisecond
	lateAfter    = 20 * time.Second
)

// ended reports whether the post or user of an image has been deleted since.
func (w *Worker) ended(warm Warm, queued time.Time) bool {
	return slices.ContainsFunc(warm.Tags, func(tag string) bool { return w.cfg.Tags.Ended(tag, queued) })
}

func (w *Worker) watch(ref imageurl.Ref, warm Warm, made []resize.Spec) {
	if w.cfg.Elsewhere {
		return
	}
	w.cfg.Watch.Made(
		profile.Image{Source: ref.Source(), Name: ref.Name(), Version: ref.Version()},
		warm.Profile,
		warm.Reach,
		made,
	)
}

// worse prefers an error that a retry may cure: the rest may still be made.
func worse(a, b error) error {
	if b == nil {
		return a
	}
	if a == nil || lasting(a) && !lasting(b) {
		return b
	}
	return a
}

// Refs returns the variants of a Warm, and their Specs. The last may be the facts about the original, which
// are made together with its mezzanine.
func (w *Worker) Refs(ctx context.Context, warm Warm) (refs []imageurl.Ref, specs []resize.Spec, err error) {
	specs, ok := w.cfg.Watch.Specs(warm.Image, warm.Profile, warm.Reach, warm.All)
	if !ok {
		return nil, nil, fmt.Errorf("%w: there is no profile %q", resize.ErrSpec, warm.Profile)
	}
	if !warm.All && warm.Profile != events.Avatar && w.cfg.Watch.Mezzanine(warm.Profile, warm.Reach) {
		specs = append(specs, facts)
	}
	image := warm.Image
	if warm.AskTag && w.cfg.TagOf != nil && len(specs) > 0 {
		tag, err := w.cfg.TagOf(ctx, imagecache.Original{Source: image.Source, Name: image.Name})
		if err != nil {
			return nil, nil, err
		}
		if tag != "" {
			if pinned, err := image.WithETag(tag); err == nil {
				image = pinned
			}
		}
	}
	for _, spec := range specs {
		if spec != facts {
			spec.Crop = warm.Crop
		}
		ref, err := image.Ref(spec)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", resize.ErrSpec, err)
		}
		refs = append(refs, ref)
	}
	if len(refs) == 0 && warm.Profile != "" { // nothing is made, but requests are still counted
		w.cfg.Watch.Made(image, warm.Profile, warm.Reach, nil)
	}
	return refs, specs, nil
}

// Make makes variants of one original, and waits for a while where the resize queue is full.
// Duplicates are made once.
func (w *Worker) Make(ctx context.Context, refs []imageurl.Ref) []Outcome {
	outcomes := make([]Outcome, len(refs))
	first := make(map[imageurl.Ref]int, len(refs))
	var left []int
	for i, ref := range refs {
		if _, again := first[ref]; !again {
			first[ref] = i
			left = append(left, i)
		}
	}
	defer func() {
		for i, ref := range refs {
			outcomes[i] = outcomes[first[ref]]
		}
	}()
	wait := w.cfg.Busy
	late := time.Now().Add(maxBusy)
	for round := 1; ; round++ {
		var busy []int
		for chunk := range slices.Chunk(left, sizeOfRound(round, len(left))) {
			asked := make([]imageurl.Ref, len(chunk))
			for i, at := range chunk {
				asked[i] = refs[at]
			}
			for i, out := range w.cfg.Make(ctx, asked) {
				outcomes[chunk[i]] = out
				if errors.Is(out.Err, resize.ErrBusy) {
					busy = append(busy, chunk[i])
				}
			}
		}
		if len(busy) == 0 || ctx.Err() != nil || time.Now().After(late) {
			return outcomes
		}
		left = busy
		sleep(ctx, wait/2+rand.N(wait))
		wait = min(2*wait, 20*w.cfg.Busy)
	}
}

// maxBusy is how long the resize queue may be full before a job is returned to the queue.
const maxBusy = 2 * time.Minute

// sizeOfRound is how many variants are requested together: all of them at first, later one at a time,
// because a full queue may admit one where it refuses several.
func sizeOfRound(round, all int) int {
	if round > 3 {
		return 1
	}
	return max(all, 1)
}

// lasting reports whether a retry cannot cure the error, because it is about the original itself.
func lasting(err error) bool {
	for _, kind := range []error{
		resize.ErrCorrupt, resize.ErrUnsupported, resize.ErrTooLarge, resize.ErrSpec,
		origin.ErrTooLarge, origin.ErrName, imagecache.ErrTakenDown,
	} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// pauseOf returns the origin's Retry-After, at most ten minutes; 0: it gave none.
func pauseOf(err error) time.Duration {
	var busy *origin.Busy
	if errors.As(err, &busy) {
		return min(busy.RetryAfter, 10*time.Minute)
	}
	return 0
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func clip(text string) string { return text[:min(len(text), 300)] }
