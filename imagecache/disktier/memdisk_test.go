package disktier_test

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/novasocial/imagetier/imagecache/disktier"
)

// memDisk is a disk in memory that can be full, can fail, and loses unsynced data in a power
// failure.
type memDisk struct {
	mu       sync.Mutex
	names    map[string]*memInode
	durable  map[string]*memInode // names as of the last SyncDir
	capacity int64                // bytes of all files; 0 is no limit
	inodes   int                  // maximum number of files; 0 is no limit
	fault    func(op, path string) error
}

type memInode struct {
	data     []byte
	synced   []byte
	unsynced []memWrite
	links    int
	locked   bool
}

// memWrite is a write, or a truncation to offset if data is nil.
type memWrite struct {
	offset int64
	data   []byte
}

func newMemDisk() *memDisk {
	return &memDisk{names: map[string]*memInode{}, durable: map[string]*memInode{}}
}

// set changes the limits of the disk, also while the tier is running.
func (d *memDisk) set(change func(d *memDisk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

// failing makes these operations fail with err; without operations, none fails.
func (d *memDisk) failing(err error, ops ...string) {
	d.set(func(d *memDisk) {
		d.fault = func(op, path string) error {
			for _, o := range ops {
				if o == op {
					return &fs.PathError{Op: op, Path: path, Err: err}
				}
			}
			return nil
		}
	})
}

// newest returns the path of the newest segment.
func (d *memDisk) newest() (path string) {
	d.set(func(d *memDisk) {
		for name := range d.names {
			if filepath.Ext(name) == ".seg" {
				path = max(path, name)
			}
		}
	})
	return path
}

func (d *memDisk) usedLocked() int64 {
	var n int64
	for _, i := range d.names {
		n += (int64(len(i.data)) + 4095) / 4096 * 4096
	}
	return n
}

func (d *memDisk) used() (n int64) {
	d.set(func(d *memDisk) { n = d.usedLocked() })
	return n
}

// afterPowerFailure returns the disk as the next boot may find it: any part of the unsynced data
// may be there, whole or torn.
func (d *memDisk) afterPowerFailure(random *rand.Rand) *memDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := newMemDisk()
	for name := range d.union() {
		inode := d.durable[name]
		if random.IntN(2) == 0 {
			inode = d.names[name]
		}
		if inode != nil {
			next.names[name] = inode.afterPowerFailure(random)
		}
	}
	next.durable = maps.Clone(next.names)
	return next
}

func (d *memDisk) union() map[string]*memInode {
	all := maps.Clone(d.durable)
	maps.Copy(all, d.names)
	return all
}

func (i *memInode) afterPowerFailure(random *rand.Rand) *memInode {
	left := &memInode{data: append([]byte(nil), i.synced...), links: 1}
	for _, w := range i.unsynced {
		switch random.IntN(3) {
		case 0: // lost
		case 1:
			left.apply(w)
		case 2:
			if len(w.data) > 0 { // torn
				w.data = w.data[:random.IntN(len(w.data))]
				left.apply(w)
			}
		}
	}
	left.synced = append([]byte(nil), left.data...)
	left.unsynced = nil
	return left
}

func (i *memInode) apply(w memWrite) {
	if w.data == nil {
		i.resize(w.offset)
		return
	}
	if end := w.offset + int64(len(w.data)); end > int64(len(i.data)) {
		i.resize(end)
	}
	copy(i.data[w.offset:], w.data)
}

func (i *memInode) resize(size int64) {
	if size <= int64(len(i.data)) {
		i.data = i.data[:size]
		return
	}
	i.data = append(i.data, make([]byte, size-int64(len(i.data)))...)
}

func (d *memDisk) failLocked(op, path string) error {
	if d.fault == nil {
		return nil
	}
	return d.fault(op, path)
}

func (d *memDisk) OpenFile(path string, flag int, _ fs.FileMode) (disktier.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	op := "open"
	inode := d.names[path]
	if inode == nil {
		op = "create"
	}
	if err := d.failLocked(op, path); err != nil {
		return nil, err
	}
	fail := func(err error) (disktier.File, error) {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	switch {
	case inode == nil && flag&os.O_CREATE == 0:
		return fail(syscall.ENOENT)
	case inode == nil && d.inodes > 0 && len(d.names) >= d.inodes:
		return fail(syscall.ENOSPC)
	case inode != nil && flag&os.O_EXCL != 0:
		return fail(syscall.EEXIST)
	case inode == nil:
		inode = &memInode{links: 1}
		d.names[path] = inode
	case flag&os.O_TRUNC != 0:
		inode.write(memWrite{})
	}
	return &memFile{disk: d, path: path, inode: inode}, nil
}

func (d *memDisk) ReadDir(dir string) (names []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.failLocked("readdir", dir); err != nil {
		return nil, err
	}
	for path := range d.names {
		if filepath.Dir(path) == dir {
			names = append(names, filepath.Base(path))
		}
	}
	return names, nil
}

func (d *memDisk) MkdirAll(dir string, _ fs.FileMode) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failLocked("mkdir", dir)
}

func (d *memDisk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.failLocked("rename", from); err != nil {
		return err
	}
	inode := d.names[from]
	if inode == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: syscall.ENOENT}
	}
	if old := d.names[to]; old != nil {
		old.links--
	}
	delete(d.names, from)
	d.names[to] = inode
	return nil
}

