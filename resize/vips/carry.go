package vips

// #include "vips.h"
import "C"

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"

	"github.com/novasocial/imagetier/resize"
)

// Metadata of a variant: the profile of p3 and the texts of credit, each where its format stores
// them, and nothing else. Encoders produce files without metadata and the functions here insert it,
// so that the result is the same with every version of every library. There are two exceptions:
// libvips reserves the space for EXIF in an AVIF or HEIC, and passes the profile to JPEG XL's
// encoder, which stores Display P3 in its own form. GIF cannot store a profile (see wide), and
// stores texts in a comment.

// carried is the metadata of one file.
type carried struct {
	profile []byte
	credit  resize.Credit
}

func (c carried) empty() bool { return len(c.profile) == 0 && c.credit == (resize.Credit{}) }

// carries returns the metadata of s. Greyscale is the same in sRGB and Display P3, and an RGB
// profile is invalid in a greyscale file, so without colours there is no profile.
func (j *job) carries(s resize.Spec, colours bool) (c carried) {
	if wide(s) && colours {
		c.profile = displayP3
	}
	if s.Credit {
		c.credit = j.credit()
	}
	return c
}

// into inserts c into file, which was encoded as f. It may overwrite file.
func (c carried) into(file []byte, f resize.Format) ([]byte, error) {
	if c.empty() {
		return file, nil
	}
	switch exif := c.credit.EXIF(); f {
	case resize.JPEG:
		return intoJPEG(file, c.profile, exif)
	case resize.PNG:
		return intoPNG(file, c.profile, exif)
	case resize.WebP:
		return intoWebP(file, c.profile, exif)
	case resize.GIF:
		return c.intoGIF(file)
	case resize.AVIF, resize.HEIC:
		file, err := overwriteEXIF(file, exif)
		if err != nil {
			return nil, err
		}
		return intoHEIF(file, c.profile)
	case resize.JXL:
		return intoJXL(file, exif)
	default:
		return nil, fmt.Errorf("%w: cannot add metadata to %s", resize.ErrSpec, f)
	}
}

const exifPrefix = "Exif\x00\x00"

// intoJPEG inserts segments after SOI and JFIF's APP0, which must be the first segment.
func intoJPEG(file, profile, exif []byte) ([]byte, error) {
	const soi, most = 2, 1<<16 - 3
	at := soi
	if len(file) < soi+4 || file[0] != 0xff || file[1] != 0xd8 {
		return nil, errLayout
	}
	if file[2] == 0xff && file[3] == 0xe0 {
		at += 2 + int(binary.BigEndian.Uint16(file[4:]))
	}
	if len(file) < at || len(profile) > most-14 || len(exif) > most-len(exifPrefix) {
		return nil, errLayout
	}
	out := append([]byte(nil), file[:at]...)
	segment := func(marker byte, head string, body []byte) {
		if len(body) > 0 {
			out = binary.BigEndian.AppendUint16(append(out, 0xff, marker), uint16(2+len(head)+len(body)))
			out = append(append(out, head...), body...)
		}
	}
	segment(0xe1, exifPrefix, exif)
	segment(0xe2, "ICC_PROFILE\x00\x01\x01", profile)
	return append(out, file[at:]...), nil
}

// intoPNG inserts chunks after IHDR: a profile must precede the palette.
func intoPNG(file, profile, exif []byte) ([]byte, error) {
	const header = 8 + 12 + 13
	if len(file) < header || string(file[12:16]) != "IHDR" {
		return nil, errLayout
	}
	out := append([]byte(nil), file[:header]...)
	if len(profile) > 0 {
		var packed bytes.Buffer
		packed.WriteString("Display P3\x00\x00")
		w := zlib.NewWriter(&packed)
		if _, err := w.Write(profile); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		out = appendPNGChunk(out, "iCCP", packed.Bytes())
	}
	if len(exif) > 0 {
		out = appendPNGChunk(out, "eXIf", exif)
	}
	return append(out, file[header:]...), nil
}

