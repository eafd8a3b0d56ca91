package disktier

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/novasocial/imagetier/imagecache"
)

// A segment is a file of, in this order:
//
//	header   64 bytes: magic, version, CRC of the two; marker, number, CRC of all; zeros
//	frames   each begins at a multiple of 32 bytes: 40 bytes of frame header, then a
//	         record (imagecache.AppendRecord), zeros up to the next multiple
//	footer   only once sealed: one more frame, whose bytes are a slot per record
//	trailer  32 bytes: marker, where the footer begins, count of slots, CRC, magic
//
// Everything is little-endian; every CRC is CRC32C (Castagnoli, RFC 3720 B.4).
//
// The marker is eight random bytes, different for each segment, at the start of every frame.
// A scan uses it to find the next frame behind damage. A frame hidden in the bytes of an
// uploaded picture cannot have it, nor can one that the file system misplaced from another
// segment.
const (
	formatVersion = 1

	unit         = 32 // of offsets and lengths, in bytes
	headerBytes  = 64
	frameBytes   = 40
	slotBytes    = 24
	trailerBytes = 32

	maxSegmentBytes = 1 << 24 * unit       // offsets in the index have 24 bits: 512 MiB
	maxFrameBytes   = (1<<23 - 1) * unit   // lengths have 23
	maxRecordBytes  = maxFrameBytes - unit // so that a record fits with its frame header and padding
)

var (
	segmentMagic = []byte("imgtseg\n")
	trailerMagic = []byte("imgtend\n")
	castagnoli   = crc32.MakeTable(crc32.Castagnoli)
)

var (
	errUnknownFormat = errors.New("unknown format")
	errDamaged       = errors.New("damaged")
)

type marker [8]byte

// name identifies a key in the index, in frames and in footers: hashes of the key and of its
// original. Two keys may have the same name; every read compares the whole key in the record.
type name struct{ key, original uint64 }

func nameOf(key imagecache.Key) name {
	return name{mix(key.Hash()), hashOf(key.Original())}
}

func hashOf(of imagecache.Original) uint64 { return mix(of.Hash()) }

// mix spreads a hash over all of its bits (MurmurHash3's finalizer, Appleby 2011). FNV-1a
// hashes of strings that differ only in their last bytes are close together.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// roundUp returns the smallest multiple of to that is at least n.
func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }

// frame is a frame header.
type frame struct {
	name
	size   int64  // bytes of the record
	sum    uint32 // CRC of the record
	footer bool   // the record is the slots of a footer
}

// bytes returns the length of the whole frame.
func (f frame) bytes() int64 { return roundUp(frameBytes+f.size, unit) }

// put writes the frame header to the first frameBytes of b:
//
//	8  marker
//	4  CRC of all the others
//	4  CRC of the record
//	4  length of the record
//	4  1 for a footer, else 0
//	16 name
func (f frame) put(b []byte, m marker) {
	copy(b, m[:])
	binary.LittleEndian.PutUint32(b[12:], f.sum)
	binary.LittleEndian.PutUint32(b[16:], uint32(f.size))
	binary.LittleEndian.PutUint32(b[20:], 0)
	if f.footer {
		b[20] = 1
	}
	binary.LittleEndian.PutUint64(b[24:], f.key)
	binary.LittleEndian.PutUint64(b[32:], f.original)
	binary.LittleEndian.PutUint32(b[8:], frameSum(b))
}

func frameSum(b []byte) uint32 {
	return crc32.Update(checksum(b[:8]), castagnoli, b[12:frameBytes])
}

// parseFrame parses a frame header of a segment with marker m.
func parseFrame(b []byte, m marker) (frame, bool) {
	if len(b) < frameBytes || !bytes.Equal(b[:8], m[:]) || binary.LittleEndian.Uint32(b[8:]) != frameSum(b) {
		return frame{}, false
	}
	f := frame{
		name:   name{binary.LittleEndian.Uint64(b[24:]), binary.LittleEndian.Uint64(b[32:])},
		size:   int64(binary.LittleEndian.Uint32(b[16:])),
		sum:    binary.LittleEndian.Uint32(b[12:]),
		footer: b[20] == 1,
	}
	return f, f.bytes() <= maxFrameBytes
}

