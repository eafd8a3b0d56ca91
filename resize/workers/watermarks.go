package workers

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// marks are the watermarks as children get them: files in memory that nobody can change, so
// that a child which is started next week makes the same bytes as one of today, whatever
// has become of the file that they were read from.
type marks struct {
	args  []string   // of a child
	files []*os.File // its file descriptors from 3 on
}

func (m marks) close() {
	for _, file := range m.files {
		file.Close()
	}
}

// seal makes the files. A Pool keeps them open as long as the process lives: it starts
// children with them at any time.
func seal(watermarks map[string][]byte) (m marks, err error) {
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	for _, name := range slices.Sorted(maps.Keys(watermarks)) {
		fd, err := unix.MemfdCreate("watermark "+name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		if err != nil {
			return m, fmt.Errorf("resize workers: watermark %s: %w", name, err)
		}
		file := os.NewFile(uintptr(fd), "watermark "+name)
		m.files = append(m.files, file)
		_, err = file.Write(watermarks[name])
		if err == nil {
			_, err = file.Seek(0, io.SeekStart)
		}
		if err == nil {
			_, err = unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
		}
		if err != nil {
			return m, fmt.Errorf("resize workers: watermark %s: %w", name, err)
		}
		// Opened by its path each child has an offset of its own.
		m.args = append(m.args, "-watermark="+name+"=/proc/self/fd/"+strconv.Itoa(2+len(m.files)))
	}
	return m, nil
}
