package warmer

import (
	"hash/maphash"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/prefetch/profile"
	"github.com/novasocial/imagetier/resize"
)

// WatchConfig configures a Watch.
type WatchConfig struct {
	Mode     Mode
	Profiles *profile.Set // required
	// For is how long an image is watched; variants not requested by then count as wasted. 0 is
	// 6 h, since most images of a feed are viewed within hours after they were posted.
	For time.Duration
	// Budget is the share of the CPU time spent on warming that may be wasted, as far as can be foreseen;
	// 0 is 0.16.
	Budget float64
	// Most is the maximum number of watched images, some 150 bytes each. Beyond it the oldest
	// watches end early. 0 is 100,000.
	Most int
	// Lead is called at the first request of a variant with the time since it was made; may be nil.
	Lead func(time.Duration)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Watch plans which Specs are made early, and watches which of them are requested. It is safe for
// concurrent use. Learnt and Recall carry its statistics over a restart.
type Watch struct {
	cfg  WatchConfig
	seed maphash.Seed
	any  atomic.Bool  // some image is watched
	made atomic.Int64 // variants and mezzanines that were made early

	mu       sync.Mutex
	used     Amount // guarded by mu, as the fields below
	wasted   Amount
	watched  map[uint64]*watched // by Image
	order    []begun             // oldest first
	young    []begun             // the part of order whose first minutes have not passed
	profiles map[string]*learnt

	making map[imageurl.Ref]bool // variants that are being made for pages, and whether one was requested

	bySpec atomic.Pointer[map[resize.Spec]listed] // the map is never changed
}

// listed is a Spec of a profile.
type listed struct {
	profile string        // the first that lists it
	asked   *atomic.Int64 // requests for any image
}

// watched is an image that was planned. Bits are indexes into the profile's Specs.
type watched struct {
	of    *learnt
	reach Reach
	since time.Time
	made  uint64
	asked uint64
	first int8 // index of the Spec that was requested first; -1: none of the profile's
	other bool // requested in a Spec that is not in the profile
	// mezzanine means that one was made early, and used that an image was made from it.
	mezzanine, used bool
}

// NewWatch returns a Watch. It starts no goroutine: other calls end old watches.
func NewWatch(cfg WatchConfig) *Watch {
	if cfg.For == 0 {
		cfg.For = 6 * time.Hour
	}
	if cfg.Budget == 0 {
		cfg.Budget = wasteMost
	}
	if cfg.Most == 0 {
		cfg.Most = 100_000
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	w := &Watch{
		cfg:      cfg,
		seed:     maphash.MakeSeed(),
		watched:  make(map[uint64]*watched),
		profiles: make(map[string]*learnt),
	}
	w.list()
	return w
}

// list sets bySpec.
func (w *Watch) list() {
	bySpec := make(map[resize.Spec]listed)
	for _, name := range w.cfg.Profiles.Names() {
		p, _ := w.cfg.Profiles.Get(name)
		for _, spec := range p.Specs() {
			if _, ok := bySpec[spec]; !ok {
				bySpec[spec] = listed{name, new(atomic.Int64)}
			}
		}
	}
	w.bySpec.Store(&bySpec)
}

// ReplaceProfiles replaces the profiles of WatchConfig.Profiles by those of set. It keeps the statistics
// that Recall would keep.
func (w *Watch) ReplaceProfiles(set *profile.Set) error {
	text, err := w.Learnt()
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.cfg.Profiles.Replace(set)
	clear(w.profiles)
	w.list()
	w.mu.Unlock()
	return w.Recall(text)
}

// Made begins to watch an image, of which variants of these Specs were made early. It is also called
// if none was made, to learn which Specs are requested. An image that is watched already keeps its
// Reach.
func (w *Watch) Made(image profile.Image, profileName string, reach Reach, made []resize.Spec) {
	key := w.key(image.String())
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.profile(profileName)
	if l == nil {
		return
	}
	now := w.cfg.Now()
	w.endOld(now)
	one := w.watched[key]
	if one == nil || one.of != l {
		if one != nil {
			w.end(key, one)
		}
		one = &watched{of: l, reach: reach, since: now, first: -1}
		if l.announced = l.announced || reach != OnPage; !l.announced {
			l.paged++
		}
		w.watched[key] = one
		w.order = append(w.order, begun{key, one})
		w.young = append(w.young, begun{key, one})
		w.any.Store(true)
	}
	before := one.made
	for i, spec := range l.specs {
		if slices.Contains(made, spec) {
			one.made |= 1 << i
		}
		if (one.made&^before)&one.asked>>i&1 != 0 { // requested while it was made
			w.used.add(l.costOf(i))
		}
	}
	w.made.Add(int64(bits.OnesCount64(one.made &^ before)))
	if !one.mezzanine && slices.Contains(made, facts) {
		one.mezzanine = true
		w.made.Add(1)
	}
	w.useMezzanine(one)
}

// Spent records the cost of a variant that was made for a profile.
func (w *Watch) Spent(profileName string, spec resize.Spec, made Outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.profile(profileName)
	if l == nil {
		return
	}
	at := slices.Index(l.specs, spec)
	if spec == facts {
		at = len(l.specs)
	}
	if at >= 0 {
		l.costs[at].add(cost{made.CPU, int64(len(made.Body))})
	}
}

// listedSpec returns the Spec of a profile that ref was made for. The crop is the image's own.
func listedSpec(ref imageurl.Ref) resize.Spec {
	spec := ref.Spec()
	spec.Crop = resize.Crop{}
	return spec
}

// MadeFor begins to watch a variant that was made for a page, or here for the job of another node: the
// balancer sends clients' requests for it to this node, too. The profile is the first that lists its
// Spec.
func (w *Watch) MadeFor(ref imageurl.Ref, reach Reach) {
	spec := listedSpec(ref)
	if in, ok := (*w.bySpec.Load())[spec]; ok {
		w.Made(
			profile.Image{Source: ref.Source(), Name: ref.Name(), Version: ref.Version()},
			in.profile,
			reach,
			[]resize.Spec{spec},
		)
	}
}

// lately is the divisor of WatchConfig.For that gives the time in which an image on a page is not
// warmed again: ten minutes for 6 h.
const lately = 36

// Lately reports whether a watch of the image for that profile began a short time ago. An image
// that is on many pages is then queued once.
func (w *Watch) Lately(image profile.Image, profileName string) bool {
	key := w.key(image.String())
	w.mu.Lock()
	defer w.mu.Unlock()
	one := w.watched[key]
	return one != nil && one.of == w.profiles[profileName] && w.cfg.Now().Sub(one.since) < w.cfg.For/lately
}

// Asked notes a client's request for a variant. It takes no lock while nothing is watched, and
// allocates nothing.
func (w *Watch) Asked(ref imageurl.Ref) {
	spec := listedSpec(ref)
	if in, ok := (*w.bySpec.Load())[spec]; ok {
		in.asked.Add(1)
	}
	if !w.any.Load() {
		return
	}
	w.mu.Lock()
	if _, ok := w.making[ref]; ok {
		w.making[ref] = true
	}
	w.mu.Unlock()
	w.requested(ref)
}

// requested notes the first request for a variant that is watched.
func (w *Watch) requested(ref imageurl.Ref) {
	name, ok := imageOf(ref)
	if !ok {
		return
	}
	spec, key := listedSpec(ref), w.key(name)
	w.mu.Lock()
	one := w.watched[key]
	var lead time.Duration
	first := false
	if one != nil {
		for i := range one.of.specs {
			if one.of.specs[i] == spec && one.asked&(1<<i) == 0 {
				if one.asked == 0 {
					one.first = int8(i)
				}
				one.asked |= 1 << i
				if one.made&(1<<i) != 0 {
					first, lead = true, w.cfg.Now().Sub(one.since)
					w.used.add(one.of.costOf(i))
				}
			}
		}
		one.other = one.other || !slices.Contains(one.of.specs, spec)
		w.useMezzanine(one)
	}
	w.mu.Unlock()
	if first && w.cfg.Lead != nil {
		w.cfg.Lead(lead)
	}
}

// Counts returns how many variants made early were requested while they were watched, and how many
// were not.
func (w *Watch) Counts() (used, wasted Amount) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.endOld(w.cfg.Now())
	return w.used, w.wasted
}

// MadeCount returns how many variants and mezzanines were made early since the start. Those that are
// neither used nor wasted are still watched.
func (w *Watch) MadeCount() int64 { return w.made.Load() }

// endOld ends watches that have lasted long enough, and those that are too many.
func (w *Watch) endOld(now time.Time) {
	for len(w.young) > 0 {
		one, running := w.young[0].one, w.running(w.young[0])
		if running && now.Sub(one.since) < w.cfg.For/lately && len(w.young) < w.cfg.Most {
			break
		}
		w.young = w.young[1:]
		if running {
			one.of.by[one.reach].begin(len(one.of.specs), one.asked)
		}
	}
	for len(w.order) > 0 {
		first, running := w.order[0], w.running(w.order[0])
		if running && now.Sub(first.one.since) < w.cfg.For && len(w.order) < w.cfg.Most {
			return
		}
		w.order = w.order[1:]
		if running {
			w.end(first.key, first.one)
		}
	}
	w.any.Store(len(w.watched)+len(w.making) > 0)
}

// begun is a watch that began under a key.
type begun struct {
	key uint64
	one *watched
}

// running reports whether no other watch has begun under the key since.
func (w *Watch) running(b begun) bool { return w.watched[b.key] == b.one }

// Making notes that a variant is being made for a page. done is called when that has ended; if made is
// true, the variant is watched. It counts as used if a client has joined the fill.
func (w *Watch) Making(ref imageurl.Ref) (done func(made bool, out Outcome)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, again := w.making[ref]; again {
		return func(bool, Outcome) {}
	}
	if w.making == nil {
		w.making = make(map[imageurl.Ref]bool)
	}
	w.making[ref] = false
	w.any.Store(true)
	return func(made bool, out Outcome) {
		if made {
			if in, ok := (*w.bySpec.Load())[listedSpec(ref)]; ok {
				w.Spent(in.profile, listedSpec(ref), out)
			}
			w.MadeFor(ref, OnPage)
		}
		w.mu.Lock()
		asked := w.making[ref]
		delete(w.making, ref)
		w.mu.Unlock()
		if made && asked {
			w.requested(ref)
		}
	}
}

// end adds a watch to the statistics. All requested Specs count, made early or not, so that a Spec
// that is not made early can be again.
func (w *Watch) end(key uint64, one *watched) {
	delete(w.watched, key)
	one.of.by[one.reach].end(len(one.of.specs), one.asked, int(one.first))
	for i := range one.of.specs {
		if (one.made&^one.asked)>>i&1 != 0 {
			w.wasted.add(one.of.costOf(i))
		}
	}
	if one.mezzanine && !one.used {
		w.wasted.add(one.of.costOf(len(one.of.specs)))
	}
}

func (w *Watch) key(image string) uint64 { return maphash.String(w.seed, image) }

// imageOf returns the part of a Ref that names its image: what profile.Image.String gives.
func imageOf(ref imageurl.Ref) (string, bool) {
	text := ref.String() // /shape/version/source/name.format
	if len(text) < 2 || ref.Spec().Shape != resize.ShapeVariant {
		return "", false
	}
	at := 1
	for at < len(text) && text[at] != '/' {
		at++
	}
	end := len(text) - 1
	for end > at && text[end] != '.' {
		end--
	}
	if end <= at {
		return "", false
	}
	return text[at+1 : end], true
}
