package phone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// query is the feed query of the load tests.
const query = `query GetFeed($limit: Int, $cursor: String) { feed(limit: $limit, cursor: $cursor) { posts { id caption imageUrl thumbnailUrl likeCount commentCount author { id username avatarUrl } } cursor hasMore } }`

// maxPage bounds the answer to a query.
const maxPage = 4 << 20

// Post is a row of the feed.
type Post struct {
	ImageURL     *string `json:"imageUrl"`
	ThumbnailURL *string `json:"thumbnailUrl"`
	Author       *struct {
		AvatarURL *string `json:"avatarUrl"`
	} `json:"author"`
}

// pictures returns the URLs of a row in the order in which SwiftUI requests them: the avatar, then
// thumbnailUrl ?? imageUrl. An empty thumbnailUrl is not null, so it counts.
func (p Post) pictures() (urls []string) {
	if p.Author != nil && p.Author.AvatarURL != nil {
		urls = append(urls, *p.Author.AvatarURL)
	}
	switch {
	case p.ThumbnailURL != nil:
		urls = append(urls, *p.ThumbnailURL)
	case p.ImageURL != nil:
		urls = append(urls, *p.ImageURL)
	}
	return urls
}

// Server is a GraphQL server of feeds.
type Server struct {
	URL   string // of POST /graphql
	Token string
}

// Feed requests the first page of a feed with limit posts. It also returns the size of the response
// in bytes.
func (p *Phone) Feed(ctx context.Context, from Server, limit int) (posts []Post, bytes int64, err error) {
	asked, err := json.Marshal(
		map[string]any{"query": query, "variables": map[string]any{"limit": limit, "cursor": nil}},
	)
	if err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute) // URLSession's timeoutIntervalForRequest
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, from.URL, strings.NewReader(string(asked)))
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", appUserAgent)
	if from.Token != "" {
		req.Header.Set("Authorization", "Bearer "+from.Token)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, 0, fmt.Errorf("feed query: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	if err != nil {
		return nil, 0, fmt.Errorf("feed query: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("feed query: %s: %.200q", resp.Status, body)
	}
	var page struct {
		Data struct {
			Feed *struct {
				Posts []Post `json:"posts"`
			} `json:"feed"`
		} `json:"data"`
		Errors []struct {
			Message string `json:"message"`
		} `json:"errors"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return nil, 0, fmt.Errorf("feed query: %w", err)
	}
	switch {
	case len(page.Errors) > 0:
		return nil, 0, fmt.Errorf("feed query: %q", page.Errors[0].Message)
	case page.Data.Feed == nil || len(page.Data.Feed.Posts) == 0:
		return nil, 0, errors.New("feed query: no posts")
	}
	return page.Data.Feed.Posts, int64(len(body)), nil
}

// rowsOnScreen is the number of posts that a screen shows; the second one is cut off.
const rowsOnScreen = 2

// View has the times and sizes of one page view.
type View struct {
	Asked    time.Time // for the feed
	Answered time.Time // the page was received completely
	Screen   time.Time // the pictures on the screen were received
	Whole    time.Time // all pictures were received
	Posts    int
	Page     int64     // bytes of the answer to the query
	Pictures []Picture // in the order of their requests
	OnScreen int       // how many of them are on the first screen
}

// Open shows the feed: it requests a page, then the pictures of the rows on the screen and, once
// these are complete and the user scrolls, those of the rows below.
func (p *Phone) Open(ctx context.Context, from Server, limit int) (View, error) {
	v := View{Asked: p.now()}
	posts, page, err := p.Feed(ctx, from, limit)
	if err != nil {
		return v, err
	}
	v.Answered, v.Posts, v.Page = p.now(), len(posts), page
	var screen, below []string
	for i, post := range posts {
		if i < rowsOnScreen {
			screen = append(screen, post.pictures()...)
		} else {
			below = append(below, post.pictures()...)
		}
	}
	first, faults := p.Show(ctx, screen)
	v.Screen = p.now()
	rest, more := p.Show(ctx, below)
	v.Whole = p.now()
	v.Pictures, v.OnScreen = append(first, rest...), len(first)
	return v, errors.Join(faults, more)
}

// Bytes returns the downloaded bytes for the first screen and for the whole page. Both include the
// response to the query.
func (v View) Bytes() (screen, whole int64) {
	screen, whole = v.Page, v.Page
	for i, pic := range v.Pictures {
		whole += pic.Bytes
		if i < v.OnScreen {
			screen += pic.Bytes
		}
	}
	return screen, whole
}

// Downloads returns the number of pictures that were not in the phone's cache.
func (v View) Downloads() (n int) {
	for _, pic := range v.Pictures {
		if !pic.Cached {
			n++
		}
	}
	return n
}
