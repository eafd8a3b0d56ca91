package warmer

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"sync/atomic"

	"github.com/novasocial/imagetier/resize"
)

// Thresholds of Adaptive.
//
// For each Reach and each Spec of a profile, a moving average is kept: the share of the last
// learnOver images of that Reach for which the Spec was requested before their watch ended. Until
// enoughSeen images of a Reach were watched to their end, which takes hours, it is mixed with a
// guess: if a Spec has the fraction q of the profile's requests (at first priorsOf), an image with n
// viewers is requested in it with probability 1 - e^(-qn). What was requested within minutes raises
// the guess at once.
//
// Specs are then chosen so that, over all Reaches together, at most a budget (wasteMost) of the CPU time
// spent on warming is expected to be wasted. A variant gains a requested size, and a first view if it is the first
// to be requested; those that gain most for the CPU time that they are expected to waste come first. OnPage is
// budgeted separately. The first Spec that exceeds the budget is made for a part of the images, selected
// by the hash of their names, if its share is at least someFrom.
const (
	learnOver  = 100
	enoughSeen = 20
	// wasteMost is below the target of 20 % because the averages lag behind.
	wasteMost = 0.16
	// someFrom is the least share of a Spec that is made for a part of the images.
	someFrom = 0.25
	// severalFrom is the least share of images that were requested in several sizes, from which on a
	// mezzanine is made of every announced image.
	severalFrom = 0.05
)

// Reach is the expected number of viewers of an image, in classes: an image for a thousand
// followers is requested in more variants than one for ten, or one on a single page.
type Reach uint8

const (
	Unsaid Reach = iota // unknown
	OnPage              // from an event feed.page, which is about one viewer
	// and from here on by the digits of the audience: 1-9, 10-99, ..., a million and more
	fewest
	reaches = fewest + 7
)

// ReachOf returns the Reach of an audience; 0: it is unknown.
func ReachOf(audience int) Reach {
	if audience <= 0 {
		return Unsaid
	}
	return min(fewest+Reach(math.Log10(float64(audience))), reaches-1)
}

// viewers estimates how many see an image of a Reach within some hours: half of the audience, or
// 30 if it is unknown.
func (r Reach) viewers() float64 {
	switch r {
	case Unsaid:
		return 30
	case OnPage:
		return 1
	}
	return math.Pow(10, float64(r-fewest)+0.5) / 2
}

// learnt has the statistics of a profile's Specs.
type learnt struct {
	specs  []resize.Spec
	priors []float64 // of each Spec
	// announced means that an event announced an image before it was on a page. Otherwise, after enoughSeen
	// images, the first page with an image counts as its announcement to many viewers.
	announced bool
	paged     int             // images that were on a page first, while announced was false
	asked     []*atomic.Int64 // requests of each Spec for any image; profiles share the counters
	costs     []costs         // of each Spec, and of the mezzanine
	by        [reaches]shares
}

func newLearnt(specs []resize.Spec) *learnt {
	return &learnt{specs: specs, priors: priorsOf(specs), costs: make([]costs, len(specs)+1)}
}

// costOf returns the cost of a Spec; i may be the index of the mezzanine.
func (l *learnt) costOf(i int) cost {
	if i == len(l.specs) {
		return l.costs[i].of(resize.Spec{Shape: resize.ShapeInfo})
	}
	return l.costs[i].of(l.specs[i])
}

// shares has the statistics of the images of one Reach.
type shares struct {
	seen    int       // images whose watch ended
	asked   []float64 // the share that was requested in each Spec; nil if seen is 0
	first   []float64 // the share for which each Spec was requested first; nil if seen is 0
	several float64   // the share that was requested in several Specs
	// early and soon are seen and asked of images whose first minutes have passed.
	early int
	soon  []float64
}

// end adds an image that was requested in these Specs, as bits, and in first at first (-1: in none).
func (s *shares) end(specs int, asked uint64, first int) {
	if s.asked == nil {
		s.asked = make([]float64, specs)
	}
	if s.first == nil {
		s.first = make([]float64, specs)
	}
	s.seen++
	weight := 1 / float64(min(s.seen, learnOver))
	for i := range s.asked {
		one := float64(asked >> i & 1)
		s.asked[i] += (one - s.asked[i]) * weight
		one = 0
		if i == first {
			one = 1
		}
		s.first[i] += (one - s.first[i]) * weight
	}
	one := 0.0
	if bits.OnesCount64(asked) > 1 {
		one = 1
	}
	s.several += (one - s.several) * weight
}

