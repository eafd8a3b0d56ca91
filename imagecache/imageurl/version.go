package imageurl

import "strings"

// Pin says how a Version determines the original's content.
type Pin uint8

// The kinds of versions.
const (
	Live      Pin = iota // live: the current content
	Trusted              // v.TOKEN: the caller guarantees that the content never changes
	ETag                 // e.TOKEN: the content with this strong entity tag, without quotes
	VersionID            // s.TOKEN: an S3 object version
)

// pinLetters are the letters before the dot of a version, by Pin.
const pinLetters = "\x00ves"

// Version is the version part of a Ref. Its zero value is Live.
type Version struct {
	pin   Pin
	token string
}

// NewVersion returns a Version. token has 1-200 bytes of any value, not encoded, and is ""
// for Live. An entity tag has no quotes. The S3 version "null" is refused: it is
// overwritten in place, so it does not pin a content. The error wraps ErrSyntax.
func NewVersion(pin Pin, token string) (Version, error) {
	switch {
	case pin > VersionID:
		return Version{}, syntaxError("version: unknown pin %d", pin)
	case pin == Live && token != "":
		return Version{}, syntaxError("version: live has no token")
	case pin == Live:
		return Version{}, nil
	case len(token) < 1 || len(token) > MaxToken:
		return Version{}, syntaxError("version: the token has %d bytes, want 1-%d", len(token), MaxToken)
	case pin == VersionID && token == "null":
		return Version{}, syntaxError("version: the S3 version null is overwritten in place and cannot be pinned")
	}
	return Version{pin, token}, nil
}

// ParseVersion parses a version as it is spelled in URLs: "live", "v.TOKEN", "e.TOKEN" or
// "s.TOKEN". The token is unchanged if it has only letters, digits and - . _ ~ and does not
// begin with ~, and otherwise ~ and base64url. The error wraps ErrSyntax, and names the
// canonical spelling if the token is encoded and should not be, or the other way round.
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
		return Version{}, syntaxError("version %s: want live, v.TOKEN, e.TOKEN or s.TOKEN", quote(text))
	}
	token := text[2:]
	if strings.HasPrefix(token, "~") {
		decoded, err := decode("version", token, MaxToken)
		if err != nil {
			return Version{}, err
		}
		if plainToken(decoded) {
			return Version{}, syntaxError("version %s is spelled %s", quote(text), quote(text[:2]+decoded))
		}
		return NewVersion(pin, decoded)
	}
	v, err := NewVersion(pin, token)
	if err != nil {
		return Version{}, err
	}
	if !plainToken(token) {
		return Version{}, syntaxError("version %s is spelled %s", quote(text), quote(v.String()))
	}
	return v, nil
}

// Pin returns the kind of the version.
func (v Version) Pin() Pin { return v.pin }

// Token returns the token of the version, decoded; "" for Live.
func (v Version) Token() string { return v.token }

// String returns the version as it is spelled in URLs. ParseVersion parses it.
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
