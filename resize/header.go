package resize

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Kind is the encoding of an original, detected by its first bytes. No others are decoded.
type Kind uint8

const (
	NoKind Kind = iota
	KindJPEG
	KindPNG // APNG too: Header.Animated
	KindWebP
	KindGIF
	KindAVIF
	KindHEIC
	KindTIFF
	KindJXL
	numKinds
)

var kinds = [numKinds]struct{ name, contentType string }{
	NoKind:   {"", ""},
	KindJPEG: {"jpeg", "image/jpeg"},
	KindPNG:  {"png", "image/png"},
	KindWebP: {"webp", "image/webp"},
	KindGIF:  {"gif", "image/gif"},
	KindAVIF: {"avif", "image/avif"},
	KindHEIC: {"heic", "image/heic"},
	KindTIFF: {"tiff", "image/tiff"},
	KindJXL:  {"jxl", "image/jxl"},
}

// String returns jpeg png webp gif avif heic tiff jxl, and "" for NoKind.
func (k Kind) String() string {
	if k >= numKinds {
		return fmt.Sprintf("Kind(%d)", uint8(k))
	}
	return kinds[k].name
}

// ContentType returns the media type, "" for NoKind.
func (k Kind) ContentType() string {
	if k >= numKinds {
		return ""
	}
	return kinds[k].contentType
}

// Header is the metadata of an original that can be read without decoding it: enough to enforce
// limits, to answer info requests and to estimate the cost of decoding.
type Header struct {
	Kind Kind
	// Width and Height are in pixels, as stored (before Orientation is applied). For
	// animations they are those of the canvas. Both are at least 1.
	Width, Height int
	// LargestWidth and LargestHeight bound what a decoder may have to hold for one frame:
	// at least Width and Height, and the size of every frame, tile grid, thumbnail or
	// auxiliary image in the header. Limits are checked against these.
	LargestWidth, LargestHeight int
	// CodedWidth and CodedHeight are the size of an AVIF or HEIC before its crop, whose left upper
	// corner is at Left and Top. They are 0 without a crop.
	CodedWidth, CodedHeight, Left, Top int
	// Orientation, 1-8 as in EXIF, is the transformation that makes the stored pixels
	// upright (1: none). For AVIF, HEIC and JXL it is the container's, which libjxl applies while
	// decoding; their standards say that EXIF is ignored there.
	Orientation int
	// Frames is 1 for stills. For animations it is the number found (GIF, WebP) or declared
	// (APNG, AVIF and HEIC sequences). For animated JXL, whose frames only a decoder can
	// count, it is 1. Pages of a TIFF and images of a HEIC collection do not count.
	Frames   int
	Animated bool // true also for an animation of one frame, if the file declares it as one
	// Channels is the number of channels per coded pixel, including alpha: 1-5.
	Channels int
	BitDepth int // bits per channel: 1-32
	Alpha    bool
	// Premultiplied means that colours are multiplied by alpha: in some AVIFs, HEICs and TIFFs.
	Premultiplied bool
	CMYK          bool
	Progressive   bool // a progressive JPEG, an interlaced PNG or GIF: decoded in several passes
	Profile       bool // an ICC profile is embedded
	// Colour describes the colours of a file without a profile.
	Colour Colour
}

// Upright returns width and height after applying Orientation.
func (h Header) Upright() (width, height int) {
	if h.Orientation >= 5 {
		return h.Height, h.Width
	}
	return h.Width, h.Height
}

// widen raises the largest frame to at least width by height.
func (h *Header) widen(width, height int) {
	h.LargestWidth = max(h.LargestWidth, width)
	h.LargestHeight = max(h.LargestHeight, height)
}

// KindOf detects the kind of an original by its first bytes, or returns NoKind. 16 bytes are
// enough for all kinds except AVIF and HEIC, whose list of brands may be longer.
func KindOf(b []byte) Kind {
	switch {
	case bytes.HasPrefix(b, []byte("\xff\xd8\xff")):
		return KindJPEG
	case bytes.HasPrefix(b, []byte(pngMagic)):
		return KindPNG
	case bytes.HasPrefix(b, []byte("GIF87a")), bytes.HasPrefix(b, []byte("GIF89a")):
		return KindGIF
	case len(b) >= 12 && string(b[:4]) == "RIFF" && string(b[8:12]) == "WEBP":
		return KindWebP
	case bytes.HasPrefix(b, []byte("II*\x00")), bytes.HasPrefix(b, []byte("MM\x00*")):
		return KindTIFF
	case bytes.HasPrefix(b, []byte("\xff\x0a")), bytes.HasPrefix(b, []byte(jxlMagic)):
		return KindJXL
	case len(b) >= 12 && string(b[4:8]) == "ftyp":
		return kindOfBrands(b)
	}
	return NoKind
}

