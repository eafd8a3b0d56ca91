package jsonlog

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// maxLine is the largest line, in bytes: more than the largest message of the embedded server, which has
// the same values.
const maxLine = 8 << 20

var errLongLine = fmt.Errorf("the line has more than %d bytes", maxLine)

// read calls each with every value of the file, and notes how far its complete lines reach.
func (l *Log[T]) read(each func(T)) error {
	file, err := l.cfg.FS.Open(l.cfg.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	in := bufio.NewReaderSize(file, 64<<10)
	var line []byte
	for {
		var n int64
		line, n, err = readLine(in, line[:0])
		if l.cfg.MaxBytes > 0 && l.size+n > l.cfg.MaxBytes {
			return fmt.Errorf("%s has more than %d bytes: move it away to start without it", l.cfg.Path, l.cfg.MaxBytes)
		}
		complete := err == nil
		switch {
		case errors.Is(err, io.EOF) && n <= maxLine:
			return nil // open cuts off what a crash left
		case err != nil && !errors.Is(err, io.EOF):
			return fmt.Errorf("read %s: %w", l.cfg.Path, err)
		case n > maxLine:
			err = errLongLine
		}
		var value T
		if err == nil {
			err = json.Unmarshal(line, &value)
		}
		switch {
		case err == nil:
			each(value)
		case l.cfg.Skip == nil:
			return fmt.Errorf("%s:%d: %w", l.cfg.Path, l.lines+1, err)
		default:
			l.cfg.Skip(l.lines+1, err)
		}
		if !complete {
			l.leftover = l.size + n // open cuts it off
			return nil
		}
		l.size += n
		l.lines++
	}
}

// readLine appends the bytes up to and including the next line feed to line, but at most maxLine of
// them. n is how many there are. The error is io.EOF if the file ends before the line feed.
func readLine(in *bufio.Reader, line []byte) (_ []byte, n int64, err error) {
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part[:min(len(part), maxLine-len(line))]...)
		n += int64(len(part))
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, n, err
		}
	}
}
