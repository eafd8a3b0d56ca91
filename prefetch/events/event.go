// Package events parses events of feed services (the plain envelope of Standard Webhooks, or
// CloudEvents) and notifications of S3 buckets. It checks no signatures, fetches nothing and
// keeps nothing. Start with Reader.ParseEvent.
package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/prefetch/profile"
)

// ErrEvent means that the body is not a known event. Its text begins with the path of the
// field that is wrong ("data.posts[3].image.version: …"), and may be shown.
var ErrEvent = errors.New("not an event")

// Types of events.
const (
	PostPublished = "post.published"
	PostUpdated   = "post.updated"
	PostDeleted   = "post.deleted"
	FeedPage      = "feed.page"
	UserUpdated   = "user.updated"
)

// Bounds of an event.
const (
	MaxPosts  = 500
	MaxImages = 100 // of all other lists of images
	maxIDText = 256 // bytes of a post's or user's id
	maxTags   = 16  // of one image
)

// Image is an original that an event names.
type Image struct {
	profile.Image
	// AskTag: its version is the entity tag, which is not known yet (profile.Link).
	AskTag bool
	Tags   []string // that the event gives it
}

// Post is a post of an event.
type Post struct {
	ID       string // "": it has none, which only a FeedPage may have
	Audience int    // how many will see it; 0: not said
	Image    *Image
	Author   *User
}

// User is the author of a post, or the user of a UserUpdated event.
type User struct {
	ID     string
	Avatar *Image
}

// Event is what a feed service says.
type Event struct {
	Type    string
	Time    time.Time // zero: it does not say
	Profile string    // of the images of posts; of avatars it is "avatar"
	Posts   []Post
	User    *User // of UserUpdated
}

// Avatar is the profile of avatars.
const Avatar = "avatar"

// The words of an event's JSON. Fields that are not here are ignored: CloudEvents has some, and
// a service may say more than is of interest here.
type (
	eventJSON struct {
		Type      *string         `json:"type"`
		Timestamp *time.Time      `json:"timestamp"`
		Data      json.RawMessage `json:"data"`
	}
	dataJSON struct {
		Profile *string    `json:"profile"`
		Posts   []postJSON `json:"posts"`
		User    *userJSON  `json:"user"`
	}
	postJSON struct {
		ID       string     `json:"id"`
		Audience int        `json:"audience"`
		Image    *imageJSON `json:"image"`
		Author   *userJSON  `json:"author"`
	}
	userJSON struct {
		ID     string     `json:"id"`
		Avatar *imageJSON `json:"avatar"`
	}
	imageJSON struct {
		Source  string   `json:"source"`
		Name    string   `json:"name"`
		Version string   `json:"version"`
		URL     string   `json:"url"`
		Tags    []string `json:"tags"`
	}
)

// Reader reads events for a configuration.
type Reader struct {
	Links    *profile.Links // what plain URLs mean; needed
	Profiles *profile.Set   // needed
	// Known reports whether a source is configured; nil: all are.
	Known func(source string) bool
}

// ParseEvent reads the body of an event: the plain envelope of Standard Webhooks, or a
// structured CloudEvent, which has its type and data in the same places. The error wraps
// ErrEvent.
//
// An image whose plain URL fits no prefix is left out: it is not served by this tier.
func (r *Reader) ParseEvent(body []byte) (Event, error) {
	var said eventJSON
	if err := decode(body, &said, ""); err != nil {
		return Event{}, err
	}
	switch {
	case said.Type == nil:
		return Event{}, fault("type", "it is missing")
	case !slices.Contains([]string{PostPublished, PostUpdated, PostDeleted, FeedPage, UserUpdated}, *said.Type):
		return Event{}, fault(
			"type",
			"%q is none of post.published, post.updated, post.deleted, feed.page, user.updated",
			clipped(*said.Type),
		)
	case len(said.Data) == 0 || string(said.Data) == "null":
		return Event{}, fault("data", "it is missing")
	}
	var data dataJSON
	if err := decode(said.Data, &data, "data."); err != nil {
		return Event{}, err
	}
	e := Event{Type: *said.Type}
	if said.Timestamp != nil {
		e.Time = *said.Timestamp
	}
	if e.Type == UserUpdated {
		return e, r.user(&e, data)
	}
	return e, r.posts(&e, data)
}

func (r *Reader) user(e *Event, data dataJSON) (err error) {
	if data.User == nil {
		return fault("data.user", "it is missing")
	}
	e.User, err = r.person("data.user", data.User)
	if err == nil && e.User == nil {
		err = fault("data.user.id", "it is missing")
	}
	return err
}

