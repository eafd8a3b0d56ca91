// Package sourceurl parses the URLs that configure sources:
//
//	dir:///srv/photos
//	s3://bucket/prefix?region=eu-central-1&endpoint=http://127.0.0.1:7070&path-style=true&missing=403
//	https://cdn.example.com/photos?redirect=media.example.com&missing=403
//
// each with ?originals=yes. It does not check that a directory, bucket or host exists;
// opening the source does. Start reading at Parse.
package sourceurl

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/novasocial/imagetier/origin/objectname"
)

// Kind is the kind of a source.
type Kind = objectname.Kind

// The kinds of sources, with their URL schemes.
const (
	Dir  = objectname.Dir  // dir://
	S3   = objectname.S3   // s3://
	HTTP = objectname.HTTP // http://, https://
)

// Source is a configured source. Kind says which of the other fields are set.
type Source struct {
	Kind Kind
	// Originals allows clients to fetch the source's originals at /orig (?originals=yes).
	Originals bool

	Path string // Dir: absolute, clean

	Bucket    string // S3
	Prefix    string // S3: "" or ends in "/"; prepended to names
	Region    string // S3: "" means from the environment
	Endpoint  string // S3: "" means Amazon's
	PathStyle bool   // S3

	OpaqueETags   bool // S3: ?etag=opaque
	RequesterPays bool // S3: ?request-payer=yes

	MissingIs403 bool // S3, HTTP: ?missing=403

	Base          string   // HTTP: without a query, ends in "/"
	RedirectHosts []string // HTTP: ?redirect=host, repeatable
}

// Parse parses a source's URL. The error joins everything that is wrong (errors.Join),
// and never contains a password.
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
	parse, ok := map[string]func(*parser){
		"dir": (*parser).dir, "s3": (*parser).s3, "http": (*parser).http, "https": (*parser).http,
	}[u.Scheme]
	if !ok {
		return Source{}, fmt.Errorf("%q is not the URL of a source: "+
			"want dir:///path, s3://bucket/prefix, http://host/prefix or https://host/prefix", u.Redacted())
	}
	p.query()
	if u.User != nil {
		p.errorf("a user and password are not allowed")
	}
	if u.Fragment != "" {
		p.errorf("#%s: a fragment is not allowed (write %%23 for #)", u.Fragment)
	}
	p.source.Originals = p.flag("originals", "yes", "no")
	parse(p)
	for _, key := range slices.Sorted(maps.Keys(p.values)) {
		p.errorf("unknown parameter %q; known for this kind of source: %s", key, strings.Join(p.known, ", "))
	}
	if len(p.errs) > 0 {
		u.User, u.RawQuery, u.Fragment = nil, "", "" // an endpoint may contain a password too
		return Source{}, fmt.Errorf("%q: %w", u, errors.Join(p.errs...))
	}
	return p.source, nil
}

type parser struct {
	u      *url.URL
	source Source
	values map[string][]string // query parameters not yet taken
	known  []string            // keys taken so far
	errs   []error
}

func (p *parser) errorf(format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf(format, args...))
}

// query splits the query into parameters. Unlike url.ParseQuery it leaves "+" as it is.
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
			p.errorf("parameter %q: %w", pair, err)
			continue
		}
		p.values[k] = append(p.values[k], v)
	}
}

// takeAll removes and returns the values of a parameter that may be repeated.
func (p *parser) takeAll(key string) []string {
	p.known = append(p.known, key)
	values := p.values[key]
	delete(p.values, key)
	return values
}

// take removes and returns the value of a parameter.
func (p *parser) take(key string) (value string, ok bool) {
	values := p.takeAll(key)
	if len(values) > 1 {
		p.errorf("parameter %q is repeated", key)
	}
	if len(values) == 0 {
		return "", false
	}
	return values[0], true
}

// flag takes a parameter with two values; the default is off.
func (p *parser) flag(key, on, off string) bool {
	value, ok := p.take(key)
	if ok && value != on && value != off {
		p.errorf("%s=%s: want %s or %s", key, value, on, off)
	}
	return value == on
}

