package doctor

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/novasocial/imagetier/internal/adminclient"
	"github.com/novasocial/imagetier/internal/config"
)

// Memory reports the memory that the settings need. Settings that exceed the cgroup's
// limit are refused when they are loaded.
func Memory(_ context.Context, in Input) []Finding {
	const name = "memory"
	need := in.Config.GoMemoryLimit() + int64(in.Config.Children())*config.ChildMemory
	limit, where := config.CgroupMemory(os.DirFS("/"))
	if limit == 0 {
		return []Finding{ok(name, "up to %d MiB needed, including %d resize processes; no limit is set", need>>20, in.Config.Children())}
	}
	return []Finding{ok(name, "up to %d MiB needed, including %d resize processes; %s allows %d MiB",
		need>>20, in.Config.Children(), where, limit>>20)}
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
	tier := adminclient.Client{Listen: in.Config.PrivateListen, Timeout: 2 * time.Second}
	status, _, _ := tier.Get(ctx, "/healthz")
	running := status == http.StatusOK
	return []Finding{
		port(ctx, "listen", in.Config.Listen, running),
		port(ctx, "private-listen", in.Config.PrivateListen, running),
	}
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
