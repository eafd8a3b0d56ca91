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
// What is learnt is, for each Reach and each Spec of a profile, an average that forgets: of the last
// some learnOver images of that Reach whose watch ended, the share of which somebody asked for that
// Spec. Those with the largest shares are made, as many as can be without more than wasteMost of
// what is made being wasted, as far as is known: what is made of small posts is weighed against what
// is made of large ones. What pages tell of is weighed by itself. Of the first for which that does not
// suffice, if at least someFrom of the images are asked for it, it is made of as many images as it
// does: the hash of an image's name says of which.
//
// Before enoughSeen images of a Reach were watched to their end, which takes hours, the share is
// guessed from what is asked for at all: of a Spec that is a part q of the profile's requests, an
// image that n will see is asked for with probability 1 - e^(-qn). Before any request all Specs
// are taken to be asked for alike.
const (
	learnOver  = 100
	enoughSeen = 20
	// wasteMost is below the target of 20 %: what is learnt lags behind what happens.
	wasteMost = 0.13
	// someFrom is the share from which on a Spec for which not all of the budget is left is made of
	// some images.
	someFrom = 0.25
)

// Reach is how many are told to see an image soon: what is asked for of a post of a thousand
// followers is more than of one of ten, and of one that one page has told of least.
type Reach uint8

const (
	Unsaid Reach = iota // nobody says
	OnPage              // a page is about to be shown to somebody
	// and from here on by the digits of the audience: 1-9, 10-99, ..., a million and more
	fewest
	reaches = fewest + 7
)

// ReachOf returns the Reach of an audience; 0: it is not said.
func ReachOf(audience int) Reach {
	if audience <= 0 {
		return Unsaid
	}
	return min(fewest+Reach(math.Log10(float64(audience))), reaches-1)
}

// viewers is how many see an image of that Reach within some hours, until it is known: half of the
// audience, or as many as see a post that is neither large nor small.
func (r Reach) viewers() float64 {
	switch r {
	case Unsaid:
		return 30
	case OnPage:
		return 1
	}
	return math.Pow(10, float64(r-fewest)+0.5) / 2
}

// learnt is what is known of a profile's Specs.
type learnt struct {
	specs []resize.Spec
	// told: somebody tells of images before they are on a page. Where nobody does, the first
	// page is the first word of an image that many will look at; so it is taken to be once
	// enoughSeen images were on pages first.
	told  bool
	paged int             // images that were on a page first, while not told
	asked []*atomic.Int64 // how often each was asked for, of any image; profiles share them
	by    [reaches]shares
}

// shares is what is known of the images of one Reach.
type shares struct {
	seen  int       // images whose watch ended
	asked []float64 // the share of which somebody asked for each Spec; nil: none was seen
}

// end learns from an image of which these Specs were asked for.
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

// expect returns the share of images of a Reach of which somebody is expected to ask for each Spec.
func (l *learnt) expect(r Reach) []float64 {
	if s := &l.by[r]; s.seen >= enoughSeen {
		return s.asked
	}
	total := 0.0
	for _, n := range l.asked {
		total += 1 + float64(n.Load())
	}
	viewers := r.viewers()
	if r == OnPage && !l.told && l.paged >= enoughSeen {
		viewers = Unsaid.viewers()
	}
	guess := make([]float64, len(l.specs))
	for i, n := range l.asked {
		guess[i] = 1 - math.Exp(-(1+float64(n.Load()))/total*viewers)
	}
	return guess
}

// plan returns the Specs that are worth making early of an image of a Reach. lot is the image's, from 0
// to below 1.
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
		cost := c.many * (1 - c.share - wasteMost) // of what may be wasted; what is used gives something back
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
