// Package sourceurl reads the URLs that configure sources:
//
//	dir:///srv/photos
//	s3://bucket/prefix?region=eu-central-1&endpoint=http://127.0.0.1:7070&path-style=true&missing=403
//	https://cdn.example.com/photos?redirect=media.example.com
//
// each with ?originals=yes. It only reads: that a directory or bucket is there, or a host
// resolves, shows when the source is made.
package sourceurl

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
)

// Kind is the kind of a source.
type Kind uint8

const (
	Dir  Kind = iota + 1 // dir://
	S3                   // s3://
	HTTP                 // http://, https://
)

// String returns the kind's name.
func (k Kind) String() string { return [...]string{"", "dir", "s3", "http"}[k] }

// Source is a configured source: Kind says which of the others are set.
type Source struct {
	Kind Kind
	// Originals allows /orig of it (?originals=yes).
	Originals bool

	Path string // Dir: absolute, clean

	Bucket       string // S3
	Prefix       string // S3: "" or ends in "/"; put before names as it is
	Region       string // S3: "" is the environment's
	Endpoint     string // S3: "" is Amazon's
	PathStyle    bool   // S3
	MissingIs403 bool   // S3: ?missing=403

	Base          string   // HTTP: without a query, ends in "/"
	RedirectHosts []string // HTTP: ?redirect=host, as often as there are hosts
}

// Parse reads a source's URL. The error joins every fault there is (errors.Join), and
// never shows a password.
func Parse(raw string) (Source, error) {
	u, err := url.Parse(raw)
	if err != nil {
		var in *url.Error
		if errors.As(err, &in) {
			err = in.Err
		}
		return Source{}, fmt.Errorf("not a URL: %w", err)
	}
	p := &parser{u: u}
	parse, ok := map[string]func(*parser){"dir": (*parser).dir, "s3": (*parser).s3, "http": (*parser).http, "https": (*parser).http}[u.Scheme]
	if !ok {
		return Source{}, fmt.Errorf("%q is no source: want dir:///path, s3://bucket/prefix, http://host/prefix or https://host/prefix", u.Redacted())
	}
	p.query()
	if u.User != nil {
		p.fault("a user and password have no place in it")
	}
	if u.Fragment != "" {
		p.fault("#%s: a source has no fragment (write %%23 for #)", u.Fragment)
	}
	p.source.Originals = p.flag("originals", "yes", "no")
	parse(p)
	for _, key := range slices.Sorted(maps.Keys(p.values)) {
		p.fault("unknown setting %q; this kind of source has %s", key, strings.Join(p.known, ", "))
	}
	if len(p.faults) > 0 {
		u.User, u.RawQuery, u.Fragment = nil, "", "" // an endpoint may hold a password too
		return Source{}, fmt.Errorf("%q: %w", u, errors.Join(p.faults...))
	}
	return p.source, nil
}

type parser struct {
	u      *url.URL
	source Source
	values map[string][]string // what has not been taken
	known  []string            // keys that were asked for
	faults []error
}

func (p *parser) fault(format string, args ...any) {
	p.faults = append(p.faults, fmt.Errorf(format, args...))
}

// query reads the settings. They are read as a query is in a browser's form, with one
// change: "+" is "+".
func (p *parser) query() {
	p.values = map[string][]string{}
	for pair := range strings.SplitSeq(p.u.RawQuery, "&") {
		if pair == "" {
			continue
		}
		key, value, _ := strings.Cut(pair, "=")
		k, errKey := url.PathUnescape(key)
		v, errValue := url.PathUnescape(value)
		if err := errors.Join(errKey, errValue); err != nil {
			p.fault("setting %q: %w", pair, err)
			continue
		}
		p.values[k] = append(p.values[k], v)
	}
}

// takeAll returns the values of a setting that may be there more than once.
func (p *parser) takeAll(key string) []string {
	p.known = append(p.known, key)
	values := p.values[key]
	delete(p.values, key)
	return values
}

// take returns the value of a setting.
func (p *parser) take(key string) (value string, there bool) {
	values := p.takeAll(key)
	if len(values) > 1 {
		p.fault("setting %q is there more than once", key)
	}
	if len(values) == 0 {
		return "", false
	}
	return values[0], true
}

