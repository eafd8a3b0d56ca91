// Package imageurl is the grammar of the tier's URLs: a Ref is the full name of a variant,
// and a Signer writes it as a signed path and parses it. The gateway writes the URLs that
// the tier parses, so both import this package, which imports only resize and the standard
// library. Start reading at Ref, then Signer.
//
//	/i/{signature}/{shape}/{version}/{source}/{name}.{format}
//	   └ Signer   ┘└ Ref ──────────────────────────────────┘
package imageurl

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/novasocial/imagetier/resize"
)

// ErrSyntax means that a path, or a part of one, is not valid. The text of an error that
// wraps it says which part is wrong and may be shown to the client.
var ErrSyntax = errors.New("not an image URL")

// Maximum lengths of the parts, in bytes.
const (
	MaxSource = 32
	MaxName   = 1024 // decoded
	MaxToken  = 200  // decoded
)

// Ref is the full name of a variant: source, name, version, Spec. NewRef, ParseRef and
// Signer.Parse make and validate it. It is comparable: two Refs are equal exactly if their
// paths are. The zero Ref names nothing.
type Ref struct {
	source, name string
	version      Version
	spec         resize.Spec
	path         string // the value of String; derived from the fields above, so == works
}

// NewRef returns the Ref of a variant. source is a configured alias
// ([a-z][a-z0-9-]{0,31}), name the object's name within it (1-1,024 bytes of any value),
// and spec a valid Spec. The error wraps ErrSyntax, and resize.ErrSpec if the Spec is
// invalid.
func NewRef(source, name string, v Version, spec resize.Spec) (Ref, error) {
	if err := CheckImage(source, name); err != nil {
		return Ref{}, err
	}
	if err := spec.Check(); err != nil {
		return Ref{}, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	r := Ref{source: source, name: name, version: v, spec: spec}
	r.path = r.buildPath()
	return r, nil
}

// CheckImage returns the error of [NewRef] about source and name.
func CheckImage(source, name string) error {
	if err := checkSource(source); err != nil {
		return err
	}
	if len(name) < 1 || len(name) > MaxName {
		return fmt.Errorf("%w: the name has %d bytes, not 1-%d", ErrSyntax, len(name), MaxName)
	}
	return nil
}

// ParseImage returns the Ref of a variant from the spellings of its parts: source and name as for
// [NewRef] (the name is not encoded), a version as for [ParseVersion], such as "v.1" or "live", and
// shape and format as for [resize.ParseSpecName], such as "640x640-cover.webp". The error wraps
// ErrSyntax.
func ParseImage(source, name, version, spec string) (Ref, error) {
	v, errVersion := ParseVersion(version)
	s, errSpec := resize.ParseSpecName(spec)
	if errSpec != nil {
		errSpec = fmt.Errorf("%w: %w", ErrSyntax, errSpec)
	}
	if err := errors.Join(errVersion, errSpec); err != nil {
		return Ref{}, err
	}
	return NewRef(source, name, v, s)
}

// Source returns the alias of the source.
func (r Ref) Source() string { return r.source }

// Name returns the object's name within its source, decoded: any bytes.
func (r Ref) Name() string { return r.name }

// Version returns the version of the original.
func (r Ref) Version() Version { return r.version }

// Spec returns the shape and format.
func (r Ref) Spec() resize.Spec { return r.spec }

// String returns the path of the Ref, from the / before the shape to its end. It is the
// part of a URL that is signed, and the key in a cache. ParseRef parses it.
func (r Ref) String() string { return r.path }

// WithSpec returns the Ref of another variant of the same original in the same version.
// The error is that of NewRef.
func (r Ref) WithSpec(spec resize.Spec) (Ref, error) {
	return NewRef(r.source, r.name, r.version, spec)
}

// Resolve replaces the format auto by f (AVIF, WebP or JPEG), which was negotiated with the
// client. The result is equal to the Ref of a URL that names f itself
// (resize.Spec.Resolve). A Ref of another format is returned unchanged.
func (r Ref) Resolve(f resize.Format) Ref {
	spec := r.spec.Resolve(f)
	if spec == r.spec {
		return r
	}
	r.spec = spec
	r.path = r.buildPath()
	return r
}

// buildPath returns the path of r.
func (r Ref) buildPath() string {
	var buf [256]byte // longer ones are rare, and allocate twice
	b := r.spec.AppendShape(append(buf[:0], '/'))
	b = r.version.append(append(b, '/'))
	b = append(append(b, '/'), r.source...)
	b = append(b, '/')
	if plainName(r.name) {
		b = append(b, r.name...)
	} else {
		b = appendEncoded(b, r.name)
	}
	if r.spec.Shape != resize.ShapeOriginal {
		b = append(append(b, '.'), r.spec.Format.String()...)
	}
	return string(b)
}

// ParseRef parses the result of Ref.String. It accepts only the canonical spelling:
// ParseRef(s).String() is s for every s that it accepts. The error wraps ErrSyntax and
// names the part that is wrong, with its canonical spelling if it has one.
func ParseRef(path string) (Ref, error) {
	if path == "" || path[0] != '/' {
		return Ref{}, syntaxError("it does not begin with /")
	}
	shape, rest, _ := strings.Cut(path[1:], "/")
	version, rest, _ := strings.Cut(rest, "/")
	source, rest, ok := strings.Cut(rest, "/")
	if !ok {
		return Ref{}, syntaxError("too few parts: want /shape/version/source/name.format")
	}
	spelledName, format := rest, ""
	if shape != "orig" {
		dot := strings.LastIndexByte(rest, '.')
		if dot < 0 || strings.IndexByte(rest[dot:], '/') >= 0 {
			return Ref{}, syntaxError("the last segment has no .format (jpg png webp avif gif heic jxl auto)")
		}
		spelledName, format = rest[:dot], rest[dot+1:]
	}
	spec, err := resize.ParseSpec(shape, format)
	if err != nil {
		return Ref{}, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	v, err := ParseVersion(version)
	if err != nil {
		return Ref{}, err
	}
	if err := checkSource(source); err != nil {
		return Ref{}, err
	}
	name, err := parseName(spelledName)
	if err != nil {
		return Ref{}, err
	}
	return Ref{source: source, name: name, version: v, spec: spec, path: path}, nil
}

// checkSource returns an error if alias is not a valid alias of a source.
func checkSource(alias string) error {
	ok := len(alias) >= 1 && len(alias) <= MaxSource && 'a' <= alias[0] && alias[0] <= 'z'
	for i := 0; ok && i < len(alias); i++ {
		c := alias[i]
		ok = 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-'
	}
	if !ok {
		return syntaxError("source %s: an alias is a letter a-z, then up to %d of a-z 0-9 -", quote(alias), MaxSource-1)
	}
	return nil
}

func syntaxError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrSyntax, fmt.Sprintf(format, args...))
}

// quote makes a client's input safe to show in an error: quoted, ASCII, and short.
func quote(s string) string {
	const limit = 64
	if len(s) > limit {
		return strconv.QuoteToASCII(s[:limit]) + "…"
	}
	return strconv.QuoteToASCII(s)
}
