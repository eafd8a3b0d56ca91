package workers

import "github.com/novasocial/imagetier/resize"

// family is a group of kinds of originals. A child decodes only originals of one family, so that
// an original which takes over a decoder with a bad record cannot change what is made of others.
type family int

const (
	common family = iota // JPEG, PNG, WebP, GIF
	rare                 // HEIC, AVIF, JPEG XL, TIFF: most of the known attacks on decoders
	numFamilies
)

// familyOf returns the family of an original. An original of no known kind is common: it is
// refused before it is decoded.
func familyOf(original []byte) family {
	switch resize.KindOf(original) {
	case resize.KindHEIC, resize.KindAVIF, resize.KindJXL, resize.KindTIFF:
		return rare
	}
	return common
}