// flag takes a setting of two values; not there is off.
func (p *parser) flag(key, on, off string) bool {
	value, there := p.take(key)
	if there && value != on && value != off {
		p.fault("%s=%s: want %s or %s", key, value, on, off)
	}
	return value == on
}

func (p *parser) dir() {
	switch {
	case p.u.Host != "":
		p.fault("a directory's path is absolute: write dir:///%s%s", p.u.Host, p.u.Path)
	case p.u.Opaque != "":
		p.fault("a directory's path is absolute: write dir:///%s", strings.TrimLeft(p.u.Opaque, "/"))
	case p.u.Path == "":
		p.fault("no path: write dir:///path")
	case strings.IndexByte(p.u.Path, 0) >= 0:
		p.fault("the path has a NUL")
	}
	p.source.Kind, p.source.Path = Dir, path.Clean(p.u.Path)
}

func (p *parser) s3() {
	s := &p.source
	s.Kind, s.Bucket = S3, p.u.Host
	if why := badBucket(s.Bucket); why != "" {
		p.fault("%s", why)
	}
	s.Prefix = strings.TrimPrefix(p.u.Path, "/")
	if s.Prefix != "" && !strings.HasSuffix(s.Prefix, "/") {
		s.Prefix += "/"
	}
	if region, there := p.take("region"); there {
		if region == "" || strings.Trim(region, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			p.fault("region=%s: want a name like eu-central-1", region)
		}
		s.Region = region
	}
	if endpoint, there := p.take("endpoint"); there {
		if why := badEndpoint(endpoint); why != "" {
			p.fault("endpoint: %s", why)
		}
		s.Endpoint = endpoint
	}
	s.PathStyle = p.flag("path-style", "true", "false")
	if missing, there := p.take("missing"); there {
		if missing != "403" && missing != "404" {
			p.fault("missing=%s: want 403 or 404", missing)
		}
		s.MissingIs403 = missing == "403"
	}
}

// badBucket says what is wrong with a bucket's name: as far as it could name something
// else than a bucket, not all of Amazon's rules, which other servers do not share.
func badBucket(name string) string {
	switch {
	case name == "":
		return "no bucket: write s3://bucket/prefix"
	case len(name) < 3 || len(name) > 63:
		return fmt.Sprintf("bucket %q: a name has 3 to 63 characters", name)
	case strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_") != "" || strings.Contains(name, ".."):
		return fmt.Sprintf("bucket %q: a name has letters, digits, \"-\" and single dots", name)
	}
	return ""
}

func badEndpoint(endpoint string) string {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return "want http://host:port or https://host"
	case u.User != nil:
		return "keys belong in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
	case u.RawQuery != "" || u.Fragment != "":
		return "has a query or a fragment; write %26 for & and %23 for # inside of it"
	}
	return ""
}

func (p *parser) http() {
	base := *p.u
	base.User, base.RawQuery, base.ForceQuery, base.Fragment, base.RawFragment = nil, "", false, "", ""
	if base.Hostname() == "" || base.Opaque != "" {
		p.fault("no host: write %s://host/prefix", base.Scheme)
	}
	if !strings.HasSuffix(base.Path, "/") {
		base.RawPath = base.EscapedPath() + "/"
		base.Path += "/"
	}
	for segment := range strings.SplitSeq(strings.Trim(base.Path, "/"), "/") {
		if segment == "." || segment == ".." || segment == "" && base.Path != "/" {
			p.fault("the path has an empty, . or .. segment")
			break
		}
	}
	if strings.Contains(base.EscapedPath(), "//") {
		p.fault("the path has an empty segment")
	}
	p.source.Kind, p.source.Base = HTTP, base.String()
	for _, host := range p.takeAll("redirect") {
		if u, err := url.Parse("//" + host); err != nil || u.Host != host || u.Hostname() == "" {
			p.fault("redirect=%s: want a host or host:port", host)
		}
		p.source.RedirectHosts = append(p.source.RedirectHosts, host)
	}
}
