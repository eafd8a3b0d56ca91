package resize

import (
	"fmt"
	"strconv"
)

// Format is the encoding of a variant: the extension in its URL.
type Format uint8

const (
	NoFormat Format = iota // only for ShapeOriginal
	JPEG
	PNG
	WebP
	AVIF
	GIF
	HEIC
	JXL
	Auto // chosen by the Accept header; Spec.Resolve replaces it before anything is made
	JSON // only for ShapeInfo
	numFormats
)

// formats holds the properties of each Format. The default qualities are part of the URL
// grammar and must never change: a URL without q keeps meaning this number.
var formats = [numFormats]struct {
	name        string
	contentType string
	kind        Kind // of a variant, as ReadHeader reads it
	quality     int
	longest     int // largest side, in pixels
}{
	NoFormat: {"", "", NoKind, 0, unlimited},
	JPEG:     {"jpg", "image/jpeg", KindJPEG, 80, 65_500},  // libjpeg's JPEG_MAX_DIMENSION
	PNG:      {"png", "image/png", KindPNG, 0, 65_535},     // the limit of a Resizer's answer
	WebP:     {"webp", "image/webp", KindWebP, 75, 16_383}, // 14 bits
	AVIF:     {"avif", "image/avif", KindAVIF, 55, 16_384}, // the limit of libvips for HEIF
	GIF:      {"gif", "image/gif", KindGIF, 0, 65_535},     // 16 bits
	HEIC:     {"heic", "image/heic", KindHEIC, 60, 16_384},
	JXL:      {"jxl", "image/jxl", KindJXL, 75, 65_535}, // the limit of a Resizer's answer
	Auto:     {"auto", "", NoKind, 0, unlimited},
	JSON:     {"json", "application/json", NoKind, 0, unlimited},
}

const unlimited = 1<<31 - 1

// String returns the format as in URLs: jpg png webp avif gif heic jxl auto json,
// and "" for NoFormat.
func (f Format) String() string {
	if f >= numFormats {
		return "Format(" + strconv.Itoa(int(f)) + ")"
	}
	return formats[f].name
}

// ContentType returns the media type, or "" for NoFormat and Auto.
func (f Format) ContentType() string {
	if f >= numFormats {
		return ""
	}
	return formats[f].contentType
}

// Kind returns the kind of an image that is encoded as f, or NoKind if f is not Concrete.
func (f Format) Kind() Kind {
	if f >= numFormats {
		return NoKind
	}
	return formats[f].kind
}

// LongestSide returns the largest width and height, in pixels, of an image that is encoded as f.
// It is at least MaxBox. [Spec.OutputSize] makes no larger one.
func (f Format) LongestSide() int {
	if f >= numFormats {
		return unlimited
	}
	return formats[f].longest
}

// DefaultQuality returns the quality, 1-100, of a Spec that sets none. It is 0 for formats
// without a quality (PNG, GIF) and for Auto.
func (f Format) DefaultQuality() int {
	if f >= numFormats {
		return 0
	}
	return formats[f].quality
}

// Concrete reports whether an image can be encoded as f: false for NoFormat, Auto and JSON.
func (f Format) Concrete() bool { return f >= JPEG && f <= JXL }

// Animates reports whether variants in this format keep an animation. Auto does, because it
// may resolve to WebP.
func (f Format) Animates() bool { return f == GIF || f == WebP || f == Auto }

// ParseFormat parses what [Format.String] returns, except "". Any other spelling is an error
// that wraps ErrSpec.
func ParseFormat(name string) (Format, error) {
	switch name { // a switch instead of a loop, because every request comes through here
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
	return NoFormat, fmt.Errorf("%w: format %s: want one of jpg png webp avif gif heic jxl auto", ErrSpec, quote(name))
}

// quote quotes and shortens client input for use in an error.
func quote(s string) string {
	const maxLength = 64
	if len(s) > maxLength {
		return strconv.QuoteToASCII(s[:maxLength]) + "…"
	}
	return strconv.QuoteToASCII(s)
}
