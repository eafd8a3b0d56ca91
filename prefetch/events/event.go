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
	"github.com/novasocial/imagetier/internal/jsoncheck"
	"github.com/novasocial/imagetier/prefetch/profile"
	"github.com/novasocial/imagetier/resize"
)

// ErrEvent means that the body is not a valid event. The text begins with the path of the invalid
// field ("data.posts[3].image.version: …") and may be shown to the sender.
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
	MaxPaths  = 200
	maxIDText = 256 // bytes of the id of a post or user
	MaxTags   = 16  // of one image
)

// eventLists are the lists of an event that are read.
var eventLists = jsoncheck.Limits{
	"data.posts":                    MaxPosts,
	"data.posts.image.tags":         MaxTags,
	"data.posts.author.avatar.tags": MaxTags,
	"data.paths":                    MaxPaths,
	"data.user.avatar.tags":         MaxTags,
}

// Image is an original that an event names.
type Image struct {
	profile.Image
	// AskTag means that the version is the entity tag, which is not known yet (profile.Link).
	AskTag bool
	Crop   resize.Crop // the part that its variants show
	Tags   []string    // tags of the image in the event
}

// Post is a post of an event.
type Post struct {
	ID       string // "" only in a FeedPage
	Audience int    // expected number of viewers; 0 is unknown
	Image    *Image
	Author   *User
}

// User is the author of a post, or the user of a UserUpdated event.
type User struct {
	ID     string
	Avatar *Image
}

// Event is a parsed event of a feed service.
type Event struct {
	Type    string
	Time    time.Time // zero if the event has none
	Profile string    // for the images of posts; avatars have the profile Avatar
	Posts   []Post
	// Paths are the variants that a FeedPage shows, in the order of the page. If there are any,
	// nothing else is made for its posts.
	Paths []imageurl.Ref
	User  *User // of UserUpdated
}

// Avatar is the name of the profile of avatars.
const Avatar = "avatar"

// The JSON of an event. Other fields are ignored: those of CloudEvents, and any that a service adds.
type (
	eventJSON struct {
		Type      *string         `json:"type"`
		Timestamp *time.Time      `json:"timestamp"`
		Data      json.RawMessage `json:"data"`
	}
	dataJSON struct {
		Profile *string    `json:"profile"`
		Posts   []postJSON `json:"posts"`
		Paths   []string   `json:"paths"`
		User    *userJSON  `json:"user"`
	}
	postJSON struct {
		ID       string       `json:"id"`
		Audience int          `json:"audience"`
		Image    *ImageFields `json:"image"`
		Author   *userJSON    `json:"author"`
	}
	userJSON struct {
		ID     string       `json:"id"`
		Avatar *ImageFields `json:"avatar"`
	}
)

// ImageFields are the JSON fields by which events and the API name an image: either Source, Name
// and Version (live if empty), or URL.
type ImageFields struct {
	Source  string   `json:"source"`
	Name    string   `json:"name"`    // decoded
	Version string   `json:"version"` // as URLs spell it
	URL     string   `json:"url"`
	Crop    string   `json:"crop"` // as URLs spell it (resize.ParseCrop); all variants show this part
	Tags    []string `json:"tags"`
}

// Reader parses events according to a configuration.
type Reader struct {
	Links    *profile.Links // maps plain URLs to images; required
	Profiles *profile.Set   // required
	// Known reports whether a source is configured; nil accepts all.
	Known func(source string) bool
	// CheckName returns an error if a name is not valid in a source. If nil, all names are
	// accepted.
	CheckName func(source, name string) error
	// Path verifies and parses a path of a page, as a request for it would. If it is nil, paths are
	// ignored.
	Path func(path string) (imageurl.Ref, error)
}

