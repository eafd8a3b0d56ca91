package dirorigin

import "syscall"

// times returns when the content and when the inode of a file were last changed, in ns since 1970.
func times(st *syscall.Stat_t) (mtime, ctime int64) { return st.Mtim.Nano(), st.Ctim.Nano() }
