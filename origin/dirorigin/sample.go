package dirorigin

import (
	"context"
	"io/fs"
	"path"
	"strings"
)

// Sample returns at most n names of files that end as images do, in the order of their
// names: for a first look, not for serving. It looks at 10,000 entries at most.
func (s *Source) Sample(ctx context.Context, n int) (names []string, err error) {
	seen := 0
	err = fs.WalkDir(s.root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch seen++; {
		case ctx.Err() != nil:
			return ctx.Err()
		case seen > 10_000 || len(names) == n:
			return fs.SkipAll
		case err != nil:
			return nil // what cannot be read is not shown
		case entry.Type().IsRegular() && looksLikeImage(name):
			names = append(names, name)
		}
		return nil
	})
	return names, err
}

func looksLikeImage(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".jpg", ".jpeg", ".png", ".webp", ".avif", ".gif", ".heic":
		return true
	}
	return false
}
