package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/novasocial/imagetier/imagecache/disktier"
	"github.com/novasocial/imagetier/internal/settings"
)

// CacheDir checks the cache's directory, which serve creates if it is missing, and the
// file system below it.
func CacheDir(_ context.Context, in Input) []Finding {
	name := "cache directory " + in.Config.CacheDir
	dir, err := filepath.Abs(in.Config.CacheDir)
	if err != nil {
		return []Finding{fault(name, "give --cache-dir an absolute path", "%v", err)}
	}
	existing, err := existingParent(dir)
	switch {
	case errors.Is(err, errNotDir):
		return []Finding{fault(name, "move it away, or give another --cache-dir", "%v", err)}
	case err != nil:
		return []Finding{fault(name, "give this user access, or give another --cache-dir", "%v", err)}
	}
	if err := tryWrite(existing); err != nil {
		return []Finding{fault(name, "chown it to the user that imagetier runs as, or give another --cache-dir", "not writable: %v", err)}
	}
	return space(name, dir, existing, in.Config.DiskSize+in.Config.OriginalsSize)
}

// CacheLock checks that no other process has the cache's directory. The tier that runs with these settings may have it.
func CacheLock(ctx context.Context, in Input) []Finding {
	const name = "cache lock"
	dir := filepath.Join(in.Config.CacheDir, "variants")
	switch {
	case !disktier.InUse(dir):
		return []Finding{ok(name, "no other process uses the cache directory")}
	case running(ctx, in.Config):
		return []Finding{ok(name, "in use by a running tier: its private listener is healthy")}
	}
	return []Finding{fault(name, "stop the process that uses it (fuser "+filepath.Join(dir, "lock")+
		"), or give another --cache-dir: every tier needs its own",
		"%s is in use by another process", in.Config.CacheDir)}
}

var errNotDir = errors.New("not a directory")

// existingParent returns dir or the closest directory above it that exists.
func existingParent(dir string) (string, error) {
	for {
		info, err := os.Stat(dir)
		switch {
		case err == nil && info.IsDir():
			return dir, nil
		case err == nil:
			return "", fmt.Errorf("%s: %w", dir, errNotDir)
		case !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir):
			return "", err
		}
		dir = filepath.Dir(dir)
	}
}

func tryWrite(dir string) error {
	f, err := os.CreateTemp(dir, ".imagetier-doctor-*")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 4096))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}

// space compares the budgets, in bytes, with the free space and the space that the cache already
// uses.
func space(name, dir, existing string, budget int64) (found []Finding) {
	fsys, err := statFS(existing)
	if err != nil {
		return []Finding{warning(name, "look with df", "free space cannot be read: %v", err)}
	}
	if why, fix := fsys.unsuitable(); why != "" {
		found = append(found, warning(name, fix, "on %s: %s", fsys.kind, why))
	}
	if free := fsys.free + sizeOf(dir); free < budget {
		return append(found, warning(name,
			"use a smaller --cache-disk-size or --cache-originals-size; a full disk lowers the hit ratio but fails no request",
			"the budgets are %s, but only %d MiB are free or used by the cache already",
			settings.FormatSize(budget), free>>20))
	}
	return append(found, ok(name,
		"writable; %d MiB free on %s, budgets are %s", fsys.free>>20, fsys.kind, settings.FormatSize(budget)))
}

func sizeOf(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			if info, err := entry.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}
