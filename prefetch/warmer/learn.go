package warmer

import (
	"cmp"
	"math"
	"slices"
	"sync/atomic"

	"github.com/novasocial/imagetier/resize"
)

// Thresholds of Adaptive.
//
// For each Reach and each Spec of a profile, a moving average is kept: the share of the last
// learnOver images of that Reach for which the Spec was requested before their watch ended. The
// Specs with the largest shares are made, as many as possible while at most wasteMost of all
// variants made early are expected to be wasted, over all Reaches together. OnPage is budgeted
// separately. The first Spec that exceeds the budget is made for a part of the images, selected
// by the hash of their names, if its share is at least someFrom.
//
// Until enoughSeen images of a Reach were watched to their end, which takes hours, the share is
// estimated from all requests: if a Spec has the fraction q of the profile's requests, an image
// with n viewers is requested in it with probability 1 - e^(-qn). Before any request all Specs
// are assumed to be equally frequent.
const (
	learnOver  = 100
	enoughSeen = 20
	// wasteMost is below the target of 20 % because the averages lag behind.
	wasteMost = 0.13
	// someFrom is the least share of a Spec that is made for a part of the images.
	someFrom = 0.25
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
	specs []resize.Spec
	// announced means that an event announced an image before it was on a page. Otherwise, after enoughSeen
	// images, the first page with an image counts as its announcement to many viewers.
	announced bool
	paged     int             // images that were on a page first, while announced was false
	asked     []*atomic.Int64 // requests of each Spec for any image; profiles share the counters
	by        [reaches]shares
}

// shares has the statistics of the images of one Reach.
type shares struct {
	seen  int       // images whose watch ended
	asked []float64 // the share that was requested in each Spec; nil if seen is 0
}

// end adds an image that was requested in these Specs, as bits.
func (s *shares) end(specs int, asked uint64) {
	if s.asked == nil {
		s.asked = make([]float64, specs)
	}
	s.seen++
	weight := 1 / float64(min(s.seen, learnOver))
	for i := range s.asked {
		one := float64(asked >> i & 1)
		s.asked[i] += (one - s.asked[i]) * weight
	}
}

// expect returns the share of images of a Reach that will be requested, for each Spec.
func (l *learnt) expect(r Reach) []float64 {
	if s := &l.by[r]; s.seen >= enoughSeen {
		return s.asked
	}
	total := 0.0
	for _, n := range l.asked {
		total += 1 + float64(n.Load())
	}
	viewers := r.viewers()
	if r == OnPage && !l.announced && l.paged >= enoughSeen {
		viewers = Unsaid.viewers()
	}
	guess := make([]float64, len(l.specs))
	for i, n := range l.asked {
		guess[i] = 1 - math.Exp(-(1+float64(n.Load()))/total*viewers)
	}
	return guess
}

// plan returns the Specs to make early for an image of a Reach. lot in [0, 1) is a hash of its name.
func (l *learnt) plan(of Reach, lot float64) (specs []resize.Spec) {
	type candidate struct {
		reach Reach
		spec  int
		share float64
		many  float64 // images
	}
	var all []candidate
	for r := range Reach(reaches) {
		if r != of && (l.by[r].seen == 0 || (r == OnPage) != (of == OnPage)) {
			continue
		}
		for i, share := range l.expect(r) {
			all = append(all, candidate{r, i, share, float64(max(l.by[r].seen, 1))})
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(b.share, a.share) })
	made, wasted := 0.0, 0.0
	var worth uint64
	for _, c := range all {
		left := wasteMost*made - wasted
		cost := c.many * (1 - c.share - wasteMost) // of the waste budget; a Spec with a large share adds to it
		part := 1.0
		if cost > left {
			part = left / cost
		}
		if part < 1 && c.share < someFrom {
			break
		}
		if c.reach == of && lot < part {
			worth |= 1 << c.spec
		}
		if part < 1 {
			break
		}
		made, wasted = made+c.many, wasted+c.many*(1-c.share)
	}
	for i, spec := range l.specs {
		if worth&(1<<i) != 0 {
			specs = append(specs, spec)
		}
	}
	return specs
}
