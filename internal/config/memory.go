package config

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/novasocial/imagetier/internal/settings"
	"github.com/novasocial/imagetier/resize/workers"
)

// ChildMemory is what one resize process is reckoned to take, in bytes: one that has grown
// past it is replaced after its job (workers.Config.MaxRSS).
const ChildMemory = 256 << 20

// GoMemoryLimit returns the limit to give to debug.SetMemoryLimit, in bytes: memory size
// × 1.2 + 250 MiB (CONTRACT 4).
func (c Config) GoMemoryLimit() int64 { return goMemoryLimit(c.MemorySize) }

func goMemoryLimit(memorySize int64) int64 { return memorySize + memorySize/5 + 250<<20 }

// Children is how many resize processes there may be: --workers of them, and those that do
// dear jobs.
func (c Config) Children() int { return c.Workers + workers.DearChildren(c.Workers) }

// fits returns an error if the process and its children may need more than limit bytes.
func (c Config) fits(limit int64, where string) error {
	children := int64(c.Children()) * ChildMemory
	need := c.GoMemoryLimit() + children
	if need <= limit {
		return nil
	}
	advice := "give the cgroup more, or fewer --workers"
	if room := (limit - children - 250<<20) / 6 * 5 >> 20 << 20; room >= 8<<20 {
		advice = fmt.Sprintf("give the cgroup more, or --cache-memory-size %s, or fewer --workers", settings.FormatSize(room))
	}
	return fmt.Errorf("%s × 1.2 + 250MiB + %d children × %s = %s, but %s allows %s: %s",
		settings.FormatSize(c.MemorySize), c.Children(), settings.FormatSize(ChildMemory), mib(need), where, mib(limit), advice)
}

func mib(n int64) string { return strconv.FormatInt(n>>20, 10) + "MiB" }

// CgroupMemory returns the least limit of memory, in bytes, of the cgroup of this process
// and those around it, and the file that says so; 0 if there is none. root is the file system
// from /. It knows cgroup v2 (memory.max) and v1 (memory.limit_in_bytes).
func CgroupMemory(root fs.FS) (limit int64, where string) {
	b, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0, ""
	}
	for line := range strings.Lines(string(b)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, cgroup, ok := strings.Cut(rest, ":")
		if !ok {
			continue
		}
		for _, c := range strings.Split(controllers, ",") {
			switch c {
			case "": // v2 has one line, 0::/path
				least(root, "sys/fs/cgroup", cgroup, "memory.max", &limit, &where)
			case "memory":
				least(root, "sys/fs/cgroup/memory", cgroup, "memory.limit_in_bytes", &limit, &where)
			}
		}
	}
	return limit, where
}

// unlimited is near what v1 says where there is no limit: the largest multiple of a page.
const unlimited = 1 << 62

// least looks for a smaller limit in a cgroup and in all around it. In a container the
// path may be the host's, of which only the mount itself is there.
func least(root fs.FS, mount, cgroup, file string, limit *int64, where *string) {
	for dir := path.Join(mount, path.Clean("/"+cgroup)); ; dir = path.Dir(dir) {
		if b, err := fs.ReadFile(root, path.Join(dir, file)); err == nil {
			n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
			if err == nil && n > 0 && n < unlimited && (*limit == 0 || n < *limit) {
				*limit, *where = n, "/"+path.Join(dir, file)
			}
		}
		if dir == mount {
			return
		}
	}
}
