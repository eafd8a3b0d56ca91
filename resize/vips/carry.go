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

// What a variant holds beside its picture: the profile of p3, the texts of credit, each in
// the place that its format has for it, and nothing else. Encoders are asked for bare files,
// and these are put in here, so that it is the same in every version of every library, with
// two exceptions: libvips makes the room for EXIF in an AVIF or HEIC, and tells JPEG XL's
// encoder the profile, which says in its own words that the picture is Display P3. GIF has
// no place for a profile (wide), and for texts a comment.

// carried is what goes into one file.
type carried struct {
	profile []byte
	credit  resize.Credit
}

func (c carried) empty() bool { return len(c.profile) == 0 && c.credit == (resize.Credit{}) }

// carries returns what s asks for beside a picture that has colours, or is grey. Grey is
// the same in sRGB and Display P3, and a profile of RGB has no place in a file of grey.
func (j *job) carries(s resize.Spec, colours bool) (c carried) {
	if wide(s) && colours {
		c.profile = displayP3
	}
	if s.Credit {
		c.credit = j.credit()
	}
	return c
}

// into puts c into file, which was encoded as f. file may be written over.
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
		file, err := onlyEXIF(file, exif)
		if err != nil {
			return nil, err
		}
		return intoHEIF(file, c.profile)
	case resize.JXL:
		return intoJXL(file, exif)
	default:
		return nil, fmt.Errorf("%w: nothing here is put into %s", resize.ErrSpec, f)
	}
}

const exifPrefix = "Exif\x00\x00"

// intoJPEG puts segments behind SOI and JFIF's APP0, which has to be the first.
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

// intoPNG puts chunks behind IHDR: a profile has to come before the palette.
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

// intoWebP makes an extended file of a bare one.
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
		vp8x = append(vp8x, 0, 0, 0, 0, byte(h.Width-1), byte((h.Width-1)>>8), 0, byte(h.Height-1), byte((h.Height-1)>>8), 0)
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

// intoGIF puts a comment before the trailer.
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

// intoJXL puts a bare codestream into a container.
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

// onlyEXIF writes exif over what libvips has made of it in an AVIF or HEIC: it adds
// an orientation, a resolution, a version and more. The block stays as long as it was, so
// that nothing moves; zeros follow.
func onlyEXIF(file, exif []byte) ([]byte, error) {
	if len(exif) == 0 {
		return file, nil
	}
	// The block is the last thing in the file, and our texts have no such bytes in them.
	mark := "\x00\x00\x00\x06" + exifPrefix
	at := bytes.LastIndex(file, []byte(mark))
	if at < 0 || len(file)-at-len(mark) < len(exif) {
		return nil, errLayout
	}
	room := file[at+len(mark):]
	clear(room[copy(room, exif):])
	return file, nil
}

// carry gives p what the saver of AVIF, HEIC or JPEG XL is to write.
func (b *bench) carry(p picture, c carried) (picture, error) {
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
