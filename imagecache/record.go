package imagecache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// A record is a Key and its Image as bytes: what the tiers store. It is a header, which
// a tier can write and read without the body, and then Body as it is:
//
//	1  version, now 1
//	1  flags
//	4  length of the header, these fourteen bytes included, little-endian
//	8  length of the body, little-endian
//	   path; source and name, each as a piece of the path where it is one;
//	   content type; ETag; Last-Modified in Unix seconds
//	   only with flagLive: Validator and Freshness, in Unix milliseconds
//	   only with flagDate: Freshness.Date in Unix seconds
//
// A string is its length (uvarint) and its bytes, a time a varint. A record has no
// checksum: memory does not need one, and the disk tier has its own.
const (
	recordVersion = 1
	recordPrefix  = 14
)

const (
	flagLive           = 1 << iota // Validator and Freshness follow
	flagMustRevalidate             // only with flagLive
	flagNoStore                    // only with flagLive
	flagDate                       // only with flagLive: Freshness.Date follows
	knownFlags         = flagLive | flagMustRevalidate | flagNoStore | flagDate
)

// contentTypes are stored as their index in this list. Entries are only ever added at its end,
// as records on disk hold the indexes. Index 0 means that the type follows as text.
var contentTypes = [...]string{"", "image/jpeg", "image/png", "image/webp", "image/avif",
	"image/gif", "image/heic", "image/jxl", "application/json"}

// ErrRecord means that bytes are not a valid record.
var ErrRecord = errors.New("not a record of an image")

// AppendRecord appends the record of key and img to dst: its header, then img.Body.
// LastModified and Date are kept to the second, Freshness to the millisecond (rounded down), and
// the location of times is lost. A Key and an Image whose texts are together over 4 GiB
// panic.
func AppendRecord(dst []byte, key Key, img Image) []byte {
	return append(AppendRecordHeader(dst, key, img), img.Body...)
}

// AppendRecordHeader appends the record without the body, for callers that write the two
// with one writev instead of copying the body.
func AppendRecordHeader(dst []byte, key Key, img Image) []byte {
	start := len(dst)
	var flags byte
	live := img.Fresh != Freshness{} || img.Origin != Validator{}
	if live {
		flags |= flagLive
	}
	if img.Fresh.MustRevalidate {
		flags |= flagMustRevalidate
	}
	if img.Fresh.NoStore {
		flags |= flagNoStore
	}
	if !img.Fresh.Date.IsZero() {
		flags |= flagDate
	}
	dst = append(dst, recordVersion, flags, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(len(img.Body)))
	dst = appendText(dst, key.path)
	dst = appendPiece(dst, key.path, key.original.Source)
	dst = appendPiece(dst, key.path, key.original.Name)
	dst = appendContentType(dst, img.ContentType)
	dst = appendText(dst, img.ETag)
	dst = binary.AppendVarint(dst, img.LastModified.Unix())
	if live {
		dst = appendText(dst, img.Origin.ETag)
		dst = binary.AppendVarint(dst, img.Origin.LastModified.Unix())
		dst = binary.AppendVarint(dst, img.Fresh.Generated.UnixMilli())
		dst = binary.AppendVarint(dst, img.Fresh.Until.UnixMilli())
		dst = binary.AppendVarint(dst, img.Fresh.StaleWhileRevalidate.Milliseconds())
		dst = binary.AppendVarint(dst, img.Fresh.StaleIfError.Milliseconds())
	}
	if flags&flagDate != 0 {
		dst = binary.AppendVarint(dst, img.Fresh.Date.Unix())
	}
	size := len(dst) - start
	if size > math.MaxUint32 {
		panic(fmt.Sprintf("imagecache: a record's header of %d bytes", size))
	}
	binary.LittleEndian.PutUint32(dst[start+2:], uint32(size))
	return dst
}

// ParseRecord reads what AppendRecord wrote, all of b. Image.Body aliases b, so b must
// not change as long as the Image is in use; everything else is copied. The error wraps
// ErrRecord: bytes that are not a record, which readers of a disk expect.
func ParseRecord(b []byte) (Key, Image, error) {
	key, img, size, err := ParseRecordHeader(b)
	if err != nil {
		return Key{}, Image{}, err
	}
	if size.Total() != int64(len(b)) {
		return Key{}, Image{}, fmt.Errorf("%w: %d bytes where its header says %d", ErrRecord, len(b), size.Total())
	}
	img.Body = b[size.Header:len(b):len(b)]
	return key, img, nil
}

// RecordLen is how long the two parts of a record are, in bytes.
type RecordLen struct{ Header, Body int64 }

// Total is the length of the record.
func (l RecordLen) Total() int64 { return l.Header + l.Body }

