// Package socialday generates a day of a social network: posts, pages, and the image requests of
// their viewers. It is deterministic: the same Config gives the same Day.
//
// # What is modelled
//
// People live in four time zones and open the app by a curve of the hour (Curve), some rarely, some
// all the time (lognormal). They follow authors drawn by Zipf's law, so a few authors have hundreds of
// followers and most have a few. A person posts 0.2 times a day, popular ones more often. A session
// shows the unseen posts of followed authors, newest first, in pages of eight. A phone caches what it
// received: no user requests the same image twice, nor an avatar more than once a day. One page in
// ten has an old post that no other user requests, so no event has named it before the page does.
//
// The share of posts that are never seen, and the Specs that are requested of a post, are not
// parameters but results of these rules (Stats counts both).
//
// # Two clocks
//
// The day is compressed (Config.Lasts); the machine under test is not. So delays that race with the
// machine stay in real time: no user sees a post before it has been fanned out to its followers (a
// second or more after the event), and a phone requests images some tenths of a second after it
// received the page. One in fifty followers gets a notification of a post and looks within seconds.
// All others see it in their next session, which comes sooner in a compressed day: a post with many
// followers is viewed as soon as it can be seen. So the tier has less time than it would have in
// reality.
//
// # What is not modelled
//
// There is no CDN, no post is deleted or edited, no avatar changes, and a post has one image.
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
	People int           // size of the network
	Lasts  time.Duration // length of the compressed day
	Seed   uint64
}

// Before is the part of the previous day that a Day includes, since its posts are still viewed.
const Before = 8 * time.Hour

// Post is a post with an image.
type Post struct {
	At       time.Duration // when it is published, from the start of the day; negative on the previous day
	Seen     time.Duration // when it has been fanned out to followers; no earlier page shows it
	Author   int
	Audience int  // followers of the author
	Old      bool // older than all others; no event announces it
}

// Page is one page that a user is shown.
type Page struct {
	At     time.Duration // when it is sent to the phone
	Device int           // index of Devices
	Posts  []int
	Asks   []Ask // sorted by time
}

// Ask is a request for an image.
type Ask struct {
	At     time.Duration
	Avatar bool // of the author of the post; else the image of the post
	Post   int
	Device int
}

// Day has posts and pages, both sorted by time.
type Day struct {
	Posts []Post
	Pages []Page
}

// Times that are not compressed, and shares.
const (
	fanOutLeast = time.Second            // minimum time from the event until a follower can see the post
	fanOutMean  = time.Second            // in addition, on average
	layout      = 250 * time.Millisecond // median time from sending a page to showing it
	scroll      = 400 * time.Millisecond // between images below the first three
	notified    = 0.02                   // of followers
	glance      = 5 * time.Second        // median time from a notification to the view
)

const (
	oldOnPage = 0.1 // share of pages with an old post
	morePages = 0.5 // chance that a page is followed by another
)

// New generates a day.
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
	notifications map[int][]int // by person: posts that caused a notification
	day           Day
}

// wall converts a time of the uncompressed day to the compressed day.
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

// live generates the sessions of one person.
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

// lognormal draws from a lognormal distribution with that median.
func (m *maker) lognormal(median time.Duration, sigma float64) time.Duration {
	return time.Duration(float64(median) * math.Exp(sigma*m.random.NormFloat64()))
}

// phone has the images that a phone has received.
type phone struct {
	*maker
	device         int
	posts, avatars map[int]bool
}

// open generates a session: pages of unseen posts, newest first.
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
		// A new Post, by any author and older than all others.
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