// begin adds an image that was requested in these Specs, as bits, in its first minutes.
func (s *shares) begin(specs int, asked uint64) {
	if s.soon == nil {
		s.soon = make([]float64, specs)
	}
	s.early = min(s.early+1, enoughSeen)
	for i := range s.soon {
		s.soon[i] += (float64(asked>>i&1) - s.soon[i]) / float64(s.early)
	}
}

// enoughEarly is how many images have to pass their first minutes before these raise the guess.
const enoughEarly = 5

// expect returns the share of images of a Reach that will be requested in each Spec, and first in it.
func (l *learnt) expect(r Reach) (asked, first []float64) {
	s := &l.by[r]
	known := min(float64(s.seen)/enoughSeen, 1)
	total := float64(priorWeight)
	for _, n := range l.asked {
		total += float64(n.Load())
	}
	viewers := r.viewers()
	if r == OnPage && !l.announced && l.paged >= enoughSeen {
		viewers = Unsaid.viewers()
	}
	asked, first = make([]float64, len(l.specs)), make([]float64, len(l.specs))
	for i, n := range l.asked {
		q := (priorWeight*l.priors[i] + float64(n.Load())) / total
		asked[i], first[i] = 1-math.Exp(-q*viewers), q*(1-math.Exp(-viewers))
		if s.early >= enoughEarly {
			asked[i] = max(asked[i], s.soon[i])
		}
		if s.seen > 0 {
			asked[i] += (s.asked[i] - asked[i]) * known
			first[i] += (s.first[i] - first[i]) * known
		}
	}
	return asked, first
}

// candidate is a Spec that may be made of the images of a Reach.
type candidate struct {
	reach Reach
	spec  int
	share float64
	spent float64 // CPU time for all these images
	over  float64 // expected waste above the budget; if negative, it leaves room for other Specs
	gain  float64 // requested sizes and first views that it turns into hits
}

func (l *learnt) candidates(of Reach, budget float64) (all []candidate) {
	for r := range Reach(reaches) {
		if r != of && (l.by[r].seen == 0 || (r == OnPage) != (of == OnPage)) {
			continue
		}
		images := float64(max(l.by[r].seen, 1))
		asked, first := l.expect(r)
		for i, share := range asked {
			spent := images * float64(l.costOf(i).cpu)
			all = append(all, candidate{r, i, share, spent, spent * (1 - share - budget), images * (share + first[i])})
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int {
		if a.over <= 0 || b.over <= 0 {
			return cmp.Compare(a.over, b.over)
		}
		return cmp.Compare(b.gain/b.over, a.gain/a.over)
	})
	return all
}

// plan returns the Specs to make early for an image of a Reach. lot in [0, 1) is a hash of its name, budget
// the share of CPU time that may be wasted.
func (l *learnt) plan(of Reach, lot, budget float64) (specs []resize.Spec) {
	left := 0.0 // of the budget, as CPU time that may be wasted
	var worth uint64
	for _, c := range l.candidates(of, budget) {
		part := 1.0
		if c.over > left {
			part = left / c.over
		}
		if part < 1 && c.share < someFrom {
			continue
		}
		if c.reach == of && lot < part {
			worth |= 1 << c.spec
		}
		if left -= c.over; part < 1 {
			break
		}
	}
	if worth == 0 && of != OnPage && l.seen() < enoughSeen {
		worth = 1 << l.likeliest(of) // nothing is known yet: make one to learn
	}
	for i, spec := range l.specs {
		if worth&(1<<i) != 0 {
			specs = append(specs, spec)
		}
	}
	return specs
}

// seen returns how many watches of announced images have ended.
func (l *learnt) seen() (n int) {
	for r := range l.by {
		if Reach(r) != OnPage {
			n += l.by[r].seen
		}
	}
	return n
}

// likeliest returns the Spec that an image of a Reach is most likely requested in.
func (l *learnt) likeliest(of Reach) int {
	asked, _ := l.expect(of)
	best := 0
	for i, share := range asked {
		if share > asked[best] {
			best = i
		}
	}
	return best
}

// mezzanine reports whether a mezzanine is made of an announced image: unless images are requested in one
// size only.
func (l *learnt) mezzanine(of Reach) bool {
	if of == OnPage {
		return false
	}
	several, seen := 0.0, 0
	for r := range l.by {
		several += l.by[r].several * float64(l.by[r].seen)
		seen += l.by[r].seen
	}
	return seen < enoughSeen || several >= severalFrom*float64(seen)
}
