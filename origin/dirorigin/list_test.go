package dirorigin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/novasocial/imagetier/origin"
)

// A FIFO is not a folder, and is not opened, which would wait for a writer.
func TestSource_List_FIFO(t *testing.T) {
	s := openDir(t, Config{})
	if err := syscall.Mkfifo(s.root.Name()+"/pipe", 0o644); err != nil {
		t.Fatal(err)
	}
	listed := make(chan error, 1)
	go func() {
		_, err := s.List(t.Context(), origin.ListRequest{Folder: "pipe/", Limit: 10})
		listed <- err
	}()
	select {
	case err := <-listed:
		if !errors.Is(err, origin.ErrNotFound) {
			t.Errorf("error %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("listing a FIFO hangs")
	}
}

func TestSource_List_PagesInOrder(t *testing.T) {
	if testing.Short() {
		t.Skip("creates thousands of files")
	}
	s := openDir(t, Config{})
	dir, outside := s.root.Name(), t.TempDir()
	const files = 2*listBatch + 100
	if err := os.MkdirAll(filepath.Join(dir, "a", "m"), 0o777); err != nil {
		t.Fatal(err)
	}
	for i := range files {
		write(t, filepath.Join(dir, "a", fmt.Sprintf("%04d.jpg", i)), []byte("body"))
	}
	write(t, filepath.Join(dir, "b.jpg"), nil)
	if err := os.Symlink(outside, filepath.Join(dir, "outside")); err != nil {
		t.Fatal(err)
	}
	root, err := s.List(t.Context(), origin.ListRequest{Limit: 10})
	if err != nil || strings.Join(root.Folders, " ") != "a/" || len(root.Objects) != 1 || root.Next != "" {
		t.Errorf("root: %+v, %v", root, err)
	}
	var names []string
	req := origin.ListRequest{Folder: "a/", Limit: 999}
	for pages := 0; ; pages++ {
		list, err := s.List(t.Context(), req)
		if err != nil || pages > 5 {
			t.Fatalf("page %d: %v", pages, err)
		}
		for _, o := range list.Objects {
			names = append(names, o.Name)
			if o.Bytes != 4 || o.Modified.IsZero() {
				t.Errorf("%+v", o)
			}
		}
		if req.After = list.Next; req.After == "" {
			if strings.Join(list.Folders, " ") != "a/m/" {
				t.Errorf("folders of the last page: %v", list.Folders)
			}
			break
		}
	}
	if len(names) != files || names[0] != "a/0000.jpg" || names[files-1] != fmt.Sprintf("a/%04d.jpg", files-1) {
		t.Errorf("%d names, from %s to %s", len(names), names[0], names[len(names)-1])
	}
}

func TestSource_List_Errors(t *testing.T) {
	s := openDir(t, Config{})
	for folder, want := range map[string]error{
		"none/": origin.ErrNotFound, "../": origin.ErrName, "a//": origin.ErrName, "/": origin.ErrName,
	} {
		if _, err := s.List(t.Context(), origin.ListRequest{Folder: folder, Limit: 10}); !errors.Is(err, want) {
			t.Errorf("%q: %v", folder, err)
		}
	}
}
