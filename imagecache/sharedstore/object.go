package sharedstore

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/novasocial/imagetier/imagecache"
)

// An object is a head of headBytes and the image's body:
//
//	8  magic, with the version of the format
//	4  CRC-32C (Castagnoli) of everything after it, little-endian
//	16 log and entry: the writer's Position in the log of purges, little-endian
//	   the header of the record of key and image (imagecache.AppendRecordHeader)
//	   zeros
//
// The head has a fixed length, so that the size of the image follows from the size of the
// object in a listing. An image whose header does not fit, because its name has more than
// about 300 bytes, is not stored.
const (
	magic      = "imgtier\x01"
	headBytes  = 512
	sumAt      = len(magic)
	positionAt = sumAt + 4
	recordAt   = positionAt + 16
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// keyOf returns the key of an object: hash of source and name, hash of the variant's path.
func keyOf(key imagecache.Key) string {
	sum := sha256.Sum256([]byte(key.String()))
	return prefixOf(key.Original()) + hex.EncodeToString(sum[:16])
}

// prefixOf returns the common prefix of the keys of an original's objects.
func prefixOf(of imagecache.Original) string {
	sum := sha256.Sum256([]byte(of.Source + "\x00" + of.Name))
	return hex.EncodeToString(sum[:16]) + "/"
}

// digestOf returns the [imagecache.Key.Digest] of the image under an object key: keyOf and
// Digest begin with the same 64 bits. It is arbitrary if keyOf did not make the key.
func digestOf(objectKey string) uint64 {
	_, sum, _ := strings.Cut(objectKey, "/")
	digest, err := strconv.ParseUint(sum[:min(16, len(sum))], 16, 64)
	if err != nil {
		return uint64(crc32.ChecksumIEEE([]byte(objectKey)))
	}
	return digest
}

func encode(key imagecache.Key, img imagecache.Image, at Position) (object []byte, ok bool) {
	object = make([]byte, 0, headBytes+len(img.Body))
	object = append(object, magic...)
	object = append(object, 0, 0, 0, 0)
	object = binary.LittleEndian.AppendUint64(object, at.Log)
	object = binary.LittleEndian.AppendUint64(object, at.Entry)
	object = imagecache.AppendRecordHeader(object, key, img)
	if len(object) > headBytes {
		return nil, false
	}
	clear(object[len(object):headBytes])
	object = append(object[:headBytes], img.Body...)
	binary.LittleEndian.PutUint32(object[sumAt:], crc32.Checksum(object[positionAt:], castagnoli))
	return object, true
}

type decoded struct {
	key imagecache.Key
	img imagecache.Image
	at  Position
}

var errDamaged = errors.New("not an object of the shared store")

// decode parses an object. The image's Body aliases it.
func decode(object []byte) (decoded, error) {
	if len(object) < headBytes || string(object[:sumAt]) != magic ||
		binary.LittleEndian.Uint32(object[sumAt:]) != crc32.Checksum(object[positionAt:], castagnoli) {
		return decoded{}, errDamaged
	}
	key, img, size, err := imagecache.ParseRecordHeader(object[recordAt:headBytes])
	if err != nil || size.Body != int64(len(object)-headBytes) {
		return decoded{}, errDamaged
	}
	img.Body = object[headBytes:len(object):len(object)]
	return decoded{key: key, img: img, at: Position{
		Log: binary.LittleEndian.Uint64(object[positionAt:]), Entry: binary.LittleEndian.Uint64(object[positionAt+8:]),
	}}, nil
}