// ReadHeader parses the header of a complete original. It decodes no pixels, trusts no length
// in b, and takes time and memory bounded by len(b).
//
// The error wraps ErrUnsupported if b is not of a known Kind or is of a variety that no decoder
// reads, and ErrCorrupt if the header contradicts itself or is truncated. [CheckComplete] checks
// that the rest of the file is complete.
func ReadHeader(b []byte) (Header, error) {
	kind := KindOf(b)
	h := Header{Kind: kind, Orientation: 1, Frames: 1}
	var err error
	switch kind {
	case KindJPEG:
		err = h.readJPEG(b)
	case KindPNG:
		err = h.readPNG(b)
	case KindWebP:
		err = h.readWebP(b)
	case KindGIF:
		err = h.readGIF(b)
	case KindAVIF, KindHEIC:
		err = h.readBMFF(b)
	case KindTIFF:
		err = h.readTIFF(b)
	case KindJXL:
		err = h.readJXL(b)
	default:
		if len(b) < 12 {
			return Header{}, &OriginalError{ErrCorrupt, fmt.Sprintf("it has only %d bytes", len(b))}
		}
		return Header{}, &OriginalError{ErrUnsupported, refusedKind(b)}
	}
	if err != nil {
		return Header{}, err
	}
	if h.Width < 1 || h.Height < 1 {
		return Header{}, corrupt(h.Kind, "it is %dx%d pixels", h.Width, h.Height)
	}
	h.widen(h.Width, h.Height)
	return h, nil
}

// CheckComplete checks that no pixels of b, whose header is h, are missing by its own structure: a
// PNG up to IEND, a GIF up to its trailer, a JPEG up to EOI, WebP, AVIF, HEIC and TIFF up to
// the last part that they refer to. Data after that (the video of a motion photo) is ignored. A
// missing end mark is no error: [Repair] adds it. Nothing is decoded, except to find out whether
// a PNG or GIF without an end mark has all pixels, so a complete file can still be corrupt.
// Only a decoder can find the end of a bare JXL codestream, or of the last scan of a JPEG
// without EOI.
//
// The error wraps ErrCorrupt, or ErrTooLarge for a JPEG with more than maxScans scans.
func CheckComplete(b []byte, h Header) error {
	switch h.Kind {
	case KindJPEG:
		return completeJPEG(b)
	case KindPNG:
		return completePNG(b)
	case KindWebP:
		return completeWebP(b)
	case KindGIF:
		return completeGIF(b)
	case KindAVIF, KindHEIC:
		return completeBMFF(h.Kind, b)
	case KindTIFF:
		return completeTIFF(b)
	case KindJXL:
		return completeJXL(b)
	}
	return fmt.Errorf("%w: cannot check whether it is complete", ErrUnsupported)
}

// refusedKind names kinds that may be expected to work, but are not decoded.
func refusedKind(b []byte) string {
	for _, k := range [...]struct{ magic, name string }{
		{"BM", "BMP"},
		{"8BPS", "Photoshop"},
		{"%PDF", "PDF"},
		{"\x1f\x8b", "gzip (svgz)"},
		{"<?xml", "XML (SVG)"},
		{"<svg", "SVG"},
		{"\x00\x00\x01\x00", "icon"},
		{"II+\x00", "BigTIFF"},
		{"MM\x00+", "BigTIFF"},
		{"\x00\x00\x00\x0cjP  ", "JPEG 2000"},
		{"\xff\x4f\xff\x51", "JPEG 2000"},
		{"<!", "HTML"},
		{"<html", "HTML"},
		{"\x1aE\xdf\xa3", "Matroska"},
		{"push graphic-context", "MVG"},
	} {
		if bytes.HasPrefix(b, []byte(k.magic)) {
			return k.name
		}
	}
	if string(b[4:8]) == "ftyp" {
		return "video or another ISO media file"
	}
	return "the first bytes match no known format"
}

// corrupt returns an error that wraps ErrCorrupt.
func corrupt(kind Kind, format string, args ...any) error {
	return &OriginalError{ErrCorrupt, kind.String() + ": " + fmt.Sprintf(format, args...)}
}

// unsupported returns an error that wraps ErrUnsupported.
func unsupported(kind Kind, format string, args ...any) error {
	return &OriginalError{ErrUnsupported, kind.String() + ": " + fmt.Sprintf(format, args...)}
}

// be16 to le32 decode integers of 2, 3 or 4 bytes, big-endian and little-endian. The caller has
// checked the length. An int has 64 bits on all supported platforms, so sums cannot overflow.
func be16(b []byte) int { return int(binary.BigEndian.Uint16(b)) }
func be32(b []byte) int { return int(binary.BigEndian.Uint32(b)) }
func le16(b []byte) int { return int(binary.LittleEndian.Uint16(b)) }
func le24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }
func le32(b []byte) int { return int(binary.LittleEndian.Uint32(b)) }
