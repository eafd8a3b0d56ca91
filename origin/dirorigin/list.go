package dirorigin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/novasocial/imagetier/origin"
)

// listBatch is how many entries of a directory are read at once.
const listBatch = 1000

// List returns a page of a folder. It reads all entries of the directory, but holds only listBatch of
// them and a page in memory. Names that are not UTF-8 are left out, and so is all but regular files
// and directories. After is the last name of the page before.
func (s *Source) List(ctx context.Context, req origin.ListRequest) (origin.Listing, error) {
	list, err := s.list(ctx, req)
	if err != nil {
		return list, fmt.Errorf("list %q: %w", req.Folder, err)
	}
	return list, nil
}

func (s *Source) list(ctx context.Context, req origin.ListRequest) (list origin.Listing, err error) {
	dir := "."
	if req.Folder != "" {
		dir = strings.TrimSuffix(req.Folder, "/")
		if err := s.CheckName(dir); err != nil {
			return list, err
		}
	}
	entries, more, err := s.entries(ctx, dir, strings.TrimPrefix(req.After, req.Folder), req.Limit)
	if err != nil {
		return list, err
	}
	for _, entry := range entries {
		name := req.Folder + entry
		info, err := s.root.Stat(name)
		switch {
		case err != nil: // gone, or a link that leaves the directory
		case info.IsDir():
			list.Folders = append(list.Folders, name+"/")
		case info.Mode().IsRegular():
			list.Objects = append(list.Objects, origin.Listed{
				Name: name, Bytes: info.Size(), Modified: info.ModTime(),
			})
		}
	}
	if more {
		list.Next = req.Folder + entries[len(entries)-1]
	}
	return list, nil
}

// entries returns the first names of a directory after a name, sorted, and whether there are more.
func (s *Source) entries(ctx context.Context, dir, after string, limit int) (names []string, more bool, err error) {
	f, err := s.root.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0) // opening a FIFO would block
	if err != nil {
		return nil, false, explain(err)
	}
	defer f.Close()
	for {
		batch, err := f.ReadDir(listBatch)
		for _, entry := range batch {
			name := entry.Name()
			kind := entry.Type()
			listed := kind.IsDir() || kind.IsRegular() || kind&fs.ModeSymlink != 0
			if listed && name > after && utf8.ValidString(name) {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		if len(names) > limit {
			names, more = names[:limit], true
		}
		switch {
		case errors.Is(err, io.EOF):
			return names, more, nil
		case err != nil:
			return nil, false, explain(err)
		case ctx.Err() != nil:
			return nil, false, ctx.Err()
		}
	}
}
