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
	jpegDNL = 0xdc
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
			if h.Height == 0 {
				h.Height = jpegLines(b, at)
			}
			if h.Height == 0 {
				return corrupt(KindJPEG, "its frame header has no height")
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
	return nil
}

// jpegLines returns the height that DNL gives after the first scan, which begins at b[at] (B.2.5), or 0. Encoders
// that do not know the height in advance write 0 into the frame header.
func jpegLines(b []byte, at int) int {
	for {
		marker, body, next, err := jpegSegment(b, at)
		switch {
		case err == nil && marker >= 0xd0 && marker <= 0xd7: // a restart
			at = next
		case err == nil && marker == jpegDNL && len(body) == 2:
			return be16(body)
		default:
			return 0
		}
	}
}

// completeJPEG walks through the scans to EOI, or to the end of the last one if EOI is missing.
func completeJPEG(b []byte) error {
	_, _, err := jpegEnd(b)
	return err
}

// jpegEnd returns where the image of a JPEG ends, without EOI, and whether EOI follows. Without
// EOI every component must have been sent in full, but only a decoder can find out whether the
// last scan is truncated.
func jpegEnd(b []byte) (end int, eoi bool, err error) {
	var sent jpegScans
	scans := 0
	for at := 2; ; {
		marker, body, next, err := jpegSegment(b, at)
		if err != nil || marker == jpegSOI && sent.all() {
			// The end of the file, or appended data.
			if !sent.all() {
				return 0, false, err
			}
			return jpegTail(b, at), false, nil
		}
		at = next
		switch {
		case marker == jpegEOI:
			return next - 2, true, nil
		case marker == jpegSOI, jpegFrame(marker) && scans > 0:
			return 0, false, corrupt(KindJPEG, "an image begins within another")
		case jpegFrame(marker):
			sent.frame(marker, body)
		case marker == jpegSOS:
			if scans++; scans > maxScans {
				return 0, false, tooLarge("a JPEG with more than %d scans", maxScans)
			}
			sent.scan(body)
		}
		// In a scan, 0xff is followed by 0 (a data byte) or by a restart marker, which
		// jpegSegment returns like any other marker.
	}
}

// jpegTail returns the end of the scan that ends at or after b[at]: the next marker that cannot be
// in a scan, or the end of b. Zeros before it are padding, except one: the last byte of a
// scan can be zero only if it has no padding bits, which are ones.
func jpegTail(b []byte, at int) int {
	for at < len(b) && (b[at] != 0xff || at+1 < len(b) && (b[at+1] == 0 || b[at+1] >= 0xd0 && b[at+1] <= 0xd7)) {
		at++
	}
	for at >= 2 && b[at-1] == 0 && b[at-2] == 0 {
		at--
	}
	return at
}

// jpegScans records which coefficients of which components have been sent with full precision.
type jpegScans struct {
	progressive bool
	components  []byte // the IDs
	sent        [4][64]bool
}

// frame reads SOFn, which readJPEGFrame has checked.
func (s *jpegScans) frame(marker byte, body []byte) {
	s.progressive = marker == 0xc2 || marker == 0xca
	for i := 0; 6+3*i < len(body) && i < len(s.sent); i++ {
		s.components = append(s.components, body[6+3*i])
	}
}

// scan reads SOS (T.81, B.2.3).
func (s *jpegScans) scan(body []byte) {
	if len(body) < 1 || len(body) < 4+2*int(body[0]) {
		return
	}
	n := int(body[0])
	first, last, low := body[1+2*n], body[2+2*n], body[3+2*n]&15
	if !s.progressive {
		first, last, low = 0, 63, 0
	}
	for i := range n {
		component := bytes.IndexByte(s.components, body[1+2*i])
		if component < 0 || low != 0 {
			continue
		}
		for k := first; k <= min(last, 63); k++ {
			s.sent[component][k] = true
		}
	}
}

// all reports whether the image is complete.
func (s *jpegScans) all() bool {
	for i := range s.components {
		if s.sent[i] != allCoefficients {
			return false
		}
	}
	return len(s.components) > 0
}

var allCoefficients = func() (all [64]bool) {
	for i := range all {
		all[i] = true
	}
	return all
}()
