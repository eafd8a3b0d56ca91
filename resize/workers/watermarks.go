package workers

import (
	"context"
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

func (m *watermarkFiles) close() {
	for _, file := range m.files {
		file.Close()
	}
}

// sealWatermarks creates the files. They stay open while a Pool or a child refers to them, because
// children can start at any time, and are closed by the garbage collector (see [os.NewFile]).
func sealWatermarks(watermarks map[string][]byte) (m *watermarkFiles, err error) {
	m = new(watermarkFiles)
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

// ReplaceWatermarks replaces all watermarks (Config.Watermarks): jobs that begin after it has returned use the new
// ones, on children that are started for them. It first starts a child to see that the watermarks can be decoded; if
// not, the old ones stay.
func (p *Pool) ReplaceWatermarks(ctx context.Context, watermarks map[string][]byte) error {
	cfg := p.cfg
	cfg.Watermarks = watermarks
	if _, err := Probe(ctx, cfg); err != nil {
		return fmt.Errorf("replace watermarks: %w", err)
	}
	m, err := sealWatermarks(watermarks)
	if err != nil {
		return err
	}
	p.watermarks.Store(m)
	return nil
}
