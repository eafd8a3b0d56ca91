package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/novasocial/imagetier/cmd/tierbench/socialday"
	"github.com/novasocial/imagetier/internal/webhook"
)

// feedService announces posts and pages to a tier by signed events (Standard Webhooks).
type feedService struct {
	client *http.Client
	url    string // of the tier's private listener
	signer *webhook.Signer
	names  naming
	now    func() time.Time
}

// The JSON of an event.
type (
	eventBody struct {
		Type      string    `json:"type"`
		Timestamp time.Time `json:"timestamp"`
		Data      eventData `json:"data"`
	}
	eventData struct {
		Profile string      `json:"profile,omitempty"`
		Posts   []eventPost `json:"posts,omitempty"`
		Paths   []string    `json:"paths,omitempty"`
	}
	eventPost struct {
		ID       string       `json:"id"`
		Audience int          `json:"audience,omitempty"`
		Image    eventImage   `json:"image"`
		Author   *eventAuthor `json:"author,omitempty"`
	}
	eventAuthor struct {
		ID     string     `json:"id"`
		Avatar eventImage `json:"avatar"`
	}
	// eventImage is an image by its name, or by its URL alone.
	eventImage struct {
		Source  string `json:"source,omitempty"`
		Name    string `json:"name,omitempty"`
		Version string `json:"version,omitempty"`
		URL     string `json:"url,omitempty"`
	}
)

// page returns the event of a page as the gateway sends it, with the URLs of the page in order.
func (f *feedService) page(day *socialday.Day, page socialday.Page) ([]byte, error) {
	e := eventBody{Type: "feed.page", Timestamp: f.now().UTC()}
	for _, post := range page.Posts {
		for _, avatar := range []bool{false, true} {
			path, err := f.names.path(day, socialday.Ask{Post: post, Avatar: avatar, Device: page.Device})
			if err != nil {
				return nil, err
			}
			e.Data.Paths = append(e.Data.Paths, path)
		}
	}
	return json.Marshal(e)
}

// published returns the event of a new post.
func (f *feedService) published(day *socialday.Day, posts ...int) ([]byte, error) {
	e := eventBody{Type: "post.published", Timestamp: f.now().UTC(), Data: eventData{Profile: "feed"}}
	for _, i := range posts {
		post := day.Posts[i]
		e.Data.Posts = append(e.Data.Posts, eventPost{
			ID: f.names.run + strconv.Itoa(i), Audience: post.Audience,
			Image: eventImage{Source: sourceName, Name: f.names.post(i), Version: versionText},
			Author: &eventAuthor{
				"u" + strconv.Itoa(post.Author),
				eventImage{Source: sourceName, Name: f.names.avatar(post.Author), Version: versionText},
			},
		})
	}
	return json.Marshal(e)
}

// send signs and posts a body. It returns an error unless the tier accepts it.
func (f *feedService) send(ctx context.Context, id string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url+"/v1/events", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	f.signer.Sign(req.Header, id, f.now(), body)
	resp, err := f.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body) // so that the connection can be reused
	if resp.StatusCode != http.StatusAccepted {
		return fmt.Errorf("event %s: %s", id, resp.Status)
	}
	return nil
}
