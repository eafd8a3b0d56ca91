package finding

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"strings"
	"syscall"

	"github.com/novasocial/imagetier/internal/httpserver"
)

// OpenFiles checks the limit on open files: below three files for each connection of a listener, both listeners take
// fewer connections.
func OpenFiles() Finding { return openFiles(httpserver.OpenFiles()) }

func openFiles(limit int) Finding {
	const (
		name = "open files"
		fix  = "raise the limit: LimitNOFILE=65536 in systemd, --ulimit nofile=65536 in docker"
	)
	switch connections := httpserver.ConnectionsFor(limit); {
	case limit < 1024:
		return Bad(name, fix, "the limit is only %d: every connection, file and process of the program needs one", limit)
	case connections < httpserver.DefaultMaxConnections:
		return Warn(name, fix, "with the limit of %d each listener takes %d connections instead of %d",
			limit, connections, httpserver.DefaultMaxConnections)
	}
	return Good(name, "the limit is %d", limit)
}

// SecretFlags returns a warning about settings whose secrets were given as flags; ok is false if no secret was.
func SecretFlags(names []string) (f Finding, ok bool) {
	return Warn("settings", "give them in the environment, or in files with --NAME-file",
		"secrets are given as flags, which every user of this machine can read: %s", strings.Join(names, ", ")), len(names) > 0
}

// Port tries to listen on the address of a setting. If running, the program serves already, probably there.
func Port(ctx context.Context, setting, addr string, running bool) Finding {
	name := "--" + setting + " " + addr
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", addr)
	switch {
	case err == nil:
		_ = l.Close()
		return Good(name, "free")
	case errors.Is(err, syscall.EADDRINUSE) && running:
		return Good(name, "in use by the running program: its private listener is healthy")
	case errors.Is(err, syscall.EADDRINUSE):
		return Bad(name, "stop what listens there (ss -ltnp), or give another --"+setting, "in use")
	case errors.Is(err, fs.ErrPermission):
		return Bad(name, "use a port above 1023, or AmbientCapabilities=CAP_NET_BIND_SERVICE", "%v", err)
	}
	return Bad(name, "use an address of this machine", "%v", err)
}
