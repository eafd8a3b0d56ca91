package disktier

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	"sync"
	"sync/atomic"
)

const (
	countsName       = "counts"
	countsEntryBytes = 12
	countsCRCBytes   = 4
)

var countsMagic = []byte("imgtcnt\n")

// countsFile has the number of records of each sealed segment. Without it, nothing tells how many
// are lost with a segment whose file was removed or cut while the tier was not running. It is not
// needed to read a segment.
//
//	magic    8 bytes
//	entries  of 12 bytes: number of the segment, count of its records
//	CRC      4 bytes, of all before it
type countsFile struct {
	writing sync.Mutex // held while the file is replaced
	size    atomic.Int64
}

// charge returns how many bytes of the budget the file takes, and the one that replaces it.
func (c *countsFile) charge() int64 { return 2 * roundUp(c.size.Load(), blockBytes) }

// parseCounts returns the counts by segment number; none if the file is damaged.
func parseCounts(b []byte) map[uint64]int {
	entries, ok := bytes.CutPrefix(b, countsMagic)
	n := len(entries) - countsCRCBytes
	if !ok || n < 0 || n%countsEntryBytes != 0 ||
		binary.LittleEndian.Uint32(entries[n:]) != checksum(b[:len(b)-countsCRCBytes]) {
		return nil
	}
	counts := make(map[uint64]int, n/countsEntryBytes)
	for entries = entries[:n]; len(entries) > 0; entries = entries[countsEntryBytes:] {
		counts[binary.LittleEndian.Uint64(entries)] = int(binary.LittleEndian.Uint32(entries[8:]))
	}
	return counts
}

func (t *Tier) countsPath() string { return filepath.Join(t.cfg.Dir, countsName) }

// loadCounts reads the file of counts; nil if it is missing or unreadable.
func (t *Tier) loadCounts() map[uint64]int {
	b, err := readFile(t.fs, t.countsPath())
	if err != nil {
		return nil
	}
	return parseCounts(b)
}

// writeCounts replaces the file. A failure costs only counts, until a segment is sealed or removed.
func (t *Tier) writeCounts() {
	t.counts.writing.Lock()
	defer t.counts.writing.Unlock()
	b := bytes.Clone(countsMagic)
	t.mu.Lock()
	if t.health.detached.Load() {
		t.mu.Unlock()
		return
	}
	for _, s := range t.segments {
		if s.records > 0 {
			b = binary.LittleEndian.AppendUint64(b, s.seq)
			b = binary.LittleEndian.AppendUint32(b, uint32(s.records))
		}
	}
	t.countsStale = false
	t.mu.Unlock()
	b = binary.LittleEndian.AppendUint32(b, checksum(b))
	t.counts.size.Store(int64(len(b)))
	if err := replaceFile(t.fs, t.countsPath(), b); err != nil {
		t.count.errors[opWrite].Add(1)
	}
}

// countLost counts records that a segment no longer has.
func (t *Tier) countLost(s *segment, records int) {
	if records > 0 {
		t.count.damaged.Add(uint64(records))
		t.log.Warn("disk tier found a damaged segment", "segment", s.path, "records", records)
	}
}

// countMissing counts the records of segments whose files were removed, given by number.
func (t *Tier) countMissing(counts map[uint64]int) {
	for seq, records := range counts {
		t.beginAfter(seq)
		t.count.damaged.Add(uint64(records))
		t.log.Warn("disk tier segment missing", "segment", t.segmentPath(seq), "records", records)
	}
	if len(counts) > 0 {
		t.writeCounts() // or a crash would have them counted again
	}
}
