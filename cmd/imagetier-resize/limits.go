package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// resourceLimit is the most of something that this process may use.
type resourceLimit struct {
	name     string
	resource int
	value    uint64
}

// limit sets resource limits. memory is for data (RLIMIT_DATA), files is the maximum size of a
// written file, both in bytes.
func limit(memory int64, files uint64) error {
	for _, limit := range append(memoryLimits(uint64(memory)),
		resourceLimit{"file size", unix.RLIMIT_FSIZE, files},
		resourceLimit{"core", unix.RLIMIT_CORE, 0}, // a core dump would contain images
		resourceLimit{"open files", unix.RLIMIT_NOFILE, 64},
	) {
		value := limit.value
		var now unix.Rlimit
		if err := unix.Getrlimit(limit.resource, &now); err == nil && now.Max < value {
			value = now.Max // keep a stricter limit
		}
		if err := unix.Setrlimit(limit.resource, &unix.Rlimit{Cur: value, Max: value}); err != nil {
			return fmt.Errorf("limit %s: %w", limit.name, err)
		}
	}
	// If memory runs out, the kernel should kill this process, which loses one image, and not the
	// tier. Raising the score is always allowed; without /proc it fails, which does not matter.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
	return nil
}
