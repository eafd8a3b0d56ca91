package socialday

import (
	"slices"
	"time"
)

// Stats summarizes a part of a Day.
type Stats struct {
	Posts, Pages, Asks int
	Avatars            int     // of Asks
	Old                int     // of Asks: for old posts
	Unseen             float64 // share of the posts of this part that were not seen in this part
	Views              float64 // average per post
	// Asked is the share of the seen posts that were requested in the Spec of each device class.
	Asked []float64
	// Lead is the median of the time from publication to the first request.
	Lead time.Duration
}

// Between returns the statistics of the time from one point to another.
func (d Day) Between(from, to time.Duration) Stats {
	s := Stats{Asked: make([]float64, len(Devices))}
	first := make(map[int]time.Duration)
	by := make(map[int]uint)
	views := 0
	for _, page := range d.Pages {
		if page.At < from || page.At >= to {
			continue
		}
		s.Pages++
		s.Asks += len(page.Asks)
		for _, ask := range page.Asks {
			post := d.Posts[ask.Post]
			switch {
			case ask.Avatar:
				s.Avatars++
			case post.Old:
				s.Old++
			case post.At >= from && post.At < to:
				views++
				by[ask.Post] |= 1 << ask.Device
				if at, ok := first[ask.Post]; !ok || ask.At < at {
					first[ask.Post] = ask.At
				}
			}
		}
	}
	var leads []time.Duration
	for i, post := range d.Posts {
		if post.Old || post.At < from || post.At >= to {
			continue
		}
		s.Posts++
		if at, ok := first[i]; ok {
			leads = append(leads, at-post.At)
		}
		for device := range Devices {
			if by[i]&(1<<device) != 0 {
				s.Asked[device]++
			}
		}
	}
	if s.Posts == 0 || len(leads) == 0 {
		return s
	}
	for device := range Devices {
		s.Asked[device] /= float64(len(leads))
	}
	slices.Sort(leads)
	s.Lead = leads[len(leads)/2]
	s.Unseen = 1 - float64(len(leads))/float64(s.Posts)
	s.Views = float64(views) / float64(s.Posts)
	return s
}

// Busiest returns the start of the interval of that length with the most requests.
func (d Day) Busiest(length time.Duration) time.Duration {
	var times []time.Duration
	for _, page := range d.Pages {
		if page.At >= 0 {
			for range page.Asks {
				times = append(times, page.At)
			}
		}
	}
	best, most, low := time.Duration(0), 0, 0
	for high, at := range times {
		for at-times[low] >= length {
			low++
		}
		if n := high - low + 1; n > most {
			best, most = times[low], n
		}
	}
	return best
}