// recordLen reads the lengths from the first bytes of a record, at least recordPrefix of them. They
// are not verified.
func recordLen(b []byte) (RecordLen, error) {
	if len(b) < recordPrefix {
		return RecordLen{}, fmt.Errorf("%w: %d bytes", ErrRecord, len(b))
	}
	if b[0] != recordVersion {
		return RecordLen{}, fmt.Errorf("%w: version %d", ErrRecord, b[0])
	}
	header := binary.LittleEndian.Uint32(b[2:])
	body := binary.LittleEndian.Uint64(b[6:])
	if header < recordPrefix || body > math.MaxInt64-math.MaxUint32 {
		return RecordLen{}, fmt.Errorf("%w: lengths %d and %d", ErrRecord, header, body)
	}
	return RecordLen{Header: int64(header), Body: int64(body)}, nil
}

// ParseRecordHeader reads the header of a record from its first bytes; the body need not
// be there, and the Image has none. Nothing that it returns aliases b.
func ParseRecordHeader(b []byte) (Key, Image, RecordLen, error) {
	size, err := recordLen(b)
	if err != nil {
		return Key{}, Image{}, RecordLen{}, err
	}
	if size.Header > int64(len(b)) {
		return Key{}, Image{}, RecordLen{}, fmt.Errorf("%w: cut off in its header", ErrRecord)
	}
	flags := b[1]
	// One string, which all others are pieces of: one allocation.
	r := recordReader{rest: string(b[recordPrefix:size.Header])}
	var (
		key Key
		img Image
	)
	key.path = r.text()
	key.original.Source = r.piece(key.path)
	key.original.Name = r.piece(key.path)
	img.ContentType = r.contentType()
	img.ETag = r.text()
	img.LastModified = time.Unix(r.varint(), 0).UTC()
	if flags&flagLive != 0 {
		img.Origin.ETag = r.text()
		img.Origin.LastModified = time.Unix(r.varint(), 0).UTC()
		img.Fresh.Generated = time.UnixMilli(r.varint()).UTC()
		img.Fresh.Until = time.UnixMilli(r.varint()).UTC()
		img.Fresh.StaleWhileRevalidate = r.milliseconds()
		img.Fresh.StaleIfError = r.milliseconds()
		img.Fresh.MustRevalidate = flags&flagMustRevalidate != 0
		img.Fresh.NoStore = flags&flagNoStore != 0
		if flags&flagDate != 0 {
			img.Fresh.Date = time.Unix(r.varint(), 0).UTC()
		}
	} else if flags != 0 {
		r.bad = true
	}
	if r.bad || r.rest != "" || flags&^knownFlags != 0 {
		return Key{}, Image{}, RecordLen{}, fmt.Errorf("%w: invalid header", ErrRecord)
	}
	return key, img, size, nil
}

func appendText(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// appendPiece appends s as one plus its offset in whole and its length, or as 0 and its bytes
// if whole does not contain it. The path of almost every Key contains source and name, so they
// cost two or three bytes each.
func appendPiece(dst []byte, whole, s string) []byte {
	at := strings.LastIndex(whole, s)
	dst = binary.AppendUvarint(dst, uint64(at+1))
	if at < 0 {
		return appendText(dst, s)
	}
	return binary.AppendUvarint(dst, uint64(len(s)))
}

func appendContentType(dst []byte, contentType string) []byte {
	for index := 1; index < len(contentTypes); index++ {
		if contentTypes[index] == contentType {
			return append(dst, byte(index))
		}
	}
	return appendText(append(dst, 0), contentType)
}

// recordReader reads the fields of a header in turn. After an invalid field, bad is set and all
// further fields are zero.
type recordReader struct {
	rest string
	bad  bool
}

func (r *recordReader) uvarint() uint64 {
	var x uint64
	for i := 0; i < len(r.rest) && i < binary.MaxVarintLen64; i++ {
		c := r.rest[i]
		x |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			if i == binary.MaxVarintLen64-1 && c > 1 {
				break // over 64 bits
			}
			r.rest = r.rest[i+1:]
			return x
		}
	}
	r.fail()
	return 0
}

func (r *recordReader) varint() int64 {
	u := r.uvarint()
	x := int64(u >> 1)
	if u&1 != 0 {
		x = ^x
	}
	return x
}

func (r *recordReader) milliseconds() time.Duration {
	ms := r.varint()
	if ms > math.MaxInt64/int64(time.Millisecond) || ms < math.MinInt64/int64(time.Millisecond) {
		r.fail()
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

func (r *recordReader) text() string {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.fail()
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

func (r *recordReader) piece(whole string) string {
	at := r.uvarint()
	if at == 0 {
		return r.text()
	}
	n := r.uvarint()
	at--
	if at > uint64(len(whole)) || n > uint64(len(whole))-at {
		r.fail()
		return ""
	}
	return whole[at : at+n]
}

func (r *recordReader) contentType() string {
	index := r.uvarint()
	switch {
	case index == 0:
		return r.text()
	case index < uint64(len(contentTypes)):
		return contentTypes[index]
	}
	r.fail()
	return ""
}

func (r *recordReader) fail() { r.rest, r.bad = "", true }
