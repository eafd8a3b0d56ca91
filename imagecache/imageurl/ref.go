// Package imageurl is the grammar of the tier's URLs (CONTRACT 1): a Ref is the full
// name of a variant, a Signer writes it as a signed path and reads it back. The
// gateway writes what the tier reads, so both use this package and nothing below it
// but resize and the standard library.
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

// ErrSyntax: no Ref is spelled like that, or none has such parts. The text of an error that
// wraps it says what is wrong with which part and may be shown to whoever sent it.
var ErrSyntax = errors.New("not an image URL")

// Lengths of the parts, in bytes (CONTRACT 1).
const (
	MaxSource = 32
	MaxName   = 1024 // as decoded
	MaxToken  = 200  // as decoded
)

// Ref is the full name of a variant: source, name, version, Spec. It can be got from
// NewRef, ParseRef and Signer.Parse only, is checked once and for all there, and is
// comparable: two Refs are equal exactly when their paths are. The zero Ref names nothing.
type Ref struct {
	source, name string
	version      Version
	spec         resize.Spec
	path         string // String, made once: it follows from the fields above, so == is right
}

// NewRef names the variant of an original. source is a configured alias
// ([a-z][a-z0-9-]{0,31}), name the object's name within it, 1-1,024 bytes of any value,
// and spec one whose Check is nil. The error wraps ErrSyntax, and resize.ErrSpec where the
// Spec is at fault.
func NewRef(source, name string, v Version, spec resize.Spec) (Ref, error) {
	if err := checkSource(source); err != nil {
		return Ref{}, err
	}
	if len(name) < 1 || len(name) > MaxName {
		return Ref{}, fmt.Errorf("%w: the name has %d bytes, not 1-%d", ErrSyntax, len(name), MaxName)
	}
	if err := spec.Check(); err != nil {
		return Ref{}, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	r := Ref{source: source, name: name, version: v, spec: spec}
	r.path = r.spell()
	return r, nil
}

// Source returns the alias of the source.
func (r Ref) Source() string { return r.source }

// Name returns the object's name within its source, decoded: any bytes.
func (r Ref) Name() string { return r.name }

// Version returns what the Ref promises about the original's content.
func (r Ref) Version() Version { return r.version }

// Spec returns shape and format.
func (r Ref) Spec() resize.Spec { return r.spec }

// String returns the path of the Ref from the / before the shape to its end: what is
// signed, and what a cache keeps it under. ParseRef reads it back.
func (r Ref) String() string { return r.path }

// WithSpec names another variant of the same original in the same version. The error is
// that of NewRef.
func (r Ref) WithSpec(spec resize.Spec) (Ref, error) {
	return NewRef(r.source, r.name, r.version, spec)
}

// Resolve names what a client is sent that asked for r with the format auto: the variant
// in f (AVIF, WebP or JPEG), under the very Ref of the URL that asks for f outright
// (resize.Spec.Resolve). A Ref of another format is returned as it is.
func (r Ref) Resolve(f resize.Format) Ref {
	spec := r.spec.Resolve(f)
	if spec == r.spec {
		return r
	}
	r.spec = spec
	r.path = r.spell()
	return r
}

// spell writes the path of r.
func (r Ref) spell() string {
	b := make([]byte, 0, len("/")+64+len(r.version.token)+len(r.source)+len(r.name)*4/3)
	b = r.spec.AppendShape(append(b, '/'))
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

// ParseRef reads what Ref.String writes, and nothing else: ParseRef(s).String() is s for
// every s that it accepts. The error wraps ErrSyntax, names the part that is wrong, and
// names its canonical spelling where there is one.
func ParseRef(path string) (Ref, error) {
	if path == "" || path[0] != '/' {
		return Ref{}, syntax("it does not begin with /")
	}
	shape, rest, _ := strings.Cut(path[1:], "/")
	version, rest, _ := strings.Cut(rest, "/")
	source, rest, whole := strings.Cut(rest, "/")
	if !whole {
		return Ref{}, syntax("it has too few parts: /shape/version/source/name.format")
	}
	spelledName, format := rest, ""
	if shape != "orig" {
		dot := strings.LastIndexByte(rest, '.')
		if dot < 0 || strings.IndexByte(rest[dot:], '/') >= 0 {
			return Ref{}, syntax("its last segment has no .format (jpg png webp avif gif heic jxl auto)")
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

// checkSource reports whether a configuration can have a source of that alias.
func checkSource(alias string) error {
	ok := len(alias) >= 1 && len(alias) <= MaxSource && 'a' <= alias[0] && alias[0] <= 'z'
	for i := 0; ok && i < len(alias); i++ {
		c := alias[i]
		ok = 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-'
	}
	if !ok {
		return syntax("source %s: an alias is a letter a-z, then up to %d of a-z 0-9 -", quote(alias), MaxSource-1)
	}
	return nil
}

func syntax(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrSyntax, fmt.Sprintf(format, args...))
}

// quote makes what a client sent fit to be shown in an error: quoted, ASCII, and short.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "…"
	}
	return strconv.QuoteToASCII(s)
}
