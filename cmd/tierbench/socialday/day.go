// Package socialday makes up a day of a social network: who posts when, and who looks at what,
// with what. It is pure: the same Config gives the same Day.
//
// # What is modelled
//
// People live in four time zones and open the app by a curve of the hour (Curve), some seldom, some
// all the time (lognormal). They follow authors drawn by Zipf's law, so that a few have followers by
// the hundred and most have a few; a person posts 0.2 times a day, popular ones more. A session shows
// the posts of followed authors that its person has not seen, newest first, page by page of eight.
// A phone caches what it received: no user requests the same image twice, nor an avatar
// more than once a day. One page in ten has an old post on it, of which no other user requests
// anything: no event has named it before the page does.
//
// The share of posts that are never seen is no parameter: it follows from that, as does which Specs of
// a post are asked for (Stats counts both).
//
// # Two clocks
//
// The day is compressed (Config.Lasts), and the machine that it is played against is not. So what
// races with that machine stays in real time: no user sees a post before it has been fanned out
// to its followers (FanOut, a second and more after the event), and a phone asks for images some
// tenth of a second after the page was sent to it. One in fifty followers learns of a post from a
// notification and looks within seconds. All others come with their next session, which a compressed
// day makes come sooner: a post with many followers is viewed the moment that it can be
// seen. That is against the tier, which has less time than it would have.
//
// # What is not
//
// No CDN stands in front, no post is deleted or edited, no avatar changes, no post has more than one
// image, and no two networks meet.
package socialday

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Config of a Day.
type Config struct {
	People int           // of the network
	Lasts  time.Duration // how long the day is played
	Seed   uint64
}

// Before is how much of the day before is in a Day: what was posted then is still looked at.
const Before = 8 * time.Hour

// Post is a post with an image.
type Post struct {
	At       time.Duration // when it is published, from the begin of the day; the day before is negative
	Seen     time.Duration // when it has been fanned out to its followers: no page shows it before
	Author   int
	Audience int  // followers of the author
	Old      bool // of long before: no event tells of it
}

// Page is one page that a user is shown.
type Page struct {
	At     time.Duration // when it is sent to the phone
	Device int           // of Devices
	Posts  []int
	Asks   []Ask // in the order of their times
}

// Ask is a request for an image.
type Ask struct {
	At     time.Duration
	Avatar bool // of the author; else the image of the post
	Post   int
	Device int
}

// Day is posts and pages, both in the order of their times.
type Day struct {
	Posts []Post
	Pages []Page
}

// Times that are not compressed.
const (
	fanOutLeast = time.Second            // from the event until the first follower can be shown the post
	fanOutMean  = time.Second            // more, on average
	layout      = 250 * time.Millisecond // median of a page's way to the phone and onto its screen
	scroll      = 400 * time.Millisecond // between images below the first three
	notified    = 0.02                   // of followers
	glance      = 5 * time.Second        // median of how long after a notification its user looks
)

const (
	oldOnPage = 0.1 // of pages have an old post
	morePages = 0.5 // chance that a page is followed by another
)

// New makes up a day.
func New(cfg Config) Day {
	random := rand.New(rand.NewPCG(cfg.Seed, 1))
	m := &maker{cfg: cfg, random: random}
	m.people, m.followers = people(cfg.People, random)
	m.post()
	for i := range m.people {
		m.live(i)
	}
	slices.SortStableFunc(m.day.Pages, func(a, b Page) int { return cmp.Compare(a.At, b.At) })
	return m.day
}

type maker struct {
	cfg           Config
	random        *rand.Rand
	people        []person
	followers     [][]int
	byAuthor      map[int][]int // posts, by time
	notifications map[int][]int // by person: posts of which there was a notification
	day           Day
}

// wall returns the time at which a time of the day is played.
func (m *maker) wall(at time.Duration) time.Duration {
	return time.Duration(float64(at) * float64(m.cfg.Lasts) / float64(24*time.Hour))
}