func (r *Reader) posts(e *Event, data dataJSON) error {
	if len(data.Posts) > MaxPosts {
		return fault("data.posts", "there are %d, allowed are %d", len(data.Posts), MaxPosts)
	}
	if len(data.Posts) == 0 {
		return fault("data.posts", "there is none")
	}
	e.Profile = "feed"
	if data.Profile != nil {
		e.Profile = *data.Profile
	}
	if _, ok := r.Profiles.Get(e.Profile); !ok {
		return fault("data.profile", "there is no profile %q", clipped(e.Profile))
	}
	for i, p := range data.Posts {
		at := fmt.Sprintf("data.posts[%d]", i)
		// A page's sender may not know the posts of its images: a proxy sees only URLs.
		nameless := p.ID == "" && e.Type == FeedPage
		if err := checkID(at+".id", p.ID); err != nil && !nameless {
			return err
		}
		if p.Audience < 0 {
			return fault(at+".audience", "it is negative")
		}
		post := Post{ID: p.ID, Audience: p.Audience}
		var err error
		if post.Image, err = r.image(at+".image", p.Image); err != nil {
			return err
		}
		if post.Image != nil && !nameless {
			post.Image.Tags = append(post.Image.Tags, "post:"+p.ID)
		}
		if post.Author, err = r.person(at+".author", p.Author); err != nil {
			return err
		}
		e.Posts = append(e.Posts, post)
	}
	return nil
}

// person returns nil for a missing user, and for one without an id: it cannot be a tag.
func (r *Reader) person(at string, u *userJSON) (*User, error) {
	if u == nil || u.ID == "" && u.Avatar == nil {
		return nil, nil
	}
	if err := checkID(at+".id", u.ID); err != nil {
		return nil, err
	}
	avatar, err := r.image(at+".avatar", u.Avatar)
	if err != nil {
		return nil, err
	}
	if avatar != nil {
		avatar.Tags = append(avatar.Tags, "user:"+u.ID)
	}
	return &User{ID: u.ID, Avatar: avatar}, nil
}

func checkID(at, id string) error {
	switch {
	case id == "":
		return fault(at, "it is missing")
	case len(id) > maxIDText:
		return fault(at, "it has more than %d bytes", maxIDText)
	case strings.ContainsFunc(id, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return fault(at, "it has control characters")
	}
	return nil
}

// image returns nil where there is none, or none of this tier.
func (r *Reader) image(at string, said *imageJSON) (*Image, error) {
	if said == nil {
		return nil, nil
	}
	return r.Image(at, said.Source, said.Name, said.Version, said.URL, said.Tags)
}

// Image reads an image: source, name and version (live if it is empty), or url. It
// returns nil if that url fits no prefix. at names it in the error, which wraps ErrEvent.
func (r *Reader) Image(at, source, name, version, url string, tags []string) (*Image, error) {
	img := &Image{}
	switch {
	case url != "" && (source != "" || name != "" || version != ""):
		return nil, fault(at, "it has url, and source, name or version beside it")
	case url != "":
		link, err := r.Links.Image(url)
		if errors.Is(err, profile.ErrNoPrefix) {
			return nil, nil
		}
		if err != nil {
			return nil, fault(at+".url", "%v", err)
		}
		img.Image, img.AskTag = link.Image, link.AskTag
	case source == "":
		return nil, fault(at+".source", "it is missing, and so is url")
	case name == "":
		return nil, fault(at+".name", "it is missing")
	default:
		v, err := imageurl.ParseVersion(orLive(version))
		if err != nil {
			return nil, fault(at+".version", "%v", err)
		}
		if img.Image, err = profile.NewImage(source, name, v); err != nil {
			return nil, fault(at, "%v", err)
		}
	}
	if r.Known != nil && !r.Known(img.Source) {
		return nil, fault(at+".source", "there is no source %q", clipped(img.Source))
	}
	if len(tags) > maxTags {
		return nil, fault(at+".tags", "there are %d, allowed are %d", len(tags), maxTags)
	}
	for i, tag := range tags {
		if err := checkID(fmt.Sprintf("%s.tags[%d]", at, i), tag); err != nil {
			return nil, err
		}
	}
	img.Tags = slices.Clone(tags)
	return img, nil
}

func orLive(version string) string {
	if version == "" {
		return "live"
	}
	return version
}

// fault is an ErrEvent of a field.
func fault(field, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrEvent, field, fmt.Sprintf(format, args...))
}

// decode reads one JSON value. What is before names the place of text in the whole.
func decode(text []byte, into any, before string) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	err := dec.Decode(into)
	if err == nil {
		if _, err = dec.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		return fault("body", "something follows the JSON value")
	}
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		field := strings.TrimSuffix(before+kind.Field, ".")
		if field == "" {
			field = "body"
		}
		return fault(field, "it is a JSON %s, which is not what is expected there", kind.Value)
	}
	return fault("body", "it is no JSON: %s", strings.TrimPrefix(err.Error(), "json: "))
}

func clipped(text string) string { return text[:min(len(text), 64)] }
