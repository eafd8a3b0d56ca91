// Package imagelink makes the signed thumbnail URLs that a client is sent: the image of a
// post, as a plain URL, and the client's class give one URL, the same on every gateway and
// after every restart. SDWebImage keeps pictures under their whole URL, so that another
// spelling were another download on every phone.
//
// It is made for Go services that mint URLs themselves, too: it imports the tier's grammar
// of URLs and the standard library, and no gRPC, GraphQL or Redis.
//
//	linker, err := imagelink.New(imagelink.Config{Base: "https://img.example.com", Links: links, Keys: keys})
//	client := imagelink.ClientOf(request.Header)
//	post.ThumbnailURL = linker.URL(client, "feed", post.ImageURL, post.CreatedAt)
//
// What is minted is what the tier warms for an event: both read plain URLs by package
// profile, and take the Specs of a profile.
package imagelink

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/prefetch/profile"
	"github.com/novasocial/imagetier/resize"
)

// ErrProfile: there is no profile of that name.
var ErrProfile = errors.New("no such profile")

// Key is a signing key and since when it signs.
type Key struct {
	imageurl.Key
	// From is the time from which on posts are signed with this key; older posts get the
	// next key of the list whose From is not after them. Zero is from ever. So a key is
	// rotated without a change of any old URL, and without clocks that agree: what counts
	// is the post's time, not ours.
	From time.Time
}

// Config of a Linker.
type Config struct {
	// Base is scheme and host of the tier as clients reach it, "https://img.example.com".
	Base string
	// Links say which plain URLs are images of the tier, and what they mean. Needed.
	Links *profile.Links
	// Profiles are the Specs by name; nil is profile.BuiltIn.
	Profiles *profile.Set
	// Keys sign, the newest first. At least one is needed, unless Dev.
	Keys []Key
	// Dev writes _ in the place of signatures where there are no keys.
	Dev bool
	// Tag returns the strong entity tag of a live image, without quotes, for prefixes with
	// the rule etag; it must not wait. Where ok is false, or Tag is nil, the live image is
	// linked.
	Tag func(live profile.Image) (tag string, ok bool)
}

// Linker makes signed URLs. It never changes and is safe for concurrent use.
type Linker struct {
	base   string
	links  *profile.Links
	signer *imageurl.Signer
	keys   []Key
	tag    func(profile.Image) (string, bool)
	specs  map[string][classes]resize.Spec // by profile and class
}

// New returns a Linker. The error names everything that is wrong with cfg.
func New(cfg Config) (*Linker, error) {
	var faults []error
	if u, err := url.Parse(cfg.Base); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.Scheme+"://"+u.Host != cfg.Base {
		faults = append(faults, fmt.Errorf("image base %q: want scheme and host, like https://img.example.com", cfg.Base))
	}
	if cfg.Links == nil {
		faults = append(faults, errors.New("config without Links"))
	}
	var keys []imageurl.Key
	for i, k := range cfg.Keys {
		keys = append(keys, k.Key)
		if i == len(cfg.Keys)-1 && !k.From.IsZero() {
			faults = append(faults, fmt.Errorf("the last key, %s, signs from %s on, and nothing signs what is older", k.ID, k.From.Format(time.DateOnly)))
		}
	}
	newSigner := imageurl.NewSigner
	if cfg.Dev {
		newSigner = imageurl.NewDevSigner
	}
	signer, err := newSigner(keys...)
	faults = append(faults, err)
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("image links: %w", err)
	}
	l := &Linker{base: cfg.Base, links: cfg.Links, signer: signer, keys: cfg.Keys, tag: cfg.Tag, specs: map[string][classes]resize.Spec{}}
	profiles := cmp.Or(cfg.Profiles, profile.BuiltIn())
	for _, name := range profiles.Names() {
		p, _ := profiles.Get(name)
		var specs [classes]resize.Spec
		for class := range specs {
			specs[class] = specFor(p, clientOfClass(class))
		}
		l.specs[name] = specs
	}
	return l, nil
}

// specFor returns the Spec of a client: in its format or else the next older one, in its
// scale. A profile without any of these formats gives its first one to all.
func specFor(p profile.Profile, c Client) resize.Spec {
	for _, format := range append(c.Format.fallbacks(), p.Formats()...) {
		if spec, ok := p.At(c.Scale, format); ok {
			return spec
		}
	}
	return resize.Spec{} // no: a profile has at least one Spec
}

// Minted is a URL for a client.
type Minted struct {
	URL string
	// Image is what the URL shows; zero where the URL was signed already.
	Image profile.Image
}

// Mint returns the signed URL of the image that plain names, in the Spec that the profile
// has for the client. created is when its post was, for the choice of the key; zero is the
// newest key. A URL that is signed already is returned as it is.
//
// The error wraps profile.ErrNoPrefix (the image is none of the tier's), profile.ErrURL
// or ErrProfile.
func (l *Linker) Mint(client Client, profileName, plain string, created time.Time) (Minted, error) {
	specs, ok := l.specs[profileName]
	if !ok {
		return Minted{}, fmt.Errorf("%w: %q", ErrProfile, profileName)
	}
	if l.signed(plain) {
		return Minted{URL: plain}, nil
	}
	link, err := l.links.Image(plain)
	if err != nil {
		return Minted{}, err
	}
	if link.AskTag && l.tag != nil {
		if tag, ok := l.tag(link.Image); ok {
			if pinned, err := link.WithETag(tag); err == nil {
				link.Image = pinned
			}
		}
	}
	ref, err := link.Ref(specs[client.class()])
	if err != nil {
		return Minted{}, fmt.Errorf("%w: %w", profile.ErrURL, err)
	}
	return Minted{URL: l.base + l.path(ref, created), Image: link.Image}, nil
}

// URL is Mint for those who show what there is: where Mint errs, plain is returned as it is.
func (l *Linker) URL(client Client, profileName, plain string, created time.Time) string {
	minted, err := l.Mint(client, profileName, plain, created)
	if err != nil {
		return plain
	}
	return minted.URL
}

func (l *Linker) path(ref imageurl.Ref, created time.Time) string {
	for i, key := range l.keys {
		if i > 0 && !created.Before(key.From) {
			if path, err := l.signer.PathWith(key.ID, ref); err == nil {
				return path
			}
		}
		if created.IsZero() || !created.Before(key.From) {
			break
		}
	}
	return l.signer.Path(ref)
}

// signed reports whether plain is a URL of ours, or its path, by its form: a signature of a
// key that is no longer known counts too.
func (l *Linker) signed(plain string) bool {
	path := strings.TrimPrefix(plain, l.base)
	rest, ok := strings.CutPrefix(path, imageurl.Prefix)
	if !ok {
		return false
	}
	signature, _, ok := strings.Cut(rest, "/")
	id, mac, _ := strings.Cut(signature, ".")
	return ok && (signature == "_" || len(id) >= 1 && len(id) <= 8 && len(mac) == 22)
}
