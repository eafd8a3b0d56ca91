package resize

import "bytes"

// JPEG: ITU-T T.81, annex B. Segments of a marker and a length, then scans without one.

const (
	jpegSOI = 0xd8
	jpegEOI = 0xd9
	jpegSOS = 0xda
	jpegDHT = 0xc4
	jpegJPG = 0xc8
	jpegDAC = 0xcc
)

// maxScans is the most scans of a JPEG that is decoded; libjpeg's own progression has ten.
// Each scan of a progressive JPEG costs a pass over all of its coefficients and can be some
// ten bytes long (libjpeg-turbo, "Two Issues with the JPEG Standard").
const maxScans = 100

// jpegSegment returns the first segment at or after b[at]: its marker, its body without
// the length (nil for markers that stand alone), and where the next one begins.
func jpegSegment(b []byte, at int) (marker byte, body []byte, next int, err error) {
	for {
		// Encoders leave bytes between segments, and decoders skip them with a warning.
		i := bytes.IndexByte(b[at:], 0xff)
		if i < 0 {
			return 0, nil, 0, corrupt(KindJPEG, "it ends before its picture does")
		}
		for at += i; at < len(b) && b[at] == 0xff; at++ {
		}
		if at == len(b) {
			return 0, nil, 0, corrupt(KindJPEG, "it ends before its picture does")
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
		return 0, nil, 0, corrupt(KindJPEG, "it ends before its picture does")
	}
	length := be16(b[at:])
	if length < 2 {
		return 0, nil, 0, corrupt(KindJPEG, "a segment has the length %d", length)
	}
	if length > len(b)-at {
		return 0, nil, 0, corrupt(KindJPEG, "it ends within a segment")
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
			return corrupt(KindJPEG, "it ends or begins anew before its picture")
		case marker == 0xe1 && !exif && bytes.HasPrefix(body, []byte("Exif\x00")) && len(body) > 6:
			exif = true // the first counts, as in libvips
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
		return unsupported(KindJPEG, "%d bits a sample", h.BitDepth)
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
		// B.2.5 allows it, with the number of lines after the first scan; no decoder does.
		return corrupt(KindJPEG, "its frame header leaves the height out")
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
			return corrupt(KindJPEG, "a picture begins within another")
		case marker == jpegSOS:
			if scans++; scans > maxScans {
				return tooLarge("a JPEG of more than %d scans", maxScans)
			}
		}
		// In a scan, 0xff is followed by 0 (a data byte), or by one of the restart
		// markers, which jpegSegment returns like any other.
	}
}
