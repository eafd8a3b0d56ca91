package doctor

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// kinds names file systems by the magic number of statfs(2).
var kinds = map[int64]string{
	unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs", 0x2fc12fc1: "zfs",
	unix.TMPFS_MAGIC: "tmpfs", unix.RAMFS_MAGIC: "ramfs", unix.OVERLAYFS_SUPER_MAGIC: "overlayfs",
	unix.NFS_SUPER_MAGIC: "nfs", 0xff534d42: "cifs", unix.SMB2_SUPER_MAGIC: "smb2", unix.FUSE_SUPER_MAGIC: "fuse",
	unix.V9FS_MAGIC: "9p", unix.CEPH_SUPER_MAGIC: "ceph", unix.F2FS_SUPER_MAGIC: "f2fs",
}

// statFS returns the file system that holds a directory.
func statFS(dir string) (filesystem, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return filesystem{}, fmt.Errorf("statfs %s: %w", dir, err)
	}
	kind, ok := kinds[int64(s.Type)&0xffffffff]
	if !ok {
		kind = fmt.Sprintf("file system %#x", s.Type)
	}
	return filesystem{kind: kind, free: int64(s.Bavail) * s.Bsize}, nil
}
