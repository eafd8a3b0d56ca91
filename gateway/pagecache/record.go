package pagecache

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"time"
)

// A record is what Redis holds under a key:
//
//	0   1  version of the format
//	1   1  kind: the second letter of its name; 0 is a tombstone
//	2   8  generation: another one after every drop
//	10  8  when it turns stale, in milliseconds of Unix time; 0 in a tombstone
//	18  4  CRC-32C of the key and of everything else
//	22     payload (codec.go)
const (
	formatVersion = 1
	headerBytes   = 22
	checksumAt    = 18
)

// state is the result of reading a record.
type state int

const (
	whole state = iota
	tombstone
	damaged // or of another format version or key
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func letter(of Kind) byte { return of[1] }

func checksum(key string, data []byte) uint32 {
	sum := crc32.Update(0, castagnoli, []byte(key))
	sum = crc32.Update(sum, castagnoli, data[:checksumAt])
	return crc32.Update(sum, castagnoli, data[headerBytes:])
}

// newGeneration returns a random generation that is not 0, which means no generation.
func newGeneration() uint64 { return rand.Uint64() | 1 }

// seal makes the record of a value.
func seal(of Kind, key string, generation uint64, until time.Time, payload func([]byte) []byte) []byte {
	data := header(letter(of), generation, uint64(until.UnixMilli()))
	data = payload(data)
	binary.BigEndian.PutUint32(data[checksumAt:], checksum(key, data))
	return data
}

// bury makes a tombstone.
func bury(key string) []byte {
	data := header(0, newGeneration(), 0)
	binary.BigEndian.PutUint32(data[checksumAt:], checksum(key, data))
	return data
}

func header(letter byte, generation, until uint64) []byte {
	data := append(make([]byte, 0, 512), formatVersion, letter)
	data = binary.BigEndian.AppendUint64(data, generation)
	data = binary.BigEndian.AppendUint64(data, until)
	return append(data, 0, 0, 0, 0)
}

// generation returns the generation that the script of link.go compares. It also reads damaged
// records that are long enough, since these must be overwritten.
func generation(data []byte) uint64 {
	if len(data) < 10 {
		return 0
	}
	return binary.BigEndian.Uint64(data[2:])
}

// generationText is a generation as the script compares it.
func generationText(g uint64) string {
	if g == 0 {
		return ""
	}
	return string(binary.BigEndian.AppendUint64(nil, g))
}

// unseal returns the payload of a record, and until when it is fresh.
func unseal(of Kind, key string, data []byte) (payload []byte, until time.Time, _ state) {
	if len(data) < headerBytes || data[0] != formatVersion ||
		binary.BigEndian.Uint32(data[checksumAt:]) != checksum(key, data) {
		return nil, time.Time{}, damaged
	}
	switch data[1] {
	case 0:
		return nil, time.Time{}, tombstone
	case letter(of):
		return data[headerBytes:], time.UnixMilli(int64(binary.BigEndian.Uint64(data[10:]))), whole
	}
	return nil, time.Time{}, damaged
}
