package imageurl

import "strings"

// Pin says what a Version promises about the original's content.
type Pin uint8

const (
	Live      Pin = iota // whatever is there now
	Trusted              // v.TOKEN: the caller's word
	ETag                 // e.TOKEN: the strong entity tag, without quotes
	VersionID            // s.TOKEN: an S3 object version
)

// pinLetters are what a version of each Pin begins with, before a dot.
const pinLetters = "\x00ves"

// Version is the version part of a Ref. Its zero value is Live.
type Version struct {
	pin   Pin
	token string
}

// NewVersion makes the Version that promises pin of an original by token: 1-200 bytes of
// any value, as they are (not as a URL spells them), and none for Live. An entity tag is
// given without its quotes. The S3 version "null" is refused: it names whatever was put
// last without versioning, and pins nothing. The error wraps ErrSyntax.
func NewVersion(pin Pin, token string) (Version, error) {
	switch {
	case pin > VersionID:
		return Version{}, syntax("version: there is no pin %d", pin)
	case pin == Live && token != "":
		return Version{}, syntax("version: live has no token")
	case pin == Live:
		return Version{}, nil
	case len(token) < 1 || len(token) > MaxToken:
		return Version{}, syntax("version: the token has %d bytes, not 1-%d", len(token), MaxToken)
	case pin == VersionID && token == "null":
		return Version{}, syntax("version: the S3 version null pins nothing")
	}
	return Version{pin, token}, nil
}

// ParseVersion reads a version as URLs spell it: "live", "v.TOKEN", "e.TOKEN" or "s.TOKEN",
// the token as it is where it has only letters, digits and - . _ ~ and does not begin with
// ~, and otherwise ~ and base64url. The error wraps ErrSyntax, and names the right spelling
// where a token had to be encoded and was not, or the other way round.
func ParseVersion(text string) (Version, error) {
	if text == "live" {
		return Version{}, nil
	}
	var pin Pin
	switch {
	case strings.HasPrefix(text, "v."):
		pin = Trusted
	case strings.HasPrefix(text, "e."):
		pin = ETag
	case strings.HasPrefix(text, "s."):
		pin = VersionID
	default:
		return Version{}, syntax("version %s is none of live, v.TOKEN, e.TOKEN, s.TOKEN", quote(text))
	}
	token := text[2:]
	if strings.HasPrefix(token, "~") {
		decoded, err := decode("version", token, MaxToken)
		if err != nil {
			return Version{}, err
		}
		if plainToken(decoded) {
			return Version{}, syntax("version %s is spelled %s", quote(text), quote(text[:2]+decoded))
		}
		return NewVersion(pin, decoded)
	}
	v, err := NewVersion(pin, token)
	if err != nil {
		return Version{}, err
	}
	if !plainToken(token) {
		return Version{}, syntax("version %s is spelled %s", quote(text), quote(v.String()))
	}
	return v, nil
}

// Pin returns what kind of promise the version is.
func (v Version) Pin() Pin { return v.pin }

// Token returns the token of the version, decoded; "" for Live.
func (v Version) Token() string { return v.token }

// String returns the version as URLs spell it; ParseVersion reads it back.
func (v Version) String() string {
	var buf [300]byte
	return string(v.append(buf[:0]))
}

func (v Version) append(b []byte) []byte {
	if v.pin == Live {
		return append(b, "live"...)
	}
	b = append(b, pinLetters[v.pin], '.')
	if plainToken(v.token) {
		return append(b, v.token...)
	}
	return appendEncoded(b, v.token)
}
