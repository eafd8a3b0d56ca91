package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// faultyDisk is a file system in user space that passes everything on to a directory,
// and fails the operations that a test chooses. The kernel's protocol is that of linux/fuse.h, as
// much of it as a tier needs.
type faultyDisk struct {
	dir string // where it is mounted

	t       *testing.T
	backing string
	fd      int // of /dev/fuse
	failing atomic.Pointer[func(op uint32, path string) syscall.Errno]
	failed  atomic.Int64 // operations
	held    atomic.Int64

	mu      sync.Mutex
	paths   map[uint64]string // by node, below backing; 1 is the root
	nodes   map[string]uint64
	handles map[uint64]handle
	last    uint64 // node or handle
}

type handle struct {
	node uint64
	file *os.File
}

// What is asked of a FUSE file system (linux/fuse.h, enum fuse_opcode).
const (
	fuseLookup      = 1
	fuseForget      = 2
	fuseGetattr     = 3
	fuseSetattr     = 4
	fuseMkdir       = 9
	fuseUnlink      = 10
	fuseRmdir       = 11
	fuseRename      = 12
	fuseOpen        = 14
	fuseRead        = 15
	fuseWrite       = 16
	fuseStatfs      = 17
	fuseRelease     = 18
	fuseFsync       = 20
	fuseFlush       = 25
	fuseInit        = 26
	fuseOpendir     = 27
	fuseReaddir     = 28
	fuseReleasedir  = 29
	fuseFsyncdir    = 30
	fuseCreate      = 35
	fuseInterrupt   = 36
	fuseDestroy     = 38
	fuseBatchForget = 42
	fuseRename2     = 45

	fuseHeader    = 40 // bytes before what is asked
	fuseDirectIO  = 1  // every read and write comes here, none is answered from the page cache
	fuseSetSize   = 1 << 3
	fuseMaxWrite  = 1 << 20
	fuseInBuffer  = fuseMaxWrite + 4096
	fuseAttrBytes = 88
)

// The operations that change something, and those that read file contents.
var (
	diskReads  = []uint32{fuseRead}
	diskWrites = []uint32{
		fuseSetattr,
		fuseMkdir,
		fuseUnlink,
		fuseRmdir,
		fuseRename,
		fuseRename2,
		fuseWrite,
		fuseFsync,
		fuseFsyncdir,
		fuseCreate,
	}
	diskAll = append([]uint32{fuseRead, fuseOpen, fuseOpendir, fuseReaddir, fuseLookup, fuseGetattr}, diskWrites...)
)

// newFaultyDisk mounts one, or skips the test where that is not permitted.
func newFaultyDisk(t *testing.T) *faultyDisk {
	t.Helper()
	d := &faultyDisk{
		t: t, dir: t.TempDir(), backing: t.TempDir(),
		paths: map[uint64]string{1: ""}, nodes: map[string]uint64{"": 1}, handles: map[uint64]handle{}, last: 1,
	}
	fd, err := syscall.Open("/dev/fuse", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf(
			"there is no FUSE here (%v): run it as root where /dev/fuse is; package disktier injects the same faults below its own code",
			err,
		)
	}
	d.fd = fd
	options := fmt.Sprintf(
		"fd=%d,rootmode=40755,user_id=%d,group_id=%d,max_read=%d",
		fd,
		os.Getuid(),
		os.Getgid(),
		fuseMaxWrite,
	)
	if err := syscall.Mount("faulty", d.dir, "fuse", syscall.MS_NODEV|syscall.MS_NOSUID, options); err != nil {
		syscall.Close(fd)
		t.Skipf(
			"mounting a FUSE file system is not permitted here (%v): run it as root; package disktier injects the same faults below its own code",
			err,
		)
	}
	var serving sync.WaitGroup
	for range 8 {
		serving.Go(d.serve)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(d.dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
		serving.Wait() // the kernel ends them: nothing has a file open any more
		syscall.Close(fd)
		for _, h := range d.handles {
			h.file.Close()
		}
	})
	return d
}

// fail makes these operations fail with err, from now on.
func (d *faultyDisk) fail(err syscall.Errno, ops ...uint32) {
	failing := func(op uint32, _ string) syscall.Errno {
		if slices.Contains(ops, op) {
			return err
		}
		return 0
	}
	d.failing.Store(&failing)
}

// hold lets these operations on files of that ending wait, from now on until release is called.
func (d *faultyDisk) hold(ending string, ops ...uint32) (release func()) {
	released := make(chan struct{})
	holding := func(op uint32, path string) syscall.Errno {
		if slices.Contains(ops, op) && strings.HasSuffix(path, ending) {
			d.held.Add(1)
			<-released
		}
		return 0
	}
	d.failing.Store(&holding)
	release = sync.OnceFunc(func() {
		d.repair()
		close(released)
	})
	d.t.Cleanup(release)
	return release
}

// repair lets all operations succeed again.
func (d *faultyDisk) repair() { d.failing.Store(nil) }