func (d *memDisk) Remove(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.failLocked("remove", path); err != nil {
		return err
	}
	inode := d.names[path]
	if inode == nil {
		return &fs.PathError{Op: "remove", Path: path, Err: syscall.ENOENT}
	}
	inode.links--
	delete(d.names, path)
	return nil
}

func (d *memDisk) SyncDir(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.failLocked("syncdir", dir); err != nil {
		return err
	}
	d.durable = maps.Clone(d.names)
	return nil
}

func (i *memInode) write(w memWrite) {
	i.unsynced = append(i.unsynced, w)
	i.apply(w)
}

type memFile struct {
	disk  *memDisk
	path  string
	inode *memInode
	holds bool // the lock
}

func (f *memFile) ReadAt(b []byte, offset int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.failLocked("read", f.path); err != nil {
		return 0, err
	}
	if offset >= int64(len(f.inode.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.inode.data[offset:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes what fits, as a full disk does.
func (f *memFile) WriteAt(b []byte, offset int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.failLocked("write", f.path); err != nil {
		return 0, err
	}
	n := int64(len(b))
	if c := f.disk.capacity; c > 0 {
		grown := max(0, offset+n-int64(len(f.inode.data)))
		if free := max(0, c-f.disk.usedLocked()); grown > free {
			n = max(0, n-(grown-free))
		}
	}
	if n > 0 {
		f.inode.write(memWrite{offset, append([]byte(nil), b[:n]...)})
	}
	if n < int64(len(b)) {
		return int(n), &fs.PathError{Op: "write", Path: f.path, Err: syscall.ENOSPC}
	}
	return int(n), nil
}

func (f *memFile) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.failLocked("truncate", f.path); err != nil {
		return err
	}
	f.inode.write(memWrite{offset: size})
	return nil
}

func (f *memFile) Datasync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.failLocked("sync", f.path); err != nil {
		return err
	}
	f.inode.synced = append([]byte(nil), f.inode.data...)
	f.inode.unsynced = nil
	return nil
}

func (f *memFile) Stat() (disktier.FileStat, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	size := int64(len(f.inode.data))
	return disktier.NewFileStat(size, (size+4095)/4096*4096, f.inode.links == 0), nil
}

func (f *memFile) Lock() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.inode.locked {
		return disktier.ErrLocked
	}
	f.inode.locked, f.holds = true, true
	return nil
}

func (f *memFile) Close() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.holds {
		f.inode.locked, f.holds = false, false
	}
	return nil
}

func (d *memDisk) String() string { return fmt.Sprintf("%d files, %d bytes", len(d.names), d.used()) }
