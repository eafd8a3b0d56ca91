package socialday

import (
	"math"
	"math/rand/v2"
	"sort"
	"time"
)

// Device is a class of devices.
type Device struct {
	Name   string
	Share  float64 // of the people
	Scale  int     // @1x, @2x, @3x: selects the width in a profile
	Format string  // that its client requests
}

// Devices are the classes of devices. The apps decode WebP; the last class is old browsers, link
// previews and other clients that get JPEG. The shares assume an app that is used mostly on phones,
// and mostly on iPhones.
var Devices = []Device{
	{"iPhone @3x", 0.58, 3, "webp"},
	{"iPhone @2x", 0.15, 2, "webp"},
	{"Android", 0.15, 3, "webp"},
	{"web @2x", 0.07, 2, "webp"},
	{"web @1x", 0.03, 1, "webp"},
	{"JPEG", 0.02, 2, "jpg"},
}

// zones are the time zones of the people: hours from UTC and share.
var zones = []struct{ hours, share float64 }{{-8, 0.15}, {-5, 0.30}, {1, 0.35}, {9, 0.20}}

// Curve is the relative activity in each hour of the local day, with a mean of 1: lowest at four in
// the morning, highest at nine in the evening.
var Curve = [24]float64{
	0.63, 0.37, 0.21, 0.15, 0.13, 0.18, 0.40, 0.75, 0.99, 1.04, 1.04, 1.13,
	1.25, 1.19, 1.10, 1.10, 1.15, 1.27, 1.48, 1.73, 1.93, 1.96, 1.67, 1.15,
}

// Activity returns the activity at a time since midnight UTC in a zone that many hours ahead of
// UTC, interpolated linearly between the hours.
func Activity(at time.Duration, zone float64) float64 {
	hour := math.Mod(at.Hours()+zone, 24)
	if hour < 0 {
		hour += 24
	}
	low := int(hour)
	part := hour - float64(low)
	return Curve[low%24]*(1-part) + Curve[(low+1)%24]*part
}

const mostActive = 1.96 // maximum of Curve

// Parameters of popularity and habits.
const (
	// zipf is the exponent of the popularity of authors by rank, and flat levels the first few
	// ranks: weight = (rank + flat)^-zipf.
	zipf = 1.0
	flat = 5
	// postZipf is the exponent by which the number of posts grows with the popularity.
	postZipf   = 0.5
	postsADay  = 0.2 // per person
	follows    = 30  // median number of followed authors
	sessionDay = 4   // median number of sessions per day
	pageSize   = 8   // posts per page
	oldest     = 48 * time.Hour
)

// weight returns the weight of a rank, from 0.
func weight(rank int, exponent float64) float64 { return math.Pow(float64(rank+flat), -exponent) }

// person is a user of the network, who may also be an author. The index in people is the rank.
type person struct {
	zone     float64
	device   int
	sessions float64 // per day
	follows  []int   // ranks
}

// people returns n persons who follow each other.
func people(n int, random *rand.Rand) (all []person, followers [][]int) {
	draw := drawer(n, zipf)
	all = make([]person, n)
	followers = make([][]int, n)
	for i := range all {
		p := &all[i]
		p.zone = zones[pick(random.Float64(), len(zones), func(k int) float64 { return zones[k].share })].hours
		p.device = pick(random.Float64(), len(Devices), func(k int) float64 { return Devices[k].Share })
		p.sessions = min(sessionDay*math.Exp(0.7*random.NormFloat64()), 40)
		many := int(min(max(follows*math.Exp(0.8*random.NormFloat64()), 3), 200, float64(n)/4))
		seen := map[int]bool{i: true}
		for tries := 0; len(p.follows) < many && tries < 20*many; tries++ {
			if author := draw(random); !seen[author] {
				seen[author] = true
				p.follows = append(p.follows, author)
				followers[author] = append(followers[author], i)
			}
		}
	}
	return all, followers
}

// drawer returns a function that draws ranks below n by weight.
func drawer(n int, exponent float64) func(*rand.Rand) int {
	sums := make([]float64, n)
	total := 0.0
	for i := range sums {
		total += weight(i, exponent)
		sums[i] = total
	}
	return func(random *rand.Rand) int {
		return min(sort.SearchFloat64s(sums, random.Float64()*total), n-1)
	}
}

// pick returns the first index at which the sum of shares exceeds x.
func pick(x float64, n int, share func(int) float64) int {
	for i := range n {
		if x -= share(i); x < 0 {
			return i
		}
	}
	return n - 1
}

// poisson draws from a Poisson distribution.
func poisson(random *rand.Rand, mean float64) int {
	n := 0
	for at := random.ExpFloat64(); at < mean; at += random.ExpFloat64() {
		n++
	}
	return n
}

// moment draws a time between begin and end by the activity of a zone.
func moment(random *rand.Rand, begin, end time.Duration, zone float64) time.Duration {
	for {
		at := begin + time.Duration(random.Float64()*float64(end-begin))
		if random.Float64()*mostActive < Activity(at, zone) {
			return at
		}
	}
}
