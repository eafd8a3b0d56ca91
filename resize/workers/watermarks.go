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

// watermarkFiles are the watermarks as sealed files in memory, which cannot be modified. So a
// child that starts next week makes the same bytes as one of today, even if the configured file
// has changed.
type watermarkFiles struct {
	args  []string   // arguments of a child
	files []*os.File // its file descriptors from 3 on
}

func (m watermarkFiles) close() {
	for _, file := range m.files {
		file.Close()
	}
}

// sealWatermarks creates the files. A Pool keeps them open while the process lives, because it
// can start children at any time.
func sealWatermarks(watermarks map[string][]byte) (m watermarkFiles, err error) {
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
			_, err = unix.FcntlInt(
				file.Fd(),
				unix.F_ADD_SEALS,
				unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL,
			)
		}
		if err != nil {
			return m, fmt.Errorf("resize workers: watermark %s: %w", name, err)
		}
		// Opened by path, so that each child has a file offset of its own.
		m.args = append(m.args, "-watermark="+name+"=/proc/self/fd/"+strconv.Itoa(2+len(m.files)))
	}
	return m, nil
}
