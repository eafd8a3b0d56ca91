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

// ChildMemory is the assumed maximum of one resize process, in bytes. A larger one is replaced after its job
// (workers.Config.MaxRSS).
const ChildMemory = 256 << 20

// InFlight returns the budget of originals in flight, in bytes: InFlightSize, but at least the largest original.
func (c Config) InFlight() int64 { return max(c.InFlightSize, c.Limits.MaxBytes) }

// restMemory returns what the process needs beside the memory tier, in bytes: 250 MiB with the default InFlightSize.
func (c Config) restMemory() int64 { return 122<<20 + c.InFlight() }

// GoMemoryLimit returns the limit for debug.SetMemoryLimit, in bytes: MemorySize × 1.2 + restMemory.
func (c Config) GoMemoryLimit() int64 { return c.MemorySize + c.MemorySize/5 + c.restMemory() }

// Children returns the maximum number of resize processes: Workers, and those for expensive jobs.
func (c Config) Children() int { return c.Workers + workers.DefaultExpensiveWorkers(c.Workers) }

// checkMemory returns an error if the process and its children may need more than limit bytes, which file allows.
func (c Config) checkMemory(limit int64, file string) error {
	children := int64(c.Children()) * ChildMemory
	need := c.GoMemoryLimit() + children
	if need <= limit {
		return nil
	}
	advice := "raise the limit, or lower --workers"
	if room := (limit - children - c.restMemory()) / 6 * 5 >> 20 << 20; room >= 8<<20 {
		advice = "raise the limit, or set --cache-memory-size " + settings.FormatSize(room) + ", or lower --workers"
	}
	return fmt.Errorf("%s × 1.2 + %s + %d children × %s = %s, but %s allows %s: %s",
		settings.FormatSize(c.MemorySize), mib(c.restMemory()), c.Children(), settings.FormatSize(ChildMemory),
		mib(need), file, mib(limit), advice)
}

func mib(n int64) string { return strconv.FormatInt(n>>20, 10) + "MiB" }

// CgroupMemory returns the lowest memory limit, in bytes, of the cgroup of this process and its parents, and the file
// that has it; 0 if there is no limit. root is the file system from /. It knows cgroup v2 (memory.max) and v1
// (memory.limit_in_bytes).
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
				lowerLimit(root, "sys/fs/cgroup", cgroup, "memory.max", &limit, &where)
			case "memory":
				lowerLimit(root, "sys/fs/cgroup/memory", cgroup, "memory.limit_in_bytes", &limit, &where)
			}
		}
	}
	return limit, where
}

// unlimited is a lower bound for the number in v1 without a limit: the largest multiple of a page.
const unlimited = 1 << 62

// lowerLimit looks for a lower limit in a cgroup and its parents. In a container the path may be the host's, of which
// only the mount itself exists.
func lowerLimit(root fs.FS, mount, cgroup, file string, limit *int64, where *string) {
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