// serve answers what the kernel asks, until the file system is unmounted.
func (d *faultyDisk) serve() {
	in := make([]byte, fuseInBuffer)
	for {
		n, err := syscall.Read(d.fd, in)
		switch {
		case err == syscall.EINTR, err == syscall.ENOENT: // the question was taken back
			continue
		case err != nil:
			return
		}
		op, unique := binary.LittleEndian.Uint32(in[4:]), binary.LittleEndian.Uint64(in[8:])
		if op == fuseForget || op == fuseBatchForget || op == fuseInterrupt {
			continue // none of them wants an answer
		}
		var out []byte
		errno := syscall.Errno(0)
		if failing := d.failing.Load(); failing != nil {
			errno = (*failing)(op, d.pathOf(binary.LittleEndian.Uint64(in[16:])))
		}
		if errno != 0 {
			d.failed.Add(1)
		} else if out, err = d.do(op, binary.LittleEndian.Uint64(in[16:]), in[fuseHeader:n]); err != nil {
			out, errno = nil, errnoOf(err)
		}
		answer := binary.LittleEndian.AppendUint32(nil, uint32(16+len(out)))
		answer = binary.LittleEndian.AppendUint32(answer, uint32(-int32(errno)))
		answer = binary.LittleEndian.AppendUint64(answer, unique)
		_, _ = syscall.Write(d.fd, append(answer, out...)) // who asked may be gone
	}
}

func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return syscall.EIO
}

// do does what is asked of node, and returns the answer.
func (d *faultyDisk) do(op uint32, node uint64, in []byte) ([]byte, error) {
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(in[at:]) }
	u64 := func(at int) uint64 { return binary.LittleEndian.Uint64(in[at:]) }
	switch op {
	case fuseInit:
		out := make([]byte, 64)
		binary.LittleEndian.PutUint32(out, 7)
		binary.LittleEndian.PutUint32(out[4:], 31)
		binary.LittleEndian.PutUint32(out[20:], fuseMaxWrite)
		return out, nil
	case fuseDestroy, fuseFlush:
		return nil, nil
	case fuseStatfs:
		return d.statfs()
	case fuseLookup:
		return d.entry(d.below(node, in))
	case fuseGetattr:
		return d.attributes(node)
	case fuseSetattr:
		if u32(0)&fuseSetSize != 0 {
			if err := d.onFile(node, func(f *os.File) error { return f.Truncate(int64(u64(16))) }); err != nil {
				return nil, err
			}
		}
		return d.attributes(node)
	case fuseMkdir:
		path := d.below(node, in[8:])
		if err := os.Mkdir(d.on(path), fs.FileMode(u32(0)&0o777)); err != nil {
			return nil, err
		}
		return d.entry(path)
	case fuseUnlink, fuseRmdir:
		return nil, d.remove(d.below(node, in))
	case fuseRename:
		return nil, d.rename(node, u64(0), in[8:])
	case fuseRename2:
		return nil, d.rename(node, u64(0), in[16:])
	case fuseOpen, fuseOpendir:
		return d.open(node, int(u32(0)))
	case fuseCreate:
		path := d.below(node, in[16:])
		f, err := os.OpenFile(d.on(path), int(u32(0))&^syscall.O_NOFOLLOW, fs.FileMode(u32(4)&0o777))
		if err != nil {
			return nil, err
		}
		entry, err := d.entry(path)
		if err != nil {
			f.Close()
			return nil, err
		}
		return append(entry, d.opened(binary.LittleEndian.Uint64(entry), f)...), nil
	case fuseRelease, fuseReleasedir:
		d.mu.Lock()
		h := d.handles[u64(0)]
		delete(d.handles, u64(0))
		d.mu.Unlock()
		return nil, h.file.Close()
	}
	d.mu.Lock()
	h, ok := d.handles[u64(0)]
	d.mu.Unlock()
	if !ok {
		return nil, syscall.ENOSYS
	}
	switch op {
	case fuseRead:
		b := make([]byte, u32(16))
		n, err := syscall.Pread(int(h.file.Fd()), b, int64(u64(8)))
		return b[:max(n, 0)], err
	case fuseWrite:
		n, err := syscall.Pwrite(int(h.file.Fd()), in[40:40+u32(16)], int64(u64(8)))
		return binary.LittleEndian.AppendUint64(nil, uint64(max(n, 0))), err
	case fuseFsync, fuseFsyncdir:
		return nil, nil // no power fails here
	case fuseReaddir:
		return d.list(h, u64(8), int(u32(16)))
	}
	return nil, syscall.ENOSYS
}

// on returns where a path of this file system is in the backing directory.
func (d *faultyDisk) on(path string) string { return filepath.Join(d.backing, path) }

func (d *faultyDisk) pathOf(node uint64) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.paths[node]
}

// below returns the path of a name, as it stands in a question, in a directory.
func (d *faultyDisk) below(node uint64, name []byte) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return filepath.Join(d.paths[node], string(name[:bytes.IndexByte(name, 0)]))
}

