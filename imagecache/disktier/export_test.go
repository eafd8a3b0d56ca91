package disktier

import "encoding/binary"

// Access to internals for tests of package disktier_test.
type (
	FileSystem = fileSystem
	File       = file
	FileStat   = fileStat
)

func NewFileStat(size, allocated int64, unlinked bool) FileStat {
	return fileStat{size, allocated, unlinked}
}

// On returns cfg with another disk.
func (cfg Config) On(fs FileSystem) Config {
	cfg.fs = fs
	return cfg
}

// SignVersion makes the CRC of a header's magic and version right.
func SignVersion(b []byte) []byte {
	binary.LittleEndian.PutUint32(b[12:], checksum(b[:12]))
	return b
}
