package dirorigin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/origin/origintest"
)

func openDir(t *testing.T, cfg Config) *Source {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func write(t testing.TB, path string, body []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, body, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestSource_Conformance(t *testing.T) {
	origintest.Run(t, func(t *testing.T) origintest.Origin {
		dir := t.TempDir()
		return origintest.Origin{
			Source: openDir(t, Config{Dir: dir}),
			Put: func(t testing.TB, name string, body []byte) {
				write(t, dir+"/"+name, body)
			},
			Delete: func(t testing.TB, name string) {
				if err := os.Remove(dir + "/" + name); err != nil {
					t.Fatal(err)
				}
			},
			Date: func(t testing.TB, name string, modified time.Time) {
				if err := os.Chtimes(dir+"/"+name, modified, modified); err != nil {
					t.Fatal(err)
				}
			},
			Names:    append(origintest.OddNames(), "not \xff UTF-8"),
			BadNames: []string{"/etc/passwd", "../a", "a/../b", "..", ".", "a/.", "a//b", "a/", "a\x00b", "/"},
		}
	})
}

func TestSource_Open_ETag(t *testing.T) {
	s := openDir(t, Config{})
	write(t, s.root.Name()+"/a", []byte("hello"))
	obj, err := s.Open(t.Context(), "a", origin.Cond{Match: "2cf24dba5fb0a30e26e83b2ac5b9e29e"})
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Body.Close()
	if want := fmt.Sprintf(`"%x"`, sha256.Sum256([]byte("hello")))[:33] + `"`; obj.ETag != want {
		t.Errorf("entity tag %s, want %s", obj.ETag, want)
	}
	if obj.Fresh != (origin.Freshness{Silent: true}) {
		t.Errorf("freshness of a file: %+v", obj.Fresh)
	}
}

func TestSource_Open_Symlinks(t *testing.T) {
	s := openDir(t, Config{})
	dir, outside := s.root.Name(), t.TempDir()
	write(t, outside+"/secret", []byte("secret"))
	write(t, dir+"/sub/a", []byte("a"))
	for name, target := range map[string]string{
		"absolute":  outside + "/secret",
		"relative":  "../" + filepath.Base(outside) + "/secret",
		"directory": outside,
		"up":        "..",
		"root":      "/",
		"inside":    "sub/a",
		"over":      "sub/../../" + filepath.Base(dir) + "/sub/a", // out and in again
		"dangling":  "nowhere",
		"loop":      "loop",
	} {
		if err := os.Symlink(target, dir+"/"+name); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]error{
		"absolute":                            origin.ErrDenied,
		"relative":                            origin.ErrDenied,
		"directory/secret":                    origin.ErrDenied,
		"up/x":                                origin.ErrDenied,
		"root/etc/passwd":                     origin.ErrDenied,
		"over":                                origin.ErrDenied,
		"dangling":                            origin.ErrNotFound,
		"loop":                                origin.ErrNotFound,
		"inside":                              nil,
		"sub/a":                               nil,
		"up/" + filepath.Base(dir) + "/sub/a": origin.ErrDenied,
	} {
		obj, err := s.Open(t.Context(), name, origin.Cond{})
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: error %v, want %v", name, err, want)
		}
		if err == nil {
			obj.Body.Close()
		}
	}
}

func TestSource_Open_NotRegular(t *testing.T) {
	s := openDir(t, Config{})
	dir := s.root.Name()
	if err := syscall.Mkfifo(dir+"/fifo", 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir+"/dir", 0o755); err != nil {
		t.Fatal(err)
	}
	socket, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(socket)
	if err := syscall.Bind(socket, &syscall.SockaddrUnix{Name: dir + "/socket"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // a FIFO that is opened hangs
	defer cancel()
	for _, name := range []string{"fifo", "dir", "socket"} {
		if _, err := s.Open(ctx, name, origin.Cond{}); !errors.Is(err, origin.ErrNotFound) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestSource_Open_NoPermission(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root can read every file")
	}
	s := openDir(t, Config{})
	write(t, s.root.Name()+"/a", []byte("a"))
	if err := os.Chmod(s.root.Name()+"/a", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(t.Context(), "a", origin.Cond{}); !errors.Is(err, origin.ErrDenied) {
		t.Errorf("error %v", err)
	}
}

func TestSource_Open_FileChangesWhileRead(t *testing.T) {
	first, second := bytes.Repeat([]byte("1"), 1<<20), bytes.Repeat([]byte("2"), 1<<20)
	for name, change := range map[string]func(path string) error{
		"overwritten": func(p string) error { return os.WriteFile(p, second, 0o644) },
		"cut":         func(p string) error { return os.Truncate(p, 1000) },
		"grown":       func(p string) error { return os.Truncate(p, 2<<20) },
		"overwritten with old times": func(p string) error {
			return errors.Join(os.WriteFile(p, second, 0o644), os.Chtimes(p, time.Unix(1e9, 0), time.Unix(1e9, 0)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := openDir(t, Config{})
			path := s.root.Name() + "/a"
			write(t, path, first)
			if err := os.Chtimes(path, time.Unix(1e9, 0), time.Unix(1e9, 0)); err != nil {
				t.Fatal(err)
			}
			obj, err := s.Open(t.Context(), "a", origin.Cond{})
			if err != nil {
				t.Fatal(err)
			}
			defer obj.Body.Close()
			if _, err := io.ReadFull(obj.Body, make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			if err := change(path); err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, obj.Body); !errors.Is(err, origin.ErrUnavailable) {
				t.Errorf("%d more bytes, error %v", n, err)
			}
		})
	}
}

func TestSource_Open_FileReplacedWhileRead(t *testing.T) {
	s := openDir(t, Config{})
	dir := s.root.Name()
	write(t, dir+"/a", bytes.Repeat([]byte("1"), 1<<20))
	obj, err := s.Open(t.Context(), "a", origin.Cond{})
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Body.Close()
	write(t, dir+"/b", []byte("new"))
	if err := os.Rename(dir+"/b", dir+"/a"); err != nil {
		t.Fatal(err)
	}
	// Removing the last link to the old file changed its ctime only.
	if n, err := io.Copy(io.Discard, obj.Body); n != 1<<20 || err != nil {
		t.Errorf("%d bytes, error %v", n, err)
	}
}

// Two writes within the resolution of the file system's clock have the same times, so the hash of a
// file that was just written is not cached. The test sets the clock of the Source.
func TestSource_CachesHashOfOldFilesOnly(t *testing.T) {
	s := openDir(t, Config{})
	write(t, s.root.Name()+"/a", []byte("a"))
	open := func() {
		t.Helper()
		obj, err := s.Open(t.Context(), "a", origin.Cond{})
		if err != nil {
			t.Fatal(err)
		}
		defer obj.Body.Close()
		if body, err := io.ReadAll(obj.Body); string(body) != "a" || err != nil {
			t.Fatalf("got %q, %v", body, err)
		}
	}
	f, id, err := s.openFile("a")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	open()
	if _, ok := s.hashes.get(id); ok {
		t.Error("the tag of a file that was just written is cached")
	}
	s.now = func() time.Time { return time.Now().Add(3 * time.Second) }
	open()
	if _, ok := s.hashes.get(id); !ok {
		t.Error("the tag of an old file is not cached")
	}
	// The cached tag is used. A wrong one is detected when the body is read, and dropped.
	s.hashes.put(id, digest{1})
	obj, err := s.Open(t.Context(), "a", origin.Cond{})
	if err != nil || obj.ETag != quote(digest{1}) {
		t.Fatalf("hashed again: %v", err)
	}
	defer obj.Body.Close()
	if _, err := io.ReadAll(obj.Body); !errors.Is(err, origin.ErrUnavailable) {
		t.Errorf("body with a wrong tag: error %v", err)
	}
	open()
}

func TestHashes_KeepsUsedEntries(t *testing.T) {
	h := newHashes(10)
	for i := range 1000 {
		h.put(identity{ino: uint64(i)}, digest{byte(i)})
		if _, ok := h.get(identity{ino: 0}); !ok {
			t.Fatal("an entry in use was evicted")
		}
	}
	if d, ok := h.get(identity{ino: 999}); !ok || d != (digest{byte(999 % 256)}) {
		t.Error("the last entry is missing")
	}
	for i := uint64(1); i < 989; i++ {
		if _, ok := h.get(identity{ino: i}); ok {
			t.Fatalf("unused entry %d of 999 was not evicted", i)
		}
	}
}

func TestSource_Open_TooLarge(t *testing.T) {
	s := openDir(t, Config{MaxBytes: 1 << 20})
	path := s.root.Name() + "/a"
	write(t, path, nil)
	if err := os.Truncate(path, 1<<40); err != nil { // sparse: hashing it would take minutes
		t.Skip(err)
	}
	if _, err := s.Open(t.Context(), "a", origin.Cond{}); !errors.Is(err, origin.ErrTooLarge) {
		t.Errorf("error %v", err)
	}
}

func TestOpen_NoDirectory(t *testing.T) {
	for _, dir := range []string{"", t.TempDir() + "/nothing"} {
		if _, err := Open(Config{Dir: dir}); err == nil {
			t.Errorf("%q: no error", dir)
		}
	}
}

// A file whose hash is not known is read and hashed once: ReadAll gets the bytes that were hashed.
func TestSource_Open_ReadsNewFileOnce(t *testing.T) {
	s := openDir(t, Config{})
	write(t, s.root.Name()+"/a", []byte("new"))
	obj, err := s.Open(t.Context(), "a", origin.Cond{})
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Body.Close()
	write(t, s.root.Name()+"/a", []byte("overwritten"))
	if whole, ok := obj.Whole(); !ok || string(whole) != "new" {
		t.Errorf("in memory: %q, %v", whole, ok)
	}
	if sum := sha256.Sum256([]byte("new")); obj.ETag != quote(digest(sum[:16])) {
		t.Errorf("ETag %s is not that of the bytes", obj.ETag)
	}
	s.now = func() time.Time { return time.Now().Add(3 * time.Second) }
	for i, inMemory := range []bool{true, false} { // then the hash is known
		again, err := s.Open(t.Context(), "a", origin.Cond{})
		if err != nil {
			t.Fatal(err)
		}
		again.Body.Close()
		if _, ok := again.Whole(); ok != inMemory {
			t.Errorf("read %d: in memory %v, want %v", i, ok, inMemory)
		}
	}
}
