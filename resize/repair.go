package resize

// Repaired is an original in the form that decoders read as its format's standard says.
type Repaired struct {
	Bytes []byte // the original itself, or a copy
	// First is Bytes, or a copy of its first frame where decoding that takes long in the whole file.
	First []byte
	// Skip is the number of frames at the beginning that Repair added. They are not in the Header.
	Skip int
}

// Repair returns the complete original b, whose header is h, for decoding. It adds end marks that
// are missing, leaves out parts that no pixel needs but that decoders stumble over, and rewrites
// what the decoders of Debian 12 (libnsgif of libvips 8.14, libheif 1.15, libpng 1.6, libtiff 4.5)
// read differently from [ReadHeader]. It never adds a pixel to the picture.
// AVIF and HEIC lose their rotation, mirroring and crop: the caller applies those of the Header.
//
// [CheckComplete] must have returned nil for b.
func Repair(b []byte, h Header) Repaired {
	switch h.Kind {
	case KindJPEG:
		b = repairJPEG(b, h)
	case KindPNG:
		b = repairPNG(b)
	case KindWebP:
		b = repairWebP(b, h)
	case KindGIF:
		r := repairGIF(b, h)
		r.First = r.Bytes
		return r
	case KindTIFF:
		b = repairTIFF(b)
	case KindAVIF, KindHEIC:
		b = repairHEIF(b, h)
	case KindJXL:
		b = repairJXL(b)
	}
	r := Repaired{Bytes: b, First: b}
	if h.Kind == KindWebP && h.Animated {
		r.First = firstWebPFrame(b)
	}
	return r
}
