package resize

import "bytes"

// JPEG: ITU-T T.81, annex B. Segments of marker and length, and scans without a length.

const (
	jpegSOI = 0xd8
	jpegEOI = 0xd9
	jpegSOS = 0xda
	jpegDHT = 0xc4
	jpegJPG = 0xc8
	jpegDAC = 0xcc
)

// maxScans is the largest number of scans of a JPEG that is decoded; libjpeg's default
// progression has ten. Each scan of a progressive JPEG costs a pass over all coefficients and
// can be as short as ten bytes (libjpeg-turbo, "Two Issues with the JPEG Standard").
const maxScans = 100

// jpegSegment returns the first segment at or after b[at]: its marker, its body without the
// length (nil for stand-alone markers), and the offset after it.
func jpegSegment(b []byte, at int) (marker byte, body []byte, next int, err error) {
	for {
		// Some encoders leave bytes between segments; decoders skip them with a warning.
		i := bytes.IndexByte(b[at:], 0xff)
		if i < 0 {
			return 0, nil, 0, corrupt(KindJPEG, "truncated")
		}
		for at += i; at < len(b) && b[at] == 0xff; at++ {
		}
		if at == len(b) {
			return 0, nil, 0, corrupt(KindJPEG, "truncated")
		}
		marker = b[at]
		at++
		if marker != 0 {
			break
		}
	}
	if marker == 0x01 || marker >= 0xd0 && marker <= jpegEOI {
		return marker, nil, at, nil
	}
	if len(b)-at < 2 {
		return 0, nil, 0, corrupt(KindJPEG, "truncated")
	}
	length := be16(b[at:])
	if length < 2 {
		return 0, nil, 0, corrupt(KindJPEG, "a segment has the length %d", length)
	}
	if length > len(b)-at {
		return 0, nil, 0, corrupt(KindJPEG, "truncated within a segment")
	}
	return marker, b[at+2 : at+length], at + length, nil
}

// jpegFrame reports whether marker begins a frame header (SOF).
func jpegFrame(marker byte) bool {
	return marker >= 0xc0 && marker <= 0xcf && marker != jpegDHT && marker != jpegJPG && marker != jpegDAC
}

func (h *Header) readJPEG(b []byte) error {
	exif := false
	for at := 2; ; {
		marker, body, next, err := jpegSegment(b, at)
		if err != nil {
			return err
		}
		at = next
		switch {
		case jpegFrame(marker):
			if h.Channels != 0 {
				return corrupt(KindJPEG, "it has two frame headers")
			}
			if err := h.readJPEGFrame(marker, body); err != nil {
				return err
			}
		case marker == jpegSOS:
			if h.Channels == 0 {
				return corrupt(KindJPEG, "a scan comes before the frame header")
			}
			return nil
		case marker == jpegSOI, marker == jpegEOI:
			return corrupt(KindJPEG, "it has no image before its end")
		case marker == 0xe1 && !exif && bytes.HasPrefix(body, []byte("Exif\x00")) && len(body) > 6:
			exif = true // the first one counts, as in libvips
			h.Orientation = exifOrientation(body[6:])
		case marker == 0xe2 && bytes.HasPrefix(body, []byte("ICC_PROFILE\x00")):
			h.Profile = true
		}
	}
}

// readJPEGFrame reads SOFn (T.81, B.2.2).
func (h *Header) readJPEGFrame(marker byte, body []byte) error {
	if len(body) < 6 || len(body) != 6+3*int(body[5]) {
		return corrupt(KindJPEG, "its frame header has the wrong length")
	}
	h.BitDepth, h.Height, h.Width, h.Channels = int(body[0]), be16(body[1:]), be16(body[3:]), int(body[5])
	switch marker {
	case 0xc0, 0xc1, 0xc9:
	case 0xc2, 0xca:
		h.Progressive = true
	default:
		return unsupported(KindJPEG, "process %x (lossless or hierarchical)", marker)
	}
	if h.BitDepth != 8 {
		return unsupported(KindJPEG, "%d bits per sample", h.BitDepth)
	}
	if h.Channels != 1 && h.Channels != 3 && h.Channels != 4 {
		return unsupported(KindJPEG, "%d components", h.Channels)
	}
	for i := range h.Channels {
		sampling := body[6+3*i+1]
		if across, down := sampling>>4, sampling&15; across < 1 || across > 4 || down < 1 || down > 4 {
			return corrupt(KindJPEG, "its sampling is %dx%d", across, down)
		}
	}
	h.CMYK = h.Channels == 4
	if h.Height == 0 {
		// B.2.5 allows 0, with the height after the first scan, but no decoder supports it.
		return corrupt(KindJPEG, "its frame header has no height")
	}
	return nil
}

// completeJPEG walks through the scans to EOI.
func completeJPEG(b []byte) error {
	scans := 0
	for at := 2; ; {
		marker, _, next, err := jpegSegment(b, at)
		if err != nil {
			return err
		}
		at = next
		switch {
		case marker == jpegEOI:
			return nil
		case marker == jpegSOI, jpegFrame(marker) && scans > 0:
			return corrupt(KindJPEG, "an image begins within another")
		case marker == jpegSOS:
			if scans++; scans > maxScans {
				return tooLarge("a JPEG with more than %d scans", maxScans)
			}
		}
		// In a scan, 0xff is followed by 0 (a data byte) or by a restart marker, which
		// jpegSegment returns like any other marker.
	}
}