// ParseEvent reads the body of an event: the plain envelope of Standard Webhooks, or a
// structured CloudEvent, which has its type and data in the same places. The error wraps
// ErrEvent.
//
// An image whose plain URL has no configured prefix is left out: this tier does not serve it.
func (r *Reader) ParseEvent(body []byte) (Event, error) {
	if err := check(body, eventLists); err != nil {
		return Event{}, err
	}
	var parsed eventJSON
	if err := decode(body, &parsed, ""); err != nil {
		return Event{}, err
	}
	switch {
	case parsed.Type == nil:
		return Event{}, fault("type", "it is missing")
	case !slices.Contains([]string{PostPublished, PostUpdated, PostDeleted, FeedPage, UserUpdated}, *parsed.Type):
		return Event{}, fault(
			"type",
			"%q: want post.published, post.updated, post.deleted, feed.page or user.updated",
			clipped(*parsed.Type),
		)
	case len(parsed.Data) == 0 || string(parsed.Data) == "null":
		return Event{}, fault("data", "it is missing")
	}
	var data dataJSON
	if err := decode(parsed.Data, &data, "data."); err != nil {
		return Event{}, err
	}
	e := Event{Type: *parsed.Type}
	if parsed.Timestamp != nil {
		e.Time = *parsed.Timestamp
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
	if len(data.Posts)+len(data.Paths) == 0 {
		return fault("data.posts", "at least one post is required")
	}
	if err := r.paths(e, data.Paths); err != nil {
		return err
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
		// The sender of a page may not know the posts of its images: a proxy sees only URLs.
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

// paths reads the paths of a page.
func (r *Reader) paths(e *Event, paths []string) error {
	switch {
	case len(paths) == 0 || r.Path == nil:
		return nil
	case e.Type != FeedPage:
		return fault("data.paths", "only feed.page has paths")
	}
	e.Paths = make([]imageurl.Ref, len(paths))
	for i, path := range paths {
		ref, err := r.Path(path)
		if err == nil && ref.Spec().Format == resize.Auto {
			err = errors.New("clients negotiate the format auto: name the one that this client gets")
		}
		if err != nil {
			return fault(fmt.Sprintf("data.paths[%d]", i), "%v", err)
		}
		e.Paths[i] = ref
	}
	return nil
}

// person returns nil for a missing user and for one without an id, which has no tag.
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

// image returns nil if the event has no image, or not one of this tier.
func (r *Reader) image(at string, fields *ImageFields) (*Image, error) {
	if fields == nil {
		return nil, nil
	}
	return r.Image(at, *fields)
}

// Image parses the fields of an image. It returns nil if the URL has no configured prefix. at
// is the path of the image in the error, which wraps ErrEvent.
func (r *Reader) Image(at string, f ImageFields) (*Image, error) {
	img := &Image{}
	var err error
	if img.Crop, err = resize.ParseCrop(f.Crop); err != nil {
		return nil, fault(at+".crop", "%v", err)
	}
	switch {
	case f.URL != "" && (f.Source != "" || f.Name != "" || f.Version != ""):
		return nil, fault(at, "it has both url and one of source, name, version")
	case f.URL != "":
		link, err := r.Links.Image(f.URL)
		if errors.Is(err, profile.ErrNoPrefix) {
			return nil, nil
		}
		if err != nil {
			return nil, fault(at+".url", "%v", err)
		}
		img.Image, img.AskTag = link.Image, link.AskTag
	case f.Source == "":
		return nil, fault(at+".source", "it is missing, and so is url")
	case f.Name == "":
		return nil, fault(at+".name", "it is missing")
	default:
		v, err := imageurl.ParseVersion(orLive(f.Version))
		if err != nil {
			return nil, fault(at+".version", "%v", err)
		}
		if img.Image, err = profile.NewImage(f.Source, f.Name, v); err != nil {
			return nil, fault(at, "%v", err)
		}
	}
	if r.Known != nil && !r.Known(img.Source) {
		return nil, fault(at+".source", "there is no source %q", clipped(img.Source))
	}
	if r.CheckName != nil {
		if err := r.CheckName(img.Source, img.Name); err != nil {
			field := ".name"
			if f.URL != "" {
				field = ".url"
			}
			return nil, fault(at+field, "source %s can have no such name: %v", img.Source, err)
		}
	}
	if len(f.Tags) > MaxTags {
		return nil, fault(at+".tags", "there are %d, at most %d are allowed", len(f.Tags), MaxTags)
	}
	for i, tag := range f.Tags {
		if err := checkID(fmt.Sprintf("%s.tags[%d]", at, i), tag); err != nil {
			return nil, err
		}
	}
	img.Tags = slices.Clone(f.Tags)
	return img, nil
}

func orLive(version string) string {
	if version == "" {
		return "live"
	}
	return version
}

// fault returns an ErrEvent for a field.
func fault(field, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrEvent, field, fmt.Sprintf(format, args...))
}

// check refuses long lists and repeated names.
func check(body []byte, lists jsoncheck.Limits) error {
	err := jsoncheck.Check(body, lists)
	var long *jsoncheck.LengthError
	switch {
	case errors.As(err, &long):
		return fault(clipped(long.Path), "it has more than %d items", long.Max)
	case err != nil:
		return fault("body", "not valid JSON: %v", err)
	}
	return nil
}

// decode reads one JSON value. before is the position of text in the whole document, for errors.
func decode(text []byte, into any, before string) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	err := dec.Decode(into)
	if err == nil {
		if _, err = dec.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		return fault("body", "there is more after the JSON value")
	}
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		field := strings.TrimSuffix(before+kind.Field, ".")
		if field == "" {
			field = "body"
		}
		return fault(field, "a JSON %s is not expected here", kind.Value)
	}
	return fault("body", "not valid JSON: %s", strings.TrimPrefix(err.Error(), "json: "))
}

func clipped(text string) string { return text[:min(len(text), 64)] }
