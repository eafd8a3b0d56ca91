// Package imagelink mints signed thumbnail URLs: the plain URL of an image and the class of a client
// determine one URL, the same on every gateway and after every restart. Image loaders such as
// SDWebImage cache by the whole URL, so any other spelling would be another download.
//
// Go services may use it to mint URLs themselves: it imports only the tier's URL grammar and the
// standard library, not gRPC, GraphQL or Redis.
//
//	linker, err := imagelink.New(imagelink.Config{Base: "https://img.example.com", Links: links, Keys: keys})
//	client := imagelink.ClientOf(request.Header)
//	post.ThumbnailURL = linker.URL(client, "feed", post.ImageURL, imagelink.Post{Created: post.CreatedAt})
//
// A [Page] also sends these URLs to the tier, through package gateway/tier, so that they are made before
// the phone requests them. For other events the tier warms URLs as they are minted here: both parse
// plain URLs with package profile and use the Specs of a profile. Start reading at [Linker.Mint].
package imagelink

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/prefetch/profile"
	"github.com/novasocial/imagetier/resize"
)

// ErrProfile means that no profile has the given name.
var ErrProfile = errors.New("unknown profile")

// Key is a signing key and the time from which it signs.
type Key struct {
	imageurl.Key
	// From is the creation time of the first posts that the key signs. Older posts get the next
	// key in the list whose From is not after them; zero covers all. Rotating a key therefore
	// changes no old URL, and does not depend on the clock of the gateway.
	From time.Time
}

// Config configures a [Linker].
type Config struct {
	// Base is the scheme and host of the tier for clients, "https://img.example.com".
	Base string
	// Links maps plain URLs to images of the tier. It is required.
	Links *profile.Links
	// Profiles are the Specs by name. If nil, profile.BuiltIn is used.
	Profiles *profile.Set
	// Keys are the signing keys, newest first. At least one is required, unless Dev is set.
	Keys []Key
	// Dev writes _ instead of a signature if there are no keys.
	Dev bool
	// Lifetime is the minimum lifetime of a minted URL of an image that is not public; 0 is
	// for ever. URLs expire at the next multiple of Window (if 0, imageurl.DefaultWindow) after that, so
	// that a client gets the same URL all day.
	Lifetime, Window time.Duration
	// Tag returns the strong entity tag of a live image, without quotes, for prefixes with the
	// rule etag. It must not block. If ok is false, or Tag is nil, the live image is linked.
	Tag func(live profile.Image) (tag string, ok bool)
	// HandedOut gets the paths of the URLs of a [Page], at most 200, so that the tier makes them before
	// their phone asks: HandedOut of a tier.Client does. It owns the slice and must not block. It may be
	// nil.
	HandedOut func(paths []string)
}

// Linker mints signed URLs. It is safe for concurrent use.
type Linker struct {
	cfg     Config // without Keys and Profiles
	current atomic.Pointer[minter]
}

// minter is the replaceable part of a Linker. It is immutable.
type minter struct {
	signer *imageurl.Signer
	keys   []Key
	specs  map[string]*[classes]resize.Spec // by profile and class
}

// New returns a Linker. The error lists all faults of cfg.
func New(cfg Config) (*Linker, error) {
	var faults []error
	if u, err := url.Parse(cfg.Base); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" ||
		u.Scheme+"://"+u.Host != cfg.Base {
		faults = append(
			faults,
			fmt.Errorf("image base %q: want scheme and host, like https://img.example.com", cfg.Base),
		)
	}
	if cfg.Links == nil {
		faults = append(faults, errors.New("links are required"))
	}
	m, err := newMinter(cfg.Dev, cfg.Keys, cmp.Or(cfg.Profiles, profile.BuiltIn()))
	faults = append(faults, err)
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("image links: %w", err)
	}
	l := &Linker{cfg: cfg}
	l.current.Store(m)
	return l, nil
}

// Replace replaces keys and profiles at once. With an error, as of [New], the old ones stay.
func (l *Linker) Replace(keys []Key, profiles *profile.Set) error {
	m, err := newMinter(l.cfg.Dev, keys, profiles)
	if err != nil {
		return fmt.Errorf("image links: %w", err)
	}
	l.current.Store(m)
	return nil
}