func (m *maker) post() {
	total := 0.0
	for rank := range m.people {
		total += weight(rank, postZipf)
	}
	span := 24*time.Hour + Before
	for rank, p := range m.people {
		mean := postsADay * float64(len(m.people)) * weight(rank, postZipf) / total * span.Hours() / 24
		for range poisson(m.random, mean) {
			at := m.wall(moment(m.random, -Before, 24*time.Hour, p.zone))
			seen := at + fanOutLeast + time.Duration(m.random.ExpFloat64()*float64(fanOutMean))
			m.day.Posts = append(m.day.Posts, Post{At: at, Seen: seen, Author: rank, Audience: len(m.followers[rank])})
		}
	}
	slices.SortStableFunc(m.day.Posts, func(a, b Post) int { return cmp.Compare(a.At, b.At) })
	m.byAuthor, m.notifications = make(map[int][]int), make(map[int][]int)
	for i, post := range m.day.Posts {
		m.byAuthor[post.Author] = append(m.byAuthor[post.Author], i)
		for _, f := range m.followers[post.Author] {
			if m.random.Float64() < notified {
				m.notifications[f] = append(m.notifications[f], i)
			}
		}
	}
}

// live plays the day of one person.
func (m *maker) live(who int) {
	p := m.people[who]
	var opens []time.Duration
	span := 24*time.Hour + Before
	for range poisson(m.random, p.sessions*span.Hours()/24) {
		opens = append(opens, m.wall(moment(m.random, -Before, 24*time.Hour, p.zone)))
	}
	for _, post := range m.notifications[who] {
		opens = append(opens, m.day.Posts[post].Seen+m.lognormal(glance, 0.8))
	}
	slices.Sort(opens)
	var candidates []int
	for _, author := range p.follows {
		candidates = append(candidates, m.byAuthor[author]...)
	}
	slices.SortFunc(candidates, func(a, b int) int { return cmp.Compare(m.day.Posts[b].Seen, m.day.Posts[a].Seen) })
	phone := &phone{maker: m, device: p.device, posts: make(map[int]bool), avatars: make(map[int]bool)}
	for _, at := range opens {
		if at < m.cfg.Lasts {
			phone.open(at, candidates)
		}
	}
}

// lognormal draws from one of that median.
func (m *maker) lognormal(median time.Duration, sigma float64) time.Duration {
	return time.Duration(float64(median) * math.Exp(sigma*m.random.NormFloat64()))
}

// phone has what it was sent.
type phone struct {
	*maker
	device         int
	posts, avatars map[int]bool
}

// open is a session: pages of what is new, the newest first.
func (f *phone) open(at time.Duration, candidates []int) {
	for {
		var shown []int
		for _, post := range candidates {
			p := f.day.Posts[post]
			if p.Seen > at || f.posts[post] {
				continue
			}
			if len(shown) == pageSize || at-p.Seen > f.wall(oldest) {
				break
			}
			shown = append(shown, post)
		}
		if len(shown) == 0 {
			return
		}
		f.page(at, shown)
		if len(shown) < pageSize || f.random.Float64() >= morePages {
			return
		}
		at += f.lognormal(8*time.Second, 0.5)
		if at >= f.cfg.Lasts {
			return
		}
	}
}

func (f *phone) page(at time.Duration, posts []int) {
	if f.random.Float64() < oldOnPage {
		// An old post of any author: a post of its own, older than all others.
		by := f.day.Posts[posts[0]]
		f.day.Posts = append(
			f.day.Posts,
			Post{At: -f.cfg.Lasts, Seen: -f.cfg.Lasts, Author: by.Author, Audience: by.Audience, Old: true},
		)
		posts = append(posts, len(f.day.Posts)-1)
	}
	page := Page{At: at, Device: f.device, Posts: posts}
	ask := at + f.lognormal(layout, 0.5)
	for i, post := range posts {
		if i >= 3 {
			ask += time.Duration(f.random.ExpFloat64() * float64(scroll))
		}
		if author := f.day.Posts[post].Author; !f.avatars[author] {
			f.avatars[author] = true
			page.Asks = append(page.Asks, Ask{At: ask, Avatar: true, Post: post, Device: f.device})
		}
		f.posts[post] = true
		page.Asks = append(page.Asks, Ask{At: ask, Post: post, Device: f.device})
	}
	f.day.Pages = append(f.day.Pages, page)
}
