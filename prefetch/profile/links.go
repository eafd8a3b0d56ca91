package profile

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/novasocial/imagetier/imagecache/imageurl"
)

// ErrNoPrefix means that a URL begins with none of the configured prefixes. It is not a client error: such
// an image is not served by the tier.
var ErrNoPrefix = errors.New("no image prefix fits")

// ErrURL means that a URL begins with a prefix, but names no image of its source.
var ErrURL = errors.New("not the URL of an image")

// MaxURL is the longest plain URL that is read, in bytes.
const MaxURL = 8 << 10

// RuleKind says how the version of a plain URL is found.
type RuleKind uint8

const (
	Fixed  RuleKind = iota // v.0: names are never used again
	Query                  // v. and a parameter of the query; live where it is absent or empty
	AskTag                 // the entity tag, which the tier is asked for; live until it is known
)

// Prefix says what plain URLs that begin alike mean.
type Prefix struct {
	Prefix string // ends in "/": "https://cdn.app.example/", or a path
	Source string // alias
	Rule   RuleKind
	Param  string // of Query: the parameter's name
	// HTTP says that the source is an HTTP one: names keep their query and their percent
	// signs. The tier sets it from its sources; where no sources are configured, ?kind=http
	// says it.
	HTTP bool
}

// ParsePrefix reads PREFIX=SOURCE?version=RULE: RULE is fixed (also if there is none),
// query:NAME or etag. PREFIX ends in "/" and is split from the rest at the last "/=".
// &kind=http says that the source is an HTTP one, to a gateway that has no sources.
func ParsePrefix(text string) (Prefix, error) {
	at := strings.LastIndex(text, "/=")
	if at < 0 {
		return Prefix{}, fmt.Errorf("image prefix %q: it is not PREFIX=SOURCE with a PREFIX that ends in /", text)
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
			return Prefix{}, fmt.Errorf("image prefix %q: %s is said twice", text, key)
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
			return errors.New("version=query: wants the name of a parameter (query:v)")
		}
	case key == "version":
		return fmt.Errorf("version=%s is none of fixed, query:NAME, etag", value)
	case key == "kind" && value == "http":
		p.HTTP = true
	case key == "kind":
		return fmt.Errorf("kind=%s: only http is to be said", value)
	default:
		return fmt.Errorf("%q is none of version=, kind=http", key)
	}
	return nil
}

// String writes p as ParsePrefix reads it.
func (p Prefix) String() string {
	s := p.Prefix + "=" + p.Source + "?version=" + [...]string{"fixed", "query:" + p.Param, "etag"}[p.Rule]
	if p.HTTP {
		s += "&kind=http"
	}
	return s
}

// checkPrefix: a prefix with a scheme has a host in it, whole, or other hosts would begin
// like it.
func checkPrefix(prefix string) error {
	if strings.ContainsAny(prefix, "?#") {
		return errors.New("a prefix has no query and no fragment")
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

// Links turns plain URLs into Images. Its zero value knows no prefix.
type Links struct {
	prefixes []Prefix // longest first
}

// NewLinks returns the Links of those prefixes. Where several fit a URL, the longest counts.
// A prefix that is there twice is a fault.
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
			return nil, fmt.Errorf("image prefix %q is there twice", l.prefixes[i].Prefix)
		}
	}
	return l, nil
}

// Link is what a plain URL names.
type Link struct {
	Image
	// AskTag: the rule is etag. The Image is the live one, and Image.WithETag makes the
	// pinned one of it once the tier has said what the tag is.
	AskTag bool
}

// Image reads a plain URL. The rest of the URL after its prefix is percent-decoded once
// for S3 and directories and kept as it is, with its query, for HTTP sources; a fragment is
// dropped. Scheme and host are compared without case and without the default port.
//
// The error wraps ErrNoPrefix, or ErrURL (and may wrap imageurl.ErrSyntax) and then may be
// shown to the sender of the URL.
func (l *Links) Image(plain string) (Link, error) {
	if len(plain) > MaxURL {
		return Link{}, fmt.Errorf("%w: %d bytes, at most %d", ErrURL, len(plain), MaxURL)
	}
	plain, _, _ = strings.Cut(plain, "#")
	p, rest, ok := l.find(plain)
	if !ok { // what begins with a prefix as it is has nothing to be normalized
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

// find returns the longest prefix that plain begins with, and what is behind it.
func (l *Links) find(plain string) (p *Prefix, rest string, ok bool) {
	for i := range l.prefixes {
		if rest, ok := strings.CutPrefix(plain, l.prefixes[i].Prefix); ok {
			return &l.prefixes[i], rest, true
		}
	}
	return nil, "", false
}

// VersionOf returns the version that the URLs of a source carry when nothing but its name
// and, if tag is not empty, the strong entity tag of an object are known: what a
// notification of a bucket tells. ok is false if no prefix leads to that source, or only
// ones whose URLs cannot be foretold (query:NAME).
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
	path, query, _ := strings.Cut(rest, "?")
	name, err := url.PathUnescape(path)
	if err != nil {
		return Link{}, err
	}
	if hasDotSegment(name) {
		return Link{}, errors.New("a segment is . or .., so that the URL names something else than it spells")
	}
	if p.HTTP {
		name = rest
	}
	version, err := p.version(query)
	if err != nil {
		return Link{}, err
	}
	img, err := NewImage(p.Source, name, version)
	return Link{Image: img, AskTag: p.Rule == AskTag}, err
}

// hasDotSegment reports whether a segment of name is . or ..
func hasDotSegment(name string) bool {
	for segment := range strings.SplitSeq(name, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
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
			return imageurl.Version{}, nil // nothing is promised
		}
		return imageurl.NewVersion(imageurl.Trusted, token)
	}
	return fixed, nil
}

// normalize spells scheme and host in lower case and leaves a default port out.
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
