package fakeservices

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/novasocial/imagetier/gateway/proto/contentpb"
	"github.com/novasocial/imagetier/gateway/proto/userpb"
)

// Data configures the posts, users and feeds. Equal Data give the same ones in every process, so
// each service can run in its own process.
type Data struct {
	// Posts is the number of posts. 0 is 2,000.
	Posts int
	// Authors is the number of their authors. 0 is 200.
	Authors int
	// FeedLength is the number of posts in a feed, at most Posts. 0 is 200. They follow from the
	// user's id; some posts are in most feeds, most in few (Zipf).
	FeedLength int
	// Prefix is the prefix of image URLs. "" is https://cdn.app.example/.
	Prefix string
	// Images are the names of post images below Prefix, and of avatars if Avatars is empty. If
	// empty, each post has its own: images/p000001.jpg and so on.
	Images  []string
	Avatars []string
	// UnknownEvery makes every n-th post unknown to the content service. 0: none.
	UnknownEvery int
	// EmptyFeeds are users whose feeds are empty.
	EmptyFeeds []string
}

// began is the time of the oldest post; a post is a minute older than the one with the number
// before it.
var began = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// rememberFeeds is the number of cached feeds; drawing one is slow.
const rememberFeeds = 1000

type world struct {
	Data

	mu    sync.Mutex
	feeds map[string][]int // guarded by mu
}

func newWorld(d Data) *world {
	if d.Posts <= 0 {
		d.Posts = 2000
	}
	if d.Authors <= 0 {
		d.Authors = 200
	}
	if d.FeedLength <= 0 {
		d.FeedLength = 200
	}
	d.FeedLength = min(d.FeedLength, d.Posts)
	if d.Prefix == "" {
		d.Prefix = "https://cdn.app.example/"
	}
	if len(d.Avatars) == 0 {
		d.Avatars = d.Images
	}
	return &world{Data: d, feeds: map[string][]int{}}
}

// feed returns the numbers of the posts in a user's feed, without duplicates.
func (w *world) feed(user string) []int {
	if slices.Contains(w.EmptyFeeds, user) {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if known, ok := w.feeds[user]; ok {
		return known
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(user)) // never fails
	zipf := rand.NewZipf(rand.New(rand.NewPCG(h.Sum64(), 1)), 1.2, 8, uint64(w.Posts-1))
	drawn, posts := make([]bool, w.Posts), make([]int, 0, w.FeedLength)
	for range 20 * w.FeedLength {
		if n := int(zipf.Uint64()); len(posts) < w.FeedLength && !drawn[n] {
			drawn[n] = true
			posts = append(posts, n)
		}
	}
	for n := 0; len(posts) < w.FeedLength; n++ { // fill up with posts that were not drawn
		if !drawn[n] {
			posts = append(posts, n)
		}
	}
	if len(w.feeds) >= rememberFeeds {
		clear(w.feeds)
	}
	w.feeds[user] = posts
	return posts
}

func postID(n int) string { return fmt.Sprintf("p%06d", n) }
func userID(n int) string { return fmt.Sprintf("u%05d", n) }

// numberOf is the inverse of postID and userID for the first count ids.
func numberOf(id, letter string, count int) (int, bool) {
	digits, ok := strings.CutPrefix(id, letter)
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n >= 0 && n < count
}

// post returns nil for a post that the content service does not know. Some posts have no caption,
// and most have no thumbnail of their own.
func (w *world) post(id string) *contentpb.Post {
	n, ok := numberOf(id, "p", w.Posts)
	if !ok || id != postID(n) || w.UnknownEvery > 0 && n%w.UnknownEvery == w.UnknownEvery-1 {
		return nil
	}
	p := &contentpb.Post{
		Id:           id,
		UserId:       userID(w.author(n)),
		ImageUrl:     w.Prefix + fmt.Sprintf("images/p%06d.jpg", n),
		LikeCount:    int64(1_000_000 / (n + 8)),
		CommentCount: int64(50_000 / (n + 8)),
		CreatedAt:    began.Add(-time.Duration(n) * time.Minute).Unix(),
		Visibility:   []string{"followers", "public"}[n%2],
	}
	if n%100 == 3 {
		p.ImageCrop = "100x50x800x900"
	}
	if len(w.Images) > 0 {
		p.ImageUrl = w.Prefix + w.Images[n%len(w.Images)]
	}
	if n%10 != 9 {
		p.Content = fmt.Sprintf("Post %d, \"quoted\" & with a ☕", n)
	}
	if n%4 == 3 {
		p.ThumbnailUrl = p.ImageUrl
	}
	return p
}

// author returns the author of a post; some users wrote many more than others.
func (w *world) author(post int) int {
	x := uint64(post) * 0x9E3779B97F4A7C15 >> 40 // 24 bits, spread evenly (Fibonacci hashing)
	return int(x * x >> 24 * uint64(w.Authors) >> 24)
}

// profile returns nil for an unknown user. Some users have no avatar.
func (w *world) profile(id string) *userpb.UserProfile {
	n, ok := numberOf(id, "u", w.Authors)
	if !ok || id != userID(n) {
		return nil
	}
	p := &userpb.UserProfile{Id: id, Username: fmt.Sprintf("user%d", n),
		AvatarUrl: w.Prefix + fmt.Sprintf("avatars/u%05d.jpg", n)}
	if len(w.Avatars) > 0 {
		p.AvatarUrl = w.Prefix + w.Avatars[n%len(w.Avatars)]
	}
	if n%17 == 16 {
		p.AvatarUrl = ""
	}
	return p
}
