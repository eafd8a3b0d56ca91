package dirorigin

import (
	"context"
	"io/fs"
	"path"
	"strings"
)

// Sample returns up to n names of files with the extension of an image, in the order of
// their names, for diagnostics. It looks at 10,000 entries at most.
func (s *Source) Sample(ctx context.Context, n int) (names []string, err error) {
	seen := 0
	err = fs.WalkDir(s.root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch seen++; {
		case ctx.Err() != nil:
			return ctx.Err()
		case seen > 10_000 || len(names) == n:
			return fs.SkipAll
		case err != nil:
			return nil // skip unreadable directories
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
