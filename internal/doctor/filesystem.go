package doctor

// filesystem holds the cache.
type filesystem struct {
	kind string // ext4, xfs, …
	free int64  // bytes that this user can write
}

// unsuitable says why a cache should not be on such a file system; "" if it may.
func (f filesystem) unsuitable() (why, fix string) {
	switch f.kind {
	case "nfs", "cifs", "smb2", "fuse", "9p", "ceph":
		return "file locks and fsync over a network are slow or unreliable", "put --cache-dir on a local disk"
	case "tmpfs", "ramfs":
		return "it is memory: the cgroup counts it, and a restart loses it", "put --cache-dir on a disk"
	case "overlayfs":
		return "it is deleted with the container", "mount a volume at --cache-dir"
	}
	return "", ""
}
