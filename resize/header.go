package resize

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Kind is what an original is encoded as, told by its first bytes. Only these are decoded.
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

// Header is what an original's own bytes say of it before anything is decoded: enough to
// refuse what is too large, to answer info, and to guess what a decode will cost.
type Header struct {
	Kind Kind
	// Width and Height are pixels, of the whole canvas where there are frames, as stored:
	// before Orientation is applied. Both are at least 1.
	Width, Height int
	// LargestWidth and LargestHeight bound what a decoder may have to hold for one frame:
	// at least Width and Height, and every frame, tile grid, thumbnail or auxiliary image
	// whose size stands in the header. Limits are checked against these.
	LargestWidth, LargestHeight int
	// Orientation, 1-8 as in EXIF, is what turns the stored pixels upright (1: nothing).
	// Of AVIF, HEIC and JXL it is the container's own, which libheif and libjxl apply
	// themselves while they decode; EXIF is not asked there, as their standards demand.
	Orientation int
	// Frames is 1 for stills, and for animations as many as were found (GIF, WebP) or
	// promised (APNG, AVIF and HEIC sequences). Of an animated JXL, which only a decoder
	// can count, it is 1. Pages of a TIFF and images of a HEIC collection are no frames.
	Frames   int
	Animated bool // also an animation of one frame, where the file says that it is one
	// Channels are those of one coded pixel, alpha included: 1-5.
	Channels    int
	BitDepth    int // of one channel: 1-32
	Alpha       bool
	CMYK        bool
	Progressive bool // a progressive JPEG, an interlaced PNG or GIF: decoded in several passes
	Profile     bool // an ICC profile is embedded
}

// Upright returns width and height after Orientation.
func (h Header) Upright() (width, height int) {
	if h.Orientation >= 5 {
		return h.Height, h.Width
	}
	return h.Width, h.Height
}

// widen makes the largest frame at least that wide and high.
func (h *Header) widen(width, height int) {
	h.LargestWidth = max(h.LargestWidth, width)
	h.LargestHeight = max(h.LargestHeight, height)
}

// KindOf tells the kind of an original by its first bytes (16 are enough for all but AVIF
// and HEIC, whose list of brands may be longer), or NoKind.
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

// ReadHeader reads the header of a whole original. It decodes no pixel, trusts nothing
// that b says of its own lengths, and takes time and memory that len(b) bounds: it only
// hops from one part of the file to the next.
//
// The error wraps ErrUnsupported if b is of none of the Kinds, or of a variety that none
// of our decoders reads, and ErrCorrupt if the header contradicts itself or ends early.
// Whether the rest of the file is there is for CheckComplete to say.
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
			return Header{}, fmt.Errorf("%w: it has %d bytes", ErrCorrupt, len(b))
		}
		return Header{}, fmt.Errorf("%w: %s", ErrUnsupported, refusedKind(b))
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

// CheckComplete reports whether b, whose header h is, ends where its own structure says
// that it ends: a PNG at IEND, a GIF at its trailer, a JPEG at EOI, WebP, AVIF, HEIC and
// TIFF where the last part that they refer to ends. What follows that end (the film of a
// motion photo) does not matter. Nothing is decoded, so a file that is whole in structure
// can still turn out broken; a bare JXL codestream tells its length to a decoder only.
//
// The error wraps ErrCorrupt, or ErrTooLarge for a JPEG of more scans than any encoder
// makes, each of which costs a pass over the whole picture.
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
	return fmt.Errorf("%w: check whether it is complete", ErrUnsupported)
}

// refusedKind names what is most often taken for an image and never decoded.
func refusedKind(b []byte) string {
	for _, k := range [...]struct{ magic, name string }{
		{"BM", "BMP"}, {"8BPS", "Photoshop"}, {"%PDF", "PDF"}, {"\x1f\x8b", "gzip (svgz)"}, {"<?xml", "XML (SVG)"}, {"<svg", "SVG"},
		{"\x00\x00\x01\x00", "icon"}, {"II+\x00", "BigTIFF"}, {"MM\x00+", "BigTIFF"}, {"\x00\x00\x00\x0cjP  ", "JPEG 2000"},
		{"\xff\x4f\xff\x51", "JPEG 2000"}, {"<!", "HTML"}, {"<html", "HTML"}, {"\x1aE\xdf\xa3", "Matroska"}, {"push graphic-context", "MVG"},
	} {
		if bytes.HasPrefix(b, []byte(k.magic)) {
			return k.name
		}
	}
	if string(b[4:8]) == "ftyp" {
		return "film, or another file of boxes"
	}
	return "the first bytes are of no known kind"
}

// corrupt returns an error that wraps ErrCorrupt.
func corrupt(kind Kind, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrCorrupt, kind, fmt.Sprintf(format, args...))
}

// unsupported returns an error that wraps ErrUnsupported.
func unsupported(kind Kind, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrUnsupported, kind, fmt.Sprintf(format, args...))
}

// Numbers of 2, 3, 4 bytes, big-endian and little-endian. The caller has checked the length.
// An int has 64 bits wherever this runs, so the sum of two of them cannot overflow.
func be16(b []byte) int { return int(binary.BigEndian.Uint16(b)) }
func be32(b []byte) int { return int(binary.BigEndian.Uint32(b)) }
func le16(b []byte) int { return int(binary.LittleEndian.Uint16(b)) }
func le24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }
func le32(b []byte) int { return int(binary.LittleEndian.Uint32(b)) }
