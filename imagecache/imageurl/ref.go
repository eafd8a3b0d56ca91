// Package imageurl is the grammar of the tier's URLs (CONTRACT 1): a Ref is the full
// name of a variant, a Signer writes it as a signed path and reads it back. The
// gateway writes what the tier reads, so both use this package and nothing below it
// but resize and the standard library.
package imageurl

import "github.com/novasocial/imagetier/resize"

// Pin says what a Version promises about the original's content.
type Pin uint8

const (
	Live      Pin = iota // whatever is there now
	Trusted              // v.TOKEN: the caller's word
	ETag                 // e.TOKEN: the strong entity tag, without quotes
	VersionID            // s.TOKEN: an S3 object version
)

// Version is the version part of a Ref. Its zero value is Live.
type Version struct {
	pin   Pin
	token string
}

// Ref is the full name of a variant: source, name, version, Spec. It can be got from
// NewRef and Signer.Parse only, is checked once and for all there, and is comparable:
// two Refs are equal exactly when their paths are. The zero Ref names nothing.
type Ref struct {
	source, name string
	version      Version
	spec         resize.Spec
}

// Source returns the alias of the source.
func (r Ref) Source() string { return r.source }

// Name returns the object's name within its source, decoded: any bytes.
func (r Ref) Name() string { return r.name }

// Version returns what the Ref promises about the original's content.
func (r Ref) Version() Version { return r.version }

// Spec returns shape and format.
func (r Ref) Spec() resize.Spec { return r.spec }

// Pin returns what kind of promise the version is.
func (v Version) Pin() Pin { return v.pin }

// Token returns the token of the version, decoded; "" for Live.
func (v Version) Token() string { return v.token }

// String returns the path of the Ref from the / before the shape to its end: what is
// signed, and what a cache keeps it under.
func (r Ref) String() string { panic("being written") }
