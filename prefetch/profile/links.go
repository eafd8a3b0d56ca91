package profile

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/origin/objectname"
)

// ErrNoPrefix means that a URL has no configured prefix: the tier does not serve the image. It is not
// a client error.
var ErrNoPrefix = errors.New("no image prefix matches")

// ErrURL means that a URL has a configured prefix, but is not the URL of an image.
var ErrURL = errors.New("not the URL of an image")

// MaxURL is the maximum length of a plain URL, in bytes.
const MaxURL = 8 << 10

// RuleKind is the way to find the version of a plain URL.
type RuleKind uint8

const (
	Fixed  RuleKind = iota // v.0; names are never reused
	Query                  // v. and a parameter of the query; live if that is absent or empty
	AskTag                 // the entity tag, which the tier reports; live until it is known
)

// Prefix maps plain URLs with a common beginning to a source.
type Prefix struct {
	Prefix string // ends in "/": "https://cdn.app.example/", or a path
	Source string // alias
	Rule   RuleKind
	Param  string // name of the parameter for Query
	// Kind is the kind of the source. Names of HTTP keep their query and percent-encoding. The tier
	// sets it from its sources; ?kind= sets it where no sources are configured.
	Kind objectname.Kind
}

// ParsePrefix parses PREFIX=SOURCE?version=RULE, where RULE is fixed (the default), query:NAME or
// etag. PREFIX ends in "/" and is split from the rest at the last "/=". &kind=dir, s3 or http tells
// a gateway, which has no sources, the kind of the source.
func ParsePrefix(text string) (Prefix, error) {
	at := strings.LastIndex(text, "/=")
	if at < 0 {
		return Prefix{}, fmt.Errorf("image prefix %q: want PREFIX=SOURCE with a PREFIX that ends in /", text)
	}
	source, options, _ := strings.Cut(text[at+2:], "?")
	p := Prefix{Prefix: text[:at+1], Source: source}
	if err := checkPrefix(p.Prefix); err != nil {
		return Prefix{}, fmt.Errorf("image prefix %q: %w", text, err)
	}
	if _, err := NewImage(source, "a", imageurl.Version{}); err != nil {
		return Prefix{}, fmt.Errorf("image prefix %q: %w", text, err)
	}
	seen := make(map[string]bool)
	for option := range strings.SplitSeq(options, "&") {
		if option == "" && options == "" {
			break
		}
		key, value, _ := strings.Cut(option, "=")
		if seen[key] {
			return Prefix{}, fmt.Errorf("image prefix %q: %s is repeated", text, key)
		}
		seen[key] = true
		if err := p.set(key, value); err != nil {
			return Prefix{}, fmt.Errorf("image prefix %q: %w", text, err)
		}
	}
	return p, nil
}

func (p *Prefix) set(key, value string) error {
	switch {
	case key == "version" && value == "fixed":
		p.Rule = Fixed
	case key == "version" && value == "etag":
		p.Rule = AskTag
	case key == "version" && strings.HasPrefix(value, "query:"):
		p.Rule, p.Param = Query, value[len("query:"):]
		if p.Param == "" {
			return errors.New("version=query: needs the name of a parameter (query:v)")
		}
	case key == "version":
		return fmt.Errorf("version=%s: want fixed, query:NAME or etag", value)
	case key == "kind":
		for _, p.Kind = range []objectname.Kind{objectname.Dir, objectname.S3, objectname.HTTP} {
			if p.Kind.String() == value {
				return nil
			}
		}
		return fmt.Errorf("kind=%s: want dir, s3 or http", value)
	default:
		return fmt.Errorf("%q: want version= or kind=", key)
	}
	return nil
}

// String writes p as ParsePrefix reads it.
func (p Prefix) String() string {
	s := p.Prefix + "=" + p.Source + "?version=" + [...]string{"fixed", "query:" + p.Param, "etag"}[p.Rule]
	if p.Kind != objectname.Unknown {
		s += "&kind=" + p.Kind.String()
	}
	return s
}

// checkPrefix checks a prefix. One with a scheme must have a complete host: other hosts could begin
// with an incomplete one.
func checkPrefix(prefix string) error {
	if strings.ContainsAny(prefix, "?#") {
		return errors.New("a prefix must not have a query or fragment")
	}
	if _, after, ok := strings.Cut(prefix, "://"); ok {
		if host, _, _ := strings.Cut(after, "/"); host == "" {
			return errors.New("it has a scheme and no host")
		}
	} else if !strings.HasPrefix(prefix, "/") {
		return errors.New("it begins neither with a scheme (https://) nor with /")
	}
	return nil
}

// Links maps plain URLs to Images. Its zero value has no prefixes.
type Links struct {
	prefixes []Prefix // longest first
}

// AskTags reports whether a prefix has the rule etag.
func (l *Links) AskTags() bool {
	return slices.ContainsFunc(l.prefixes, func(p Prefix) bool { return p.Rule == AskTag })
}

