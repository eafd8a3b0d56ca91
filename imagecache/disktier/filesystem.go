package disktier

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// fileSystem has the file operations of the tier. Tests replace it by disks that fill up, fail
// or lose unsynced data. Errors are those of package os: they wrap a syscall.Errno, which
// distinguishes a full disk from a broken one.
type fileSystem interface {
	OpenFile(path string, flag int, perm fs.FileMode) (file, error)
	ReadDir(dir string) (names []string, err error)
	MkdirAll(dir string, perm fs.FileMode) error
	Rename(from, to string) error
	Remove(path string) error
	SyncDir(dir string) error // makes names that were created, renamed or removed durable
}

// file is an open file. WriteAt writes everything or fails; ReadAt returns io.EOF if the file
// ends early. Both are safe for concurrent use.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Datasync() error // fdatasync: the bytes and the length are durable
	Stat() (fileStat, error)
	Lock() error // flock, exclusive, without waiting: ErrLocked if another process holds it
}

type fileStat struct {
	size      int64
	allocated int64 // bytes of blocks, as du counts them
	unlinked  bool  // the file has no name any more
}

// disk is the real fileSystem.
type disk struct{}

// OpenFile opens a regular file. Anything else is an error: to open a FIFO would block.
func (disk) OpenFile(path string, flag int, perm fs.FileMode) (file, error) {
	f, err := os.OpenFile(path, flag|syscall.O_NONBLOCK, perm)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("open %s: not a regular file", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return diskFile{f}, nil
}

func (disk) ReadDir(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

func (disk) MkdirAll(dir string, perm fs.FileMode) error { return os.MkdirAll(dir, perm) }
func (disk) Rename(from, to string) error                { return os.Rename(from, to) }
func (disk) Remove(path string) error                    { return os.Remove(path) }

func (disk) SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

type diskFile struct{ *os.File }

func (f diskFile) Stat() (fileStat, error) {
	info, err := f.File.Stat()
	if err != nil {
		return fileStat{}, err
	}
	st := fileStat{size: info.Size(), allocated: info.Size()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		st.allocated = sys.Blocks * 512 // in units of 512 bytes on every file system (stat(2))
		st.unlinked = sys.Nlink == 0
	}
	return st, nil
}

func (f diskFile) Lock() error {
	err := f.control(func(fd int) error { return syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB) })
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrLocked
	}
	return os.NewSyscallError("flock", err)
}

func (f diskFile) Datasync() error { return os.NewSyscallError("fdatasync", f.control(datasync)) }

// control calls do with the descriptor until no signal interrupts it.
func (f diskFile) control(do func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = conn.Control(func(fd uintptr) {
		for {
			if result = do(int(fd)); result != syscall.EINTR {
				return
			}
		}
	})
	return errors.Join(err, result)
}

// maxSmallFile is more than any small file has: counts has 12 bytes for each of at most 65,535 segments.
const maxSmallFile = 1 << 20

// readFile returns the content of a small file. One that is longer than maxSmallFile is damaged: no more of it is read.
func readFile(fs fileSystem, path string) ([]byte, error) {
	f, err := fs.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b := make([]byte, min(st.size, maxSmallFile))
	n, err := f.ReadAt(b, 0)
	if err == io.EOF {
		err = nil
	}
	return b[:n], err
}

// replaceFile replaces a small file by one with that content, and makes it durable.
func replaceFile(fs fileSystem, path string, content []byte) error {
	tmp := path + tmpSuffix
	f, err := fs.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, filePerm)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	err = errors.Join(err, f.Datasync(), f.Close())
	if err == nil {
		err = fs.Rename(tmp, path)
	}
	if err != nil {
		_ = fs.Remove(tmp) // the next start removes it otherwise
		return err
	}
	return fs.SyncDir(filepath.Dir(path))
}

// isFull reports whether err says that the disk, a quota or the inode table is full.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
