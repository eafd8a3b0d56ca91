package weborigin

import (
	"net/url"
	"strings"

	"github.com/novasocial/imagetier/origin/objectname"
)

// target is a name split into path and query. It is sent in exactly the spelling of the
// name: another spelling may be another resource or break a signature.
type target struct {
	path, query string
	hasQuery    bool // there is a "?", even if query is empty
}

// parseTarget parses a name. The error is that of [objectname.Kind.Check].
func parseTarget(name string) (target, error) {
	if err := objectname.HTTP.Check(name); err != nil {
		return target{}, err
	}
	var t target
	t.path, t.query, t.hasQuery = strings.Cut(name, "?")
	return t, nil
}

// CheckName returns an error that wraps origin.ErrName if name cannot be requested.
func (*Source) CheckName(name string) error { return objectname.HTTP.Check(name) }

// under returns the URL of the target under base, whose path ends in "/". Opaque keeps
// net/url from encoding the path again.
func (t target) under(base *url.URL) *url.URL {
	u := *base
	raw := base.EscapedPath() + t.path
	u.Path, _ = url.PathUnescape(raw) // for relative redirects
	u.RawPath = raw
	u.Opaque = raw
	u.RawQuery, u.ForceQuery = t.query, t.hasQuery && t.query == ""
	return &u
}
