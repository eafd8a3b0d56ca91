package doctor

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/novasocial/imagetier/internal/adminclient"
	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/doctor/finding"
)

// Memory compares the memory that the settings need with what there is. Settings that exceed the
// cgroup's limit are refused when they are loaded.
func Memory(_ context.Context, in Input) []Finding {
	return []Finding{memory(in.Config, os.DirFS("/"))}
}

// memory is Memory of a machine whose file system is root.
func memory(cfg config.Config, root fs.FS) Finding {
	const name = "memory"
	need := cfg.GoMemoryLimit() + int64(cfg.Children())*config.ChildMemory
	text := fmt.Sprintf("up to %d MiB needed, including %d resize processes", need>>20, cfg.Children())
	if limit, where := config.CgroupMemory(root); limit > 0 {
		return ok(name, "%s; %s allows %d MiB", text, where, limit>>20)
	}
	total := machineMemory(root)
	switch {
	case total == 0:
		return ok(name, "%s; no limit is set", text)
	case need > total:
		return fault(name, "lower --cache-memory-size or --workers: the kernel kills the tier when memory runs out",
			"%s, but this machine has %d MiB", text, total>>20)
	}
	return ok(name, "%s; this machine has %d MiB", text, total>>20)
}

// machineMemory returns the size of this machine's memory in bytes (MemTotal, proc(5)); 0 if that is not known.
func machineMemory(root fs.FS) int64 {
	text, _ := fs.ReadFile(root, "proc/meminfo")
	for line := range strings.Lines(string(text)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "MemTotal: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	return 0
}

// OpenFiles checks the limit on open files.
func OpenFiles(context.Context, Input) []Finding { return []Finding{finding.OpenFiles()} }

// Ports tries to listen on both addresses.
func Ports(ctx context.Context, in Input) []Finding {
	running := running(ctx, in.Config)
	return []Finding{
		finding.Port(ctx, "listen", in.Config.Listen, running),
		finding.Port(ctx, "private-listen", in.Config.PrivateListen, running),
	}
}

// running reports whether a tier runs with these settings.
func running(ctx context.Context, cfg config.Config) bool {
	tier := adminclient.Client{Listen: cfg.PrivateListen, Timeout: 2 * time.Second}
	status, _, _ := tier.Get(ctx, "/healthz")
	return status == http.StatusOK
}
