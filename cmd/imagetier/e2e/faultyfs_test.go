package e2e

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// faultyDisk is a FUSE file system over a directory that fails the operations that a test selects.
// It does not use the page cache.
type faultyDisk struct {
	fuse.RawFileSystem // of the directory

	dir string // where it is mounted

	t       *testing.T
	failing atomic.Pointer[func(op diskOp, name string) syscall.Errno]
	failed  atomic.Int64 // operations
	held    atomic.Int64

	mu    sync.Mutex
	names map[uint64]string // last element of the path, by node
}

// diskOp is an operation that can be made to fail.
type diskOp int

const (
	opLookup  diskOp = iota // attributes as well
	opOpen                  // and lists of directories
	opRead                  // file contents
	opWrite                 // file contents
	opChange                // creates, changes or removes a file or a directory
	opDurable               // fsync
)

var (
	diskReads  = []diskOp{opRead}
	diskWrites = []diskOp{opWrite, opChange, opDurable}
	diskAll    = []diskOp{opLookup, opOpen, opRead, opWrite, opChange, opDurable}
)

// newFaultyDisk mounts a faultyDisk. It skips the test if that is not permitted.
func newFaultyDisk(t *testing.T) *faultyDisk {
	t.Helper()
	root, err := fs.NewLoopbackRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d := &faultyDisk{
		RawFileSystem: fs.NewNodeFS(root, &fs.Options{}), dir: t.TempDir(), t: t, names: make(map[uint64]string),
	}
	server, err := fuse.NewServer(d, d.dir, &fuse.MountOptions{
		DirectMountStrict: true, DisableReadDirPlus: true, MaxWrite: 1 << 20, FsName: "faulty",
	})
	if err != nil {
		t.Skipf("mounting a FUSE file system is not permitted here (%v): run it as root where /dev/fuse exists; "+
			"package disktier injects the same faults below its own code", err)
	}
	go server.Serve()
	if err := server.WaitMount(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(d.dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
		server.Wait()
	})
	return d
}

// fail makes these operations fail with err, from now on.
func (d *faultyDisk) fail(err syscall.Errno, ops ...diskOp) {
	failing := func(op diskOp, _ string) syscall.Errno {
		if slices.Contains(ops, op) {
			return err
		}
		return 0
	}
	d.failing.Store(&failing)
}

// hold blocks these operations on files with that suffix until release is called.
func (d *faultyDisk) hold(ending string, ops ...diskOp) (release func()) {
	released := make(chan struct{})
	holding := func(op diskOp, name string) syscall.Errno {
		if slices.Contains(ops, op) && strings.HasSuffix(name, ending) {
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

// repair makes all operations succeed again.
func (d *faultyDisk) repair() { d.failing.Store(nil) }

// status returns the result of an operation on node; OK if it is to be performed.
func (d *faultyDisk) status(op diskOp, node uint64) fuse.Status {
	failing := d.failing.Load()
	if failing == nil {
		return fuse.OK
	}
	d.mu.Lock()
	name := d.names[node]
	d.mu.Unlock()
	errno := (*failing)(op, name)
	if errno != 0 {
		d.failed.Add(1)
	}
	return fuse.Status(errno)
}

// do performs an operation on node unless it is to fail.
func (d *faultyDisk) do(op diskOp, node uint64, operation func() fuse.Status) fuse.Status {
	if status := d.status(op, node); !status.Ok() {
		return status
	}
	return operation()
}

// named remembers the name of a node.
func (d *faultyDisk) named(name string, entry *fuse.EntryOut, status fuse.Status) fuse.Status {
	if status.Ok() {
		d.mu.Lock()
		d.names[entry.NodeId] = name
		d.mu.Unlock()
	}
	return status
}

func (d *faultyDisk) Lookup(c <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	return d.do(opLookup, in.NodeId, func() fuse.Status {
		return d.named(name, out, d.RawFileSystem.Lookup(c, in, name, out))
	})
}

func (d *faultyDisk) GetAttr(c <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	return d.do(opLookup, in.NodeId, func() fuse.Status { return d.RawFileSystem.GetAttr(c, in, out) })
}

func (d *faultyDisk) SetAttr(c <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	return d.do(opChange, in.NodeId, func() fuse.Status { return d.RawFileSystem.SetAttr(c, in, out) })
}

func (d *faultyDisk) Mkdir(c <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return d.do(opChange, in.NodeId, func() fuse.Status { return d.RawFileSystem.Mkdir(c, in, name, out) })
}

func (d *faultyDisk) Unlink(c <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return d.do(opChange, in.NodeId, func() fuse.Status { return d.RawFileSystem.Unlink(c, in, name) })
}

func (d *faultyDisk) Rmdir(c <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return d.do(opChange, in.NodeId, func() fuse.Status { return d.RawFileSystem.Rmdir(c, in, name) })
}

func (d *faultyDisk) Rename(c <-chan struct{}, in *fuse.RenameIn, from, to string) fuse.Status {
	return d.do(opChange, in.NodeId, func() fuse.Status { return d.RawFileSystem.Rename(c, in, from, to) })
}

func (d *faultyDisk) Create(c <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	return d.do(opChange, in.NodeId, func() fuse.Status {
		status := d.named(name, &out.EntryOut, d.RawFileSystem.Create(c, in, name, out))
		out.OpenFlags = out.OpenFlags&^fuse.FOPEN_PASSTHROUGH | fuse.FOPEN_DIRECT_IO
		return status
	})
}

func (d *faultyDisk) Open(c <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return d.do(opOpen, in.NodeId, func() fuse.Status {
		status := d.RawFileSystem.Open(c, in, out)
		out.OpenFlags = out.OpenFlags&^fuse.FOPEN_PASSTHROUGH | fuse.FOPEN_DIRECT_IO
		return status
	})
}

func (d *faultyDisk) OpenDir(c <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return d.do(opOpen, in.NodeId, func() fuse.Status { return d.RawFileSystem.OpenDir(c, in, out) })
}

func (d *faultyDisk) ReadDir(c <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return d.do(opOpen, in.NodeId, func() fuse.Status { return d.RawFileSystem.ReadDir(c, in, out) })
}

func (d *faultyDisk) Read(c <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	if status := d.status(opRead, in.NodeId); !status.Ok() {
		return nil, status
	}
	return d.RawFileSystem.Read(c, in, buf)
}

func (d *faultyDisk) Write(c <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	if status := d.status(opWrite, in.NodeId); !status.Ok() {
		return 0, status
	}
	return d.RawFileSystem.Write(c, in, data)
}

func (d *faultyDisk) Fallocate(c <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	return d.do(opWrite, in.NodeId, func() fuse.Status { return d.RawFileSystem.Fallocate(c, in) })
}

// Fsync does nothing if it does not fail: the machine keeps running.
func (d *faultyDisk) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return d.status(opDurable, in.NodeId)
}

func (d *faultyDisk) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return d.status(opDurable, in.NodeId)
}