// NewLinks returns the Links for prefixes. If several match a URL, the longest is used. A duplicate
// prefix is an error.
func NewLinks(prefixes ...Prefix) (*Links, error) {
	l := &Links{prefixes: slices.Clone(prefixes)}
	for i := range l.prefixes {
		p := &l.prefixes[i]
		if !strings.HasSuffix(p.Prefix, "/") {
			return nil, fmt.Errorf("image prefix %q: it does not end in /", p.Prefix)
		}
		if err := checkPrefix(p.Prefix); err != nil {
			return nil, fmt.Errorf("image prefix %q: %w", p.Prefix, err)
		}
		p.Prefix = normalize(p.Prefix)
	}
	slices.SortStableFunc(l.prefixes, func(a, b Prefix) int {
		return cmp.Or(cmp.Compare(len(b.Prefix), len(a.Prefix)), cmp.Compare(a.Prefix, b.Prefix))
	})
	for i := 1; i < len(l.prefixes); i++ {
		if l.prefixes[i-1].Prefix == l.prefixes[i].Prefix {
			return nil, fmt.Errorf("image prefix %q is a duplicate", l.prefixes[i].Prefix)
		}
	}
	return l, nil
}

// Link is the image that a plain URL names.
type Link struct {
	Image
	// AskTag means that the rule is etag. Image is live then; Image.WithETag pins it once the
	// tier has reported the tag.
	AskTag bool
}

// Image reads a plain URL. The rest of the URL after its prefix is percent-decoded once
// for S3 and directories. For HTTP sources it is kept as it is, with its query, except that what a
// URL cannot hold is percent-encoded as browsers do. A fragment is dropped. Scheme and host are
// compared without case and without the default port.
//
// The error wraps ErrNoPrefix or ErrURL, the latter also for a name that the source would refuse. One
// that wraps ErrURL may also wrap imageurl.ErrSyntax or objectname.ErrName, and may be shown to the
// sender of the URL.
func (l *Links) Image(plain string) (Link, error) {
	if len(plain) > MaxURL {
		return Link{}, fmt.Errorf("%w: %d bytes, at most %d", ErrURL, len(plain), MaxURL)
	}
	plain, _, _ = strings.Cut(plain, "#")
	p, rest, ok := l.find(plain)
	if !ok { // URLs that match without being normalized are the common case
		p, rest, ok = l.find(normalize(plain))
	}
	if !ok {
		return Link{}, ErrNoPrefix
	}
	link, err := p.image(rest)
	if err != nil {
		return Link{}, fmt.Errorf("%w: %w", ErrURL, err)
	}
	return link, nil
}

// find returns the longest prefix of plain, and the rest of plain.
func (l *Links) find(plain string) (p *Prefix, rest string, ok bool) {
	for i := range l.prefixes {
		if rest, ok := strings.CutPrefix(plain, l.prefixes[i].Prefix); ok {
			return &l.prefixes[i], rest, true
		}
	}
	return nil, "", false
}

// VersionOf returns the version in the URLs of an object of a source. tag is its strong entity tag,
// "" if that is unknown: a notification of a bucket has no more. ok is false if no prefix has that
// source, or only ones with query:NAME, whose versions cannot be predicted.
func (l *Links) VersionOf(source, tag string) (v imageurl.Version, ok bool) {
	for _, p := range l.prefixes {
		if p.Source != source {
			continue
		}
		switch {
		case p.Rule == Fixed:
			return fixed, true
		case p.Rule == AskTag && tag != "":
			if v, err := imageurl.NewVersion(imageurl.ETag, tag); err == nil {
				return v, true
			}
		}
	}
	return imageurl.Version{}, false
}

var fixed = must(imageurl.NewVersion(imageurl.Trusted, "0"))

func must(v imageurl.Version, err error) imageurl.Version {
	if err != nil {
		panic(err)
	}
	return v
}

func (p Prefix) image(rest string) (Link, error) {
	if p.Kind == objectname.HTTP {
		rest = escape(rest)
	}
	name, query, _ := strings.Cut(rest, "?")
	if p.Kind == objectname.HTTP {
		name = rest
	} else {
		var err error
		if name, err = url.PathUnescape(name); err != nil {
			return Link{}, err
		}
	}
	if err := p.Kind.Check(name); err != nil {
		return Link{}, err
	}
	version, err := p.version(query)
	if err != nil {
		return Link{}, err
	}
	img, err := NewImage(p.Source, name, version)
	return Link{Image: img, AskTag: p.Rule == AskTag}, err
}

func (p Prefix) version(query string) (imageurl.Version, error) {
	switch p.Rule {
	case AskTag:
		return imageurl.Version{}, nil
	case Query:
		values, err := url.ParseQuery(query)
		if err != nil {
			return imageurl.Version{}, err
		}
		token := values.Get(p.Param)
		if token == "" {
			return imageurl.Version{}, nil // live
		}
		return imageurl.NewVersion(imageurl.Trusted, token)
	}
	return fixed, nil
}

// normalize lower-cases scheme and host, and removes a default port.
func normalize(plain string) string {
	scheme, rest, ok := strings.Cut(plain, "://")
	if !ok || strings.ContainsAny(scheme, "/?") {
		return plain
	}
	scheme = strings.ToLower(scheme)
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	host := strings.ToLower(rest[:end])
	if port := map[string]string{"http": ":80", "https": ":443"}[scheme]; port != "" {
		host = strings.TrimSuffix(host, port)
	}
	return scheme + "://" + host + rest[end:]
}