func (p *parser) dir() {
	switch {
	case p.u.Host != "":
		p.errorf("the path must be absolute: write dir:///%s%s", p.u.Host, p.u.Path)
	case p.u.Opaque != "":
		p.errorf("the path must be absolute: write dir:///%s", strings.TrimLeft(p.u.Opaque, "/"))
	case p.u.Path == "":
		p.errorf("no path: write dir:///path")
	case strings.IndexByte(p.u.Path, 0) >= 0:
		p.errorf("the path contains a NUL")
	}
	p.source.Kind, p.source.Path = Dir, path.Clean(p.u.Path)
}

func (p *parser) s3() {
	s := &p.source
	s.Kind, s.Bucket = S3, p.u.Host
	if why := badBucket(s.Bucket); why != "" {
		p.errorf("%s", why)
	}
	s.Prefix = p.s3Prefix()
	if region, ok := p.take("region"); ok {
		if region == "" || strings.Trim(region, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			p.errorf("region=%s: want a name like eu-central-1", region)
		}
		s.Region = region
	}
	if endpoint, ok := p.take("endpoint"); ok {
		if why := badEndpoint(endpoint); why != "" {
			p.errorf("endpoint: %s", why)
		}
		s.Endpoint = endpoint
	}
	s.PathStyle = p.flag("path-style", "true", "false")
	s.MissingIs403 = p.flag("missing", "403", "404")
	s.OpaqueETags = p.flag("etag", "opaque", "md5")
	s.RequesterPays = p.flag("request-payer", "yes", "no")
}

// s3Prefix returns the prefix of a bucket's path, which must be spelled as the keys are: an
// empty, . or .. segment would be a part of every key.
func (p *parser) s3Prefix() string {
	prefix := strings.TrimPrefix(p.u.Path, "/")
	if prefix == "" {
		return ""
	}
	prefix = strings.TrimSuffix(prefix, "/") + "/"
	for segment := range strings.SplitSeq(strings.TrimSuffix(prefix, "/"), "/") {
		if segment == "" || segment == "." || segment == ".." {
			p.errorf("the prefix contains an empty, . or .. segment: write s3://%s%s", p.u.Host, path.Clean("/"+prefix))
			break
		}
	}
	return prefix
}

// badBucket returns what is wrong with a bucket's name, or "". It rejects names that are
// not safe in a URL, and leaves the rest of Amazon's rules to the server.
func badBucket(name string) string {
	switch {
	case name == "":
		return "no bucket: write s3://bucket/prefix"
	case len(name) < 3 || len(name) > 63:
		return fmt.Sprintf("bucket %q: a name has 3 to 63 characters", name)
	case strings.Trim(name, bucketChars) != "" || strings.Contains(name, ".."):
		return fmt.Sprintf("bucket %q: a name has letters, digits, \"-\" and single dots", name)
	}
	return ""
}

const bucketChars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_"

func badEndpoint(endpoint string) string {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return "want http://host:port or https://host"
	case u.User != nil:
		return "keys belong in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
	case u.RawQuery != "" || u.Fragment != "":
		return "has a query or a fragment; write %26 for & and %23 for #"
	}
	return ""
}

func (p *parser) http() {
	base := *p.u
	base.User, base.RawQuery, base.ForceQuery, base.Fragment, base.RawFragment = nil, "", false, "", ""
	if base.Hostname() == "" || base.Opaque != "" {
		p.errorf("no host: write %s://host/prefix", base.Scheme)
	}
	if !strings.HasSuffix(base.Path, "/") {
		base.RawPath = base.EscapedPath() + "/"
		base.Path += "/"
	}
	for segment := range strings.SplitSeq(strings.Trim(base.Path, "/"), "/") {
		if segment == "." || segment == ".." || segment == "" && base.Path != "/" {
			p.errorf("the path contains an empty, . or .. segment")
			break
		}
	}
	if strings.Contains(base.EscapedPath(), "//") {
		p.errorf("the path contains an empty segment")
	}
	p.source.Kind, p.source.Base = HTTP, base.String()
	p.source.MissingIs403 = p.flag("missing", "403", "404")
	for _, host := range p.takeAll("redirect") {
		if u, err := url.Parse("//" + host); err != nil || u.Host != host || u.Hostname() == "" {
			p.errorf("redirect=%s: want a host or host:port", host)
		}
		p.source.RedirectHosts = append(p.source.RedirectHosts, host)
	}
}