// intoWebP converts a simple file to an extended one.
func intoWebP(file, profile, exif []byte) ([]byte, error) {
	const header, profileFlag, alphaFlag, exifFlag = 12, 0x20, 0x10, 0x08
	h, err := resize.ReadHeader(file)
	if err != nil || h.Kind != resize.KindWebP || len(file) < header+18 {
		return nil, errLayout
	}
	vp8x, rest := []byte(nil), file[header:]
	if string(rest[:4]) == "VP8X" {
		vp8x, rest = append(vp8x, rest[8:18]...), rest[18:]
	} else {
		vp8x = append(vp8x, 0, 0, 0, 0, byte(h.Width-1), byte((h.Width-1)>>8), 0,
			byte(h.Height-1), byte((h.Height-1)>>8), 0)
		if h.Alpha {
			vp8x[0] = alphaFlag
		}
	}
	if len(profile) > 0 {
		vp8x[0] |= profileFlag
	}
	if len(exif) > 0 {
		vp8x[0] |= exifFlag
	}
	out := append([]byte(nil), file[:header]...)
	chunk := func(name string, body []byte) {
		if len(body) > 0 {
			out = binary.LittleEndian.AppendUint32(append(out, name...), uint32(len(body)))
			out = append(append(out, body...), make([]byte, len(body)&1)...)
		}
	}
	chunk("VP8X", vp8x)
	chunk("ICCP", profile)
	out = append(out, rest...)
	chunk("EXIF", exif)
	binary.LittleEndian.PutUint32(out[4:], uint32(len(out)-8))
	return out, nil
}

// intoGIF inserts a comment before the trailer.
func (c carried) intoGIF(file []byte) ([]byte, error) {
	const trailer, block = ';', 255
	end := len(file) - 1
	if end < 0 || file[end] != trailer {
		return nil, errLayout
	}
	var lines []string
	if c.credit.Author != "" {
		lines = append(lines, "Author: "+c.credit.Author)
	}
	if c.credit.Copyright != "" {
		lines = append(lines, "Copyright: "+c.credit.Copyright)
	}
	if len(lines) == 0 {
		return file, nil
	}
	out := append(file[:end:end], '!', 0xfe)
	for rest := strings.Join(lines, "\n"); rest != ""; {
		n := min(len(rest), block)
		out = append(append(out, byte(n)), rest[:n]...)
		rest = rest[n:]
	}
	return append(out, 0, trailer), nil
}

// intoJXL wraps a bare codestream in a container.
func intoJXL(file, exif []byte) ([]byte, error) {
	if len(exif) == 0 {
		return file, nil
	}
	if !bytes.HasPrefix(file, []byte("\xff\x0a")) {
		return nil, errLayout
	}
	var out []byte
	box := func(name string, parts ...[]byte) {
		at := len(out)
		out = append(append(out, 0, 0, 0, 0), name...)
		for _, p := range parts {
			out = append(out, p...)
		}
		binary.BigEndian.PutUint32(out[at:], uint32(len(out)-at))
	}
	box("JXL ", []byte("\r\n\x87\n"))
	box("ftyp", []byte("jxl \x00\x00\x00\x00jxl "))
	box("Exif", make([]byte, 4), exif)
	box("jxlc", file)
	return out, nil
}

// overwriteEXIF replaces the EXIF block that libvips wrote into an AVIF or HEIC, to which it adds
// an orientation, a resolution and more. The block keeps its length, so no offsets change; the
// rest is filled with zeros.
func overwriteEXIF(file, exif []byte) ([]byte, error) {
	if len(exif) == 0 {
		return file, nil
	}
	// The block is last in the file, and credit texts cannot contain these bytes.
	mark := "\x00\x00\x00\x06" + exifPrefix
	at := bytes.LastIndex(file, []byte(mark))
	if at < 0 || len(file)-at-len(mark) < len(exif) {
		return nil, errLayout
	}
	room := file[at+len(mark):]
	clear(room[copy(room, exif):])
	return file, nil
}

// carry attaches metadata to p for the savers of AVIF, HEIC and JPEG XL.
func (b *arena) carry(p picture, c carried) (picture, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	var with C.struct_tier_carried
	if len(c.profile) > 0 {
		pin.Pin(&c.profile[0])
		with.profile, with.profile_len = address(c.profile), C.size_t(len(c.profile))
	}
	if exif := c.credit.EXIF(); len(exif) > 0 {
		exif = append([]byte(exifPrefix), exif...)
		pin.Pin(&exif[0])
		with.exif, with.exif_len = address(exif), C.size_t(len(exif))
	}
	return b.step(func(out **C.VipsImage) C.int { return C.tier_carry(p.image, with, out) })
}