func newMinter(dev bool, from []Key, profiles *profile.Set) (*minter, error) {
	var faults []error
	var keys []imageurl.Key
	for i, k := range from {
		keys = append(keys, k.Key)
		if i == len(from)-1 && !k.From.IsZero() {
			faults = append(
				faults,
				fmt.Errorf("the last key, %s, signs from %s on: no key would sign older posts",
					k.ID, k.From.Format(time.DateOnly)),
			)
		}
	}
	newSigner := imageurl.NewSigner
	if dev {
		newSigner = imageurl.NewDevSigner
	}
	signer, err := newSigner(keys...)
	faults = append(faults, err)
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	m := &minter{signer: signer, keys: from, specs: map[string]*[classes]resize.Spec{}}
	for _, name := range profiles.Names() {
		p, _ := profiles.Get(name)
		var specs [classes]resize.Spec
		for class := range specs {
			specs[class] = specFor(p, clientOfClass(class))
		}
		m.specs[name] = &specs
	}
	return m, nil
}

// specFor returns the Spec of a client: in its format or else the next older one, in its
// scale. A profile without any of these formats gives its first one to all.
func specFor(p profile.Profile, c Client) resize.Spec {
	for _, format := range append(c.Format.fallbacks(), p.Formats()...) {
		if spec, ok := p.At(c.Scale, format); ok {
			return spec
		}
	}
	return resize.Spec{} // unreachable: a profile has at least one Spec
}

// Post has the properties of a post that the URL of its image depends on.
type Post struct {
	Created time.Time   // selects the key; zero is the newest key
	Public  bool        // the image is public: its URL does not expire
	Crop    resize.Crop // the part of the image that its author chose
}

// Minted is a URL to send to a client.
type Minted struct {
	URL string
	// Image is the image of the URL; zero if the URL was already signed.
	Image profile.Image
}

// Mint returns the signed URL of the image at the URL plain, in the profile's Spec for the client.
// A signed URL is returned unchanged.
//
// The error wraps profile.ErrNoPrefix (not an image of the tier), profile.ErrURL or [ErrProfile].
func (l *Linker) Mint(client Client, profileName, plain string, post Post) (Minted, error) {
	m := l.current.Load()
	specs, ok := m.specs[profileName]
	if !ok {
		return Minted{}, fmt.Errorf("%w: %q", ErrProfile, profileName)
	}
	if l.signed(plain) {
		return Minted{URL: plain}, nil
	}
	link, err := l.cfg.Links.Image(plain)
	if err != nil {
		return Minted{}, err
	}
	if link.AskTag && l.cfg.Tag != nil {
		if tag, ok := l.cfg.Tag(link.Image); ok {
			if pinned, err := link.WithETag(tag); err == nil {
				link.Image = pinned
			}
		}
	}
	spec := specs[client.class()]
	spec.Crop = post.Crop
	ref, err := link.Ref(spec)
	if err != nil {
		return Minted{}, fmt.Errorf("%w: %w", profile.ErrURL, err)
	}
	o := imageurl.SignOptions{KeyID: m.keyFor(post.Created)}
	if !post.Public {
		o.Expires = l.Expires()
	}
	path, err := m.signer.Sign(ref, o)
	if err != nil {
		return Minted{}, err
	}
	return Minted{URL: l.cfg.Base + path, Image: link.Image}, nil
}

// URL is like [Linker.Mint], but returns plain on an error.
func (l *Linker) URL(client Client, profileName, plain string, post Post) string {
	minted, err := l.Mint(client, profileName, plain, post)
	if err != nil {
		return plain
	}
	return minted.URL
}

// AsksTags reports whether URLs depend on entity tags, which may change at any time.
func (l *Linker) AsksTags() bool { return l.cfg.Tag != nil && l.cfg.Links.AskTags() }

// Expires returns when URLs minted now expire; zero: never.
func (l *Linker) Expires() time.Time {
	if l.cfg.Lifetime <= 0 {
		return time.Time{}
	}
	return imageurl.Expiry(time.Now(), l.cfg.Lifetime, l.cfg.Window)
}

// keyFor returns the id of the key for a post of that time; "" is the first one.
func (m *minter) keyFor(created time.Time) string {
	for i, key := range m.keys {
		if i > 0 && !created.Before(key.From) {
			return key.ID
		}
		if created.IsZero() || !created.Before(key.From) {
			break
		}
	}
	return ""
}

// signed reports whether plain has the form of a signed URL, or of its path. It accepts signatures
// of unknown keys, too.
func (l *Linker) signed(plain string) bool {
	path := strings.TrimPrefix(plain, l.cfg.Base)
	rest, ok := strings.CutPrefix(path, imageurl.Prefix)
	if !ok {
		return false
	}
	signature, _, ok := strings.Cut(rest, "/")
	id, mac, _ := strings.Cut(signature, ".")
	mac, _, _ = strings.Cut(mac, ".") // without an expiry
	return ok && (signature == "_" || len(id) >= 1 && len(id) <= 8 && len(mac) == 22)
}