// appendHeader appends the header of segment number seq.
func appendHeader(b []byte, m marker, seq uint64) []byte {
	start := len(b)
	b = append(b, segmentMagic...)
	b = binary.LittleEndian.AppendUint32(b, formatVersion)
	b = binary.LittleEndian.AppendUint32(b, checksum(b[start:]))
	b = append(b, m[:]...)
	b = binary.LittleEndian.AppendUint64(b, seq)
	b = binary.LittleEndian.AppendUint32(b, checksum(b[start:]))
	return append(b, make([]byte, headerBytes-(len(b)-start))...)
}

// parseHeader returns the marker. The error is errUnknownFormat if the header is valid but of
// another version, or of another segment than the file's name; else errDamaged.
func parseHeader(b []byte, seq uint64) (marker, error) {
	if len(b) < headerBytes || !bytes.Equal(b[:8], segmentMagic) ||
		binary.LittleEndian.Uint32(b[12:]) != checksum(b[:12]) {
		return marker{}, fmt.Errorf("segment header: %w", errDamaged)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != formatVersion {
		return marker{}, fmt.Errorf("%w (version %d)", errUnknownFormat, v)
	}
	if binary.LittleEndian.Uint32(b[32:]) != checksum(b[:32]) {
		return marker{}, fmt.Errorf("segment header: %w", errDamaged)
	}
	if n := binary.LittleEndian.Uint64(b[24:]); n != seq {
		return marker{}, fmt.Errorf("%w (segment %d under the name of %d)", errUnknownFormat, n, seq)
	}
	return marker(b[16:24]), nil
}

// footSlot is the index entry of a record in a footer.
type footSlot struct {
	name
	offset, bytes int64 // of the frame, multiples of unit
}

// footerBytes returns the length of footer and trailer of a segment with n records.
func footerBytes(n int) int64 {
	return roundUp(frameBytes+int64(n)*slotBytes, unit) + trailerBytes
}

// appendFooter appends the footer and trailer of a segment whose frames end at offset.
func appendFooter(b []byte, m marker, slots []footSlot, offset int64) []byte {
	start := len(b)
	b = append(b, make([]byte, frameBytes)...)
	for _, s := range slots {
		b = binary.LittleEndian.AppendUint64(b, s.key)
		b = binary.LittleEndian.AppendUint64(b, s.original)
		b = binary.LittleEndian.AppendUint32(b, uint32(s.offset/unit))
		b = binary.LittleEndian.AppendUint32(b, uint32(s.bytes/unit))
	}
	listed := b[start+frameBytes:]
	frame{size: int64(len(listed)), sum: checksum(listed), footer: true}.put(b[start:], m)
	b = append(b, make([]byte, roundUp(int64(len(b)-start), unit)-int64(len(b)-start))...)

	trailer := len(b)
	b = append(b, m[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(offset))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(slots)))
	b = binary.LittleEndian.AppendUint32(b, checksum(b[trailer:]))
	return append(b, trailerMagic...)
}

// trailer is the end of a sealed segment.
type trailer struct {
	marker marker
	footer int64 // where it begins
	count  int
}

func parseTrailer(b []byte, size int64) (trailer, bool) {
	if len(b) != trailerBytes || !bytes.Equal(b[24:], trailerMagic) ||
		binary.LittleEndian.Uint32(b[20:]) != checksum(b[:20]) {
		return trailer{}, false
	}
	t := trailer{
		marker: marker(b[:8]),
		footer: int64(binary.LittleEndian.Uint64(b[8:])),
		count:  int(binary.LittleEndian.Uint32(b[16:])),
	}
	return t, t.footer >= headerBytes && t.footer%unit == 0 && t.footer+footerBytes(t.count) == size
}

// parseFooter parses b, the bytes from the footer's frame header to the trailer.
func parseFooter(b []byte, t trailer) ([]footSlot, bool) {
	f, ok := parseFrame(b, t.marker)
	if !ok || !f.footer || f.size != int64(t.count)*slotBytes || frameBytes+f.size > int64(len(b)) {
		return nil, false
	}
	listed := b[frameBytes : frameBytes+f.size]
	if checksum(listed) != f.sum {
		return nil, false
	}
	slots := make([]footSlot, t.count)
	for i := range slots {
		s := listed[i*slotBytes:]
		slots[i] = footSlot{
			name:   name{binary.LittleEndian.Uint64(s), binary.LittleEndian.Uint64(s[8:])},
			offset: int64(binary.LittleEndian.Uint32(s[16:])) * unit,
			bytes:  int64(binary.LittleEndian.Uint32(s[20:])) * unit,
		}
	}
	return slots, true
}
