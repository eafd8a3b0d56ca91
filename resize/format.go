package resize

import (
	"fmt"
	"strconv"
)

// Format is the last part of a URL: what a variant is encoded as.
type Format uint8

const (
	NoFormat Format = iota // of ShapeOriginal only
	JPEG
	PNG
	WebP
	AVIF
	GIF
	HEIC
	JXL
	Auto // by Accept; resolved by Spec.Resolve before anything is made
	JSON // of ShapeInfo only
	numFormats
)

// formats holds what is fixed about each Format. The default qualities are part of the
// grammar (CONTRACT 1): a URL without q means this number for ever.
var formats = [numFormats]struct {
	name        string
	contentType string
	quality     int
}{
	NoFormat: {"", "", 0},
	JPEG:     {"jpg", "image/jpeg", 80},
	PNG:      {"png", "image/png", 0},
	WebP:     {"webp", "image/webp", 75},
	AVIF:     {"avif", "image/avif", 55},
	GIF:      {"gif", "image/gif", 0},
	HEIC:     {"heic", "image/heic", 60},
	JXL:      {"jxl", "image/jxl", 75},
	Auto:     {"auto", "", 0},
	JSON:     {"json", "application/json", 0},
}

// String returns the format as URLs spell it: jpg png webp avif gif heic jxl auto json,
// and "" for NoFormat.
func (f Format) String() string {
	if f >= numFormats {
		return "Format(" + strconv.Itoa(int(f)) + ")"
	}
	return formats[f].name
}

// ContentType returns the media type, "" for NoFormat and Auto, which have none.
func (f Format) ContentType() string {
	if f >= numFormats {
		return ""
	}
	return formats[f].contentType
}

// DefaultQuality returns the quality, 1-100, that a Spec without one means, or 0 for the
// formats that have no quality (PNG, GIF) or none of their own (Auto).
func (f Format) DefaultQuality() int {
	if f >= numFormats {
		return 0
	}
	return formats[f].quality
}

// Concrete reports whether an image can be encoded as f: not NoFormat, Auto, JSON.
func (f Format) Concrete() bool { return f >= JPEG && f <= JXL }

// Animates reports whether variants in this format keep an animation. Auto does,
// because one of its classes does.
func (f Format) Animates() bool { return f == GIF || f == WebP || f == Auto }

// ParseFormat reads what Format.String writes, except "". Any other spelling is an error
// that wraps ErrSpec.
func ParseFormat(name string) (Format, error) {
	switch name { // a switch, not a loop: the read path comes through here
	case "jpg":
		return JPEG, nil
	case "png":
		return PNG, nil
	case "webp":
		return WebP, nil
	case "avif":
		return AVIF, nil
	case "gif":
		return GIF, nil
	case "heic":
		return HEIC, nil
	case "jxl":
		return JXL, nil
	case "auto":
		return Auto, nil
	case "json":
		return JSON, nil
	}
	return NoFormat, fmt.Errorf("%w: format %s is none of jpg png webp avif gif heic jxl auto", ErrSpec, quote(name))
}

// quote makes what a client sent fit to be shown in an error: quoted, and short.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "…"
	}
	return strconv.QuoteToASCII(s)
}
