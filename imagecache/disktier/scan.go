package disktier

import (
	"bytes"
	"hash/crc32"
	"io"
)

// scanned is the result of scanning a segment without a good footer.
type scanned struct {
	slots []footSlot // valid records in the order of the file
	end   int64      // where the last of them ends
	// torn are records with a valid frame header and damaged bytes. The older records that
	// they replaced must not be served.
	torn []footSlot
	gaps int // unreadable stretches, each of one record or more
}

// damaged returns the number of lost records, of a segment that had that many when it was sealed.
// If they are not known (0), a gap counts as one.
func (s scanned) damaged(records int) int {
	if records > 0 {
		return max(records-len(s.slots), 0)
	}
	return len(s.torn) + s.gaps
}

// scan reads all frames in the first size bytes of a segment, and verifies every record. After
// damage it continues at the next frame. The error is one of reading r.
func scan(r io.ReaderAt, size int64, m marker) (scanned, error) {
	found := scanned{end: headerBytes}
	w := window{r: r, size: size}
	inGap := false
	for offset := int64(headerBytes); offset+frameBytes <= size; {
		b, err := w.at(offset, frameBytes)
		if err != nil {
			return found, err
		}
		f, ok := parseFrame(b, m)
		if !ok {
			if !inGap {
				found.gaps++
				inGap = true
			}
			if offset, err = w.next(offset+unit, m); err != nil {
				return found, err
			}
			continue
		}
		inGap = false
		if f.footer {
			break // a damaged footer: no records follow it
		}
		whole := offset+frameBytes+f.size <= size
		if whole {
			sum, err := w.checksum(offset+frameBytes, f.size)
			if err != nil {
				return found, err
			}
			whole = sum == f.sum
		}
		if whole {
			found.slots = append(found.slots, footSlot{f.name, offset, f.bytes()})
			found.end = offset + f.bytes()
		} else {
			found.torn = append(found.torn, footSlot{f.name, offset, f.bytes()})
		}
		offset += f.bytes()
	}
	return found, nil
}

// window reads a file forward through one buffer.
type window struct {
	r     io.ReaderAt
	size  int64
	buf   []byte
	start int64 // of buf in the file
}

const windowBytes = 1 << 18

// at returns the n bytes at offset, until the next call; fewer only where the file ends.
func (w *window) at(offset, n int64) ([]byte, error) {
	n = min(n, w.size-offset)
	if offset < w.start || offset+n > w.start+int64(len(w.buf)) {
		if w.buf == nil {
			w.buf = make([]byte, windowBytes)
		}
		w.buf = w.buf[:min(windowBytes, w.size-offset)]
		w.start = offset
		got, err := w.r.ReadAt(w.buf, offset)
		if err == io.EOF { // shorter than it was
			w.size, err = offset+int64(got), nil
			n = min(n, int64(got))
		}
		w.buf = w.buf[:got]
		if err != nil {
			return nil, err
		}
	}
	from := offset - w.start
	return w.buf[from : from+n], nil
}

func (w *window) checksum(offset, n int64) (sum uint32, err error) {
	for n > 0 {
		b, err := w.at(offset, min(n, windowBytes))
		if err != nil || len(b) == 0 {
			return 0, err
		}
		sum = crc32.Update(sum, castagnoli, b)
		offset += int64(len(b))
		n -= int64(len(b))
	}
	return sum, nil
}

// next returns the first offset, from offset on, at which a frame could begin, or size.
func (w *window) next(offset int64, m marker) (int64, error) {
	for offset+frameBytes <= w.size {
		b, err := w.at(offset, windowBytes)
		if err != nil {
			return 0, err
		}
		i := bytes.Index(b, m[:])
		switch {
		case i < 0 && len(b) <= unit:
			return w.size, nil
		case i < 0:
			offset += int64(len(b)) / unit * unit
		case i%unit == 0:
			return offset + int64(i), nil
		default:
			offset += roundUp(int64(i), unit)
		}
	}
	return w.size, nil
}
