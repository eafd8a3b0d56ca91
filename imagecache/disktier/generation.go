package disktier

import (
	"errors"
	"io/fs"
	"path/filepath"
)

const generationName = "generation"

// claim removes all segments that were written under another [Config.Generation], and notes this
// one. A crash in between has the next start remove them.
func (t *Tier) claim(found *listing) error {
	if t.cfg.Generation == "" {
		return nil
	}
	path := filepath.Join(t.cfg.Dir, generationName)
	have, err := readFile(t.fs, path)
	switch {
	case err == nil && string(have) == t.cfg.Generation:
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case len(found.segments) > 0:
		t.log.Error("disk tier has images from before the caches were emptied, removing all segments",
			"segments", len(found.segments))
		if err := t.discard(found); err != nil {
			return err
		}
	}
	return replaceFile(t.fs, path, []byte(t.cfg.Generation))
}
