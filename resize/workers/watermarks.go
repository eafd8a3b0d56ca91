package workers

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
)

// watermarkFiles are the watermarks as files that nothing modifies. So a child that starts next
// week makes the same bytes as one of today, even if the configured file has changed.
type watermarkFiles struct {
	args  []string   // arguments of a child
	files []*os.File // its file descriptors from firstDescriptor on
}

// firstDescriptor is the number of the first file in exec.Cmd.ExtraFiles.
const firstDescriptor = 3

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
		file, path, err := sealedFile("watermark "+name, watermarks[name], firstDescriptor+len(m.files))
		if err != nil {
			return m, fmt.Errorf("resize workers: watermark %s: %w", name, err)
		}
		m.files = append(m.files, file)
		m.args = append(m.args, "-watermark="+name+"="+path)
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
