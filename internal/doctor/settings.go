package doctor

import (
	"context"
	"net"
	"os"

	"github.com/novasocial/imagetier/internal/doctor/finding"
)

// Settings looks for settings that are allowed but unwise.
func Settings(_ context.Context, in Input) (found []Finding) {
	const name = "settings"
	cfg := in.Config
	warn := func(fix, format string, args ...any) { found = append(found, warning(name, fix, format, args...)) }
	if cfg.Dev && !loopback(cfg.Listen) {
		warn("leave out --dev or --listen", "--dev accepts unsigned URLs, and %s is reachable from other machines",
			cfg.Listen)
	}
	if len(cfg.Sources) == 0 {
		warn("give --source NAME=URL", "no source is configured, so there is nothing to serve")
	}
	if !loopback(cfg.PrivateListen) {
		warn("restrict access to it in the network, or use --private-listen 127.0.0.1:8081",
			"the private listener %s is reachable from other machines, with its metrics and profiles",
			cfg.PrivateListen)
	}
	if f, given := finding.SecretFlags(in.Resolved.SecretFlags()); given {
		found = append(found, f)
	}
	for _, v := range in.Resolved.Values {
		if v.SecretFile == "" {
			continue
		}
		if info, err := os.Stat(v.SecretFile); err == nil && info.Mode().Perm()&0o004 != 0 {
			warn("chmod o-r "+v.SecretFile, "every user of this machine can read %s, which holds --%s",
				v.SecretFile, v.Name)
		}
	}
	if len(found) == 0 {
		found = append(found, ok(name, "sources: %d, keys: %d", len(cfg.Sources), len(cfg.Keys)))
	}
	return found
}

// loopback reports whether a listen address can be reached from this machine only. An
// address that cannot be parsed is for the ports check.
func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	ip := net.ParseIP(host)
	return err != nil || host == "localhost" || ip != nil && ip.IsLoopback()
}