// onFile calls do with the file of node, which may have no name any more.
func (d *faultyDisk) onFile(node uint64, do func(*os.File) error) error {
	d.mu.Lock()
	for _, h := range d.handles {
		if h.node == node {
			defer d.mu.Unlock()
			return do(h.file)
		}
	}
	path, ok := d.paths[node]
	d.mu.Unlock()
	if !ok {
		return syscall.ENOENT
	}
	f, err := os.OpenFile(d.on(path), os.O_RDWR, 0)
	if errors.Is(err, syscall.EISDIR) {
		f, err = os.Open(d.on(path))
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return do(f)
}

func (d *faultyDisk) statfs() ([]byte, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(d.backing, &st); err != nil {
		return nil, err
	}
	var out []byte
	for _, n := range []uint64{st.Blocks, st.Bfree, st.Bavail, st.Files, st.Ffree} {
		out = binary.LittleEndian.AppendUint64(out, n)
	}
	for _, n := range []uint32{uint32(st.Bsize), 255, uint32(st.Frsize)} {
		out = binary.LittleEndian.AppendUint32(out, n)
	}
	return append(out, make([]byte, 80-len(out))...), nil
}

func appendAttributes(b []byte, node uint64, st *syscall.Stat_t) []byte {
	for _, n := range []uint64{
		node, uint64(st.Size), uint64(st.Blocks), uint64(st.Atim.Sec), uint64(st.Mtim.Sec), uint64(st.Ctim.Sec),
	} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	for _, n := range []uint32{
		uint32(st.Atim.Nsec), uint32(st.Mtim.Nsec), uint32(st.Ctim.Nsec),
		st.Mode, uint32(st.Nlink), st.Uid, st.Gid, 0, 4096, 0,
	} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return b
}

// attributes answers a getattr. Nothing is valid for any time: each question comes here.
func (d *faultyDisk) attributes(node uint64) ([]byte, error) {
	var st syscall.Stat_t
	if err := d.onFile(node, func(f *os.File) error { return syscall.Fstat(int(f.Fd()), &st) }); err != nil {
		return nil, err
	}
	return appendAttributes(make([]byte, 16, 16+fuseAttrBytes), node, &st), nil
}

// entry answers with the node of a path.
func (d *faultyDisk) entry(path string) ([]byte, error) {
	var st syscall.Stat_t
	if err := syscall.Lstat(d.on(path), &st); err != nil {
		return nil, err
	}
	d.mu.Lock()
	node := d.nodes[path]
	if node == 0 {
		d.last++
		node = d.last
		d.nodes[path], d.paths[node] = node, path
	}
	d.mu.Unlock()
	out := binary.LittleEndian.AppendUint64(nil, node)
	return appendAttributes(append(out, make([]byte, 32)...), node, &st), nil
}

// forgetLocked takes the name from a node.
func (d *faultyDisk) forgetLocked(path string) (node uint64) {
	node = d.nodes[path]
	delete(d.nodes, path)
	delete(d.paths, node)
	return node
}

func (d *faultyDisk) remove(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := os.Remove(d.on(path)); err != nil {
		return err
	}
	d.forgetLocked(path)
	return nil
}

func (d *faultyDisk) rename(from, to uint64, names []byte) error {
	old := d.below(from, names)
	renamed := d.below(to, names[bytes.IndexByte(names, 0)+1:])
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := os.Rename(d.on(old), d.on(renamed)); err != nil {
		return err
	}
	node := d.forgetLocked(old)
	d.forgetLocked(renamed)
	d.nodes[renamed], d.paths[node] = node, renamed
	return nil
}

func (d *faultyDisk) open(node uint64, flags int) ([]byte, error) {
	d.mu.Lock()
	path, ok := d.paths[node]
	d.mu.Unlock()
	if !ok {
		return nil, syscall.ENOENT
	}
	f, err := os.OpenFile(d.on(path), flags&(syscall.O_ACCMODE|syscall.O_TRUNC), 0)
	if err != nil {
		return nil, err
	}
	return d.opened(node, f), nil
}

func (d *faultyDisk) opened(node uint64, f *os.File) []byte {
	d.mu.Lock()
	d.last++
	d.handles[d.last] = handle{node, f}
	out := binary.LittleEndian.AppendUint64(nil, d.last)
	d.mu.Unlock()
	return binary.LittleEndian.AppendUint64(out, fuseDirectIO)
}

// list answers with the names of a directory, from one on, as many as fit.
func (d *faultyDisk) list(h handle, from uint64, most int) (out []byte, err error) {
	entries, err := os.ReadDir(h.file.Name())
	if err != nil {
		return nil, err
	}
	for i, e := range entries {
		length := (24 + len(e.Name()) + 7) / 8 * 8
		if uint64(i) < from {
			continue
		}
		if len(out)+length > most {
			break
		}
		end := len(out) + length
		out = binary.LittleEndian.AppendUint64(out, uint64(i)+2) // any number but 0
		out = binary.LittleEndian.AppendUint64(out, uint64(i)+1)
		out = binary.LittleEndian.AppendUint32(out, uint32(len(e.Name())))
		out = binary.LittleEndian.AppendUint32(out, 0) // of unknown kind
		out = append(out, e.Name()...)
		out = append(out, make([]byte, end-len(out))...)
	}
	return out, nil
}
