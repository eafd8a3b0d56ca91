package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/novasocial/imagetier/internal/adminclient"
	"github.com/novasocial/imagetier/internal/config"
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

// OpenFiles checks the limit on open files. Go raises the soft limit to the hard one when
// a program starts, so the soft one is what counts.
func OpenFiles(context.Context, Input) []Finding {
	const name, fix = "open files", "raise the limit: LimitNOFILE=65536 in systemd, --ulimit nofile=65536 in docker"
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return []Finding{warning(name, fix, "the limit cannot be read: %v", err)}
	}
	switch {
	case limit.Cur < 1024:
		return []Finding{fault(name, fix, "the limit is only %d: every client, disk segment and worker needs one", limit.Cur)}
	case limit.Cur < 8192:
		return []Finding{warning(name, fix, "the limit is only %d: every client, disk segment and worker needs one", limit.Cur)}
	}
	return []Finding{ok(name, "the limit is %d", limit.Cur)}
}

// Ports tries to listen on both addresses.
func Ports(ctx context.Context, in Input) []Finding {
	running := running(ctx, in.Config)
	return []Finding{
		port(ctx, "listen", in.Config.Listen, running),
		port(ctx, "private-listen", in.Config.PrivateListen, running),
	}
}

// running reports whether a tier runs with these settings.
func running(ctx context.Context, cfg config.Config) bool {
	tier := adminclient.Client{Listen: cfg.PrivateListen, Timeout: 2 * time.Second}
	status, _, _ := tier.Get(ctx, "/healthz")
	return status == http.StatusOK
}

func port(ctx context.Context, setting, addr string, running bool) Finding {
	name := "--" + setting + " " + addr
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", addr)
	switch {
	case err == nil:
		_ = l.Close()
		return ok(name, "free")
	case errors.Is(err, syscall.EADDRINUSE) && running:
		return ok(name, "in use by a running tier: its private listener is healthy")
	case errors.Is(err, syscall.EADDRINUSE):
		return fault(name, "stop what listens there (ss -ltnp), or give another --"+setting, "in use")
	case errors.Is(err, fs.ErrPermission):
		return fault(name, "use a port above 1023, or AmbientCapabilities=CAP_NET_BIND_SERVICE", "%v", err)
	}
	return fault(name, "use an address of this machine", "%v", err)
}
