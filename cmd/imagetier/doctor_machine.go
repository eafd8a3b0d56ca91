package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/novasocial/imagetier/internal/adminclient"
	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/settings"
	"github.com/novasocial/imagetier/resize/workers"
	"github.com/novasocial/imagetier/resize/workers/wire"
)

// settings looks for what is allowed and still unwise.
func (d *doctor) settings() {
	const what = "settings"
	before := len(d.findings)
	if d.cfg.Dev {
		if host, _, err := net.SplitHostPort(d.cfg.Listen); err == nil && !loopback(host) {
			d.warn(what, "leave out --dev, or --listen", "--dev accepts URLs without a signature, and %s can be reached from other machines", d.cfg.Listen)
		}
	}
	if len(d.cfg.Sources) == 0 {
		d.warn(what, "give --source NAME=URL", "there is no source: there is nothing to serve")
	}
	if host, _, err := net.SplitHostPort(d.cfg.PrivateListen); err == nil && !loopback(host) {
		d.warn(what, "keep the network from it, or --private-listen 127.0.0.1:8081", "the private listener %s can be reached from other machines: whoever does can read metrics and profiles", d.cfg.PrivateListen)
	}
	if n := len(d.cfg.AdminToken); n > 0 && n < 16 {
		d.warn(what, "take one of `openssl rand -hex 32`", "the admin token has %d characters, which can be guessed", n)
	}
	for _, v := range d.resolved.Values {
		if v.SecretFile == "" {
			continue
		}
		if info, err := os.Stat(v.SecretFile); err == nil && info.Mode().Perm()&0o004 != 0 {
			d.warn(what, "chmod o-r "+v.SecretFile, "every user of this machine can read %s, which holds --%s", v.SecretFile, v.Name)
		}
	}
	if len(d.findings) == before {
		d.ok(what, "sources: %d, keys: %d", len(d.cfg.Sources), len(d.cfg.Keys))
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// needed are the codecs without which URLs of the grammar fail.
var needed = struct{ loads, saves []string }{
	loads: []string{"jpeg", "png", "webp", "gif", "avif"},
	saves: []string{"jpg", "png", "webp", "avif"},
}

// codecs asks imagetier-resize what it can.
func (d *doctor) codecs(ctx context.Context) {
	const what = "codecs"
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	args := []string{"--capabilities"}
	for _, w := range d.cfg.Watermarks {
		args = append(args, "--watermark", w.Name+"="+w.File) // it starts with all of them or not at all
	}
	cmd := exec.CommandContext(ctx, d.cfg.ResizeCommand, args...)
	cmd.Env = workers.DefaultEnv()
	cmd.WaitDelay = time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, exec.ErrNotFound):
		d.fault(what, "`make build` puts both programs into bin/; or give --resize-command", "there is no %s", d.cfg.ResizeCommand)
		return
	case err != nil:
		d.fault(what, "run `"+d.cfg.ResizeCommand+" --capabilities`; is libvips installed (`make deps`)?", "%s does not start: %v: %s", d.cfg.ResizeCommand, err, adminclient.OneLine(stderr.Bytes()))
		return
	}
	var can wire.Hello
	if err := json.Unmarshal(out, &can); err != nil {
		d.fault(what, "build both programs from one source", "%s gives no answer that can be read: %v", d.cfg.ResizeCommand, err)
		return
	}
	missing := func(want, have []string) (lost []string) {
		for _, name := range want {
			if !slices.Contains(have, name) {
				lost = append(lost, name)
			}
		}
		return lost
	}
	loads, saves := missing(needed.loads, can.Loads), missing(needed.saves, can.Saves)
	if len(loads)+len(saves) > 0 {
		d.fault(what, "install a libvips that has them (Debian: libvips42 and libheif1)", "libvips %s cannot read %s or write %s", can.Libvips, orNone(loads), orNone(saves))
	} else {
		d.ok(what, "libvips %s reads %s and writes %s", can.Libvips, strings.Join(can.Loads, ", "), strings.Join(can.Saves, ", "))
	}
	if len(can.Missing) > 0 {
		d.warn("sandbox", "allow them to the container, or take a newer kernel", "resize processes run with %s, but without %s", orNone(can.Sandbox), strings.Join(can.Missing, "; "))
	} else {
		d.ok("sandbox", "resize processes run with %s", strings.Join(can.Sandbox, ", "))
	}
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, ", ")
}

// memory compares the budget with what the cgroup allows; what does not fit has been refused with
// the settings.
func (d *doctor) memory() {
	need := d.cfg.GoMemoryLimit() + int64(d.cfg.Children())*config.ChildMemory
	limit, where := config.CgroupMemory(os.DirFS("/"))
	if limit == 0 {
		d.ok("memory", "up to %d MiB are needed, %d resize processes included; there is no limit", need>>20, d.cfg.Children())
		return
	}
	d.ok("memory", "up to %d MiB are needed, %d resize processes included; %s allows %d MiB", need>>20, d.cfg.Children(), where, limit>>20)
}

// files looks at how many files and connections may be open. Go has raised the soft limit
// to the hard one.
func (d *doctor) files() {
	const what, mend = "open files", "raise the limit: LimitNOFILE=65536 of systemd, --ulimit nofile=65536 of docker"
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		d.warn(what, mend, "the limit cannot be read: %v", err)
		return
	}
	switch {
	case limit.Cur < 1024:
		d.fault(what, mend, "only %d may be open: one for every client, segment and worker", limit.Cur)
	case limit.Cur < 8192:
		d.warn(what, mend, "only %d may be open: one for every client, segment and worker", limit.Cur)
	default:
		d.ok(what, "%d may be open", limit.Cur)
	}
}

// disk looks at the directory of the cache, which serve makes if it is not there.
func (d *doctor) disk() {
	what := "cache directory " + d.cfg.CacheDir
	dir, err := filepath.Abs(d.cfg.CacheDir)
	if err != nil {
		d.fault(what, "give --cache-dir an absolute path", "%v", err)
		return
	}
	there := dir
	for {
		info, err := os.Stat(there)
		if err == nil && !info.IsDir() {
			d.fault(what, "move it away, or give another --cache-dir", "%s is no directory", there)
			return
		}
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || there == filepath.Dir(there) {
			d.fault(what, "let this user in, or give another --cache-dir", "%v", err)
			return
		}
		there = filepath.Dir(there)
	}
	if err := writable(there); err != nil {
		d.fault(what, "chown it to the user that imagetier runs as, or give another --cache-dir", "it cannot be written: %v", err)
		return
	}
	d.space(what, dir, there)
}

func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".imagetier-doctor-*")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 4096))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}

// space compares the budgets with what is free and what the cache already takes.
func (d *doctor) space(what, dir, there string) {
	budget := d.cfg.DiskSize + d.cfg.OriginalsSize
	disk, err := diskAt(there)
	if err != nil {
		d.warn(what, "look with df", "free space cannot be read: %v", err)
		return
	}
	if why, mend := disk.unfit(); why != "" {
		d.warn(what, mend, "it is on %s: %s", disk.kind, why)
	}
	taken := sizeOf(dir)
	if free := disk.free + taken; free < budget {
		d.warn(what, "a smaller --cache-disk-size or --cache-originals-size; a full disk costs no answer, but hits",
			"the budgets are %s, and only %d MiB are free or taken by the cache already", settings.FormatSize(budget), free>>20)
		return
	}
	d.ok(what, "it can be written; %d MiB are free on %s, the budgets are %s", disk.free>>20, disk.kind, settings.FormatSize(budget))
}

func sizeOf(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			if info, err := entry.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}

// disk is what holds the cache.
type disk struct {
	kind string // ext4, xfs, …
	free int64  // bytes for this user
}

// unfit says why a cache should not be on such a file system.
func (d disk) unfit() (why, mend string) {
	switch d.kind {
	case "nfs", "cifs", "smb2", "fuse", "9p", "ceph":
		return "locks and syncs over a network are slow or do not hold", "put --cache-dir on a local disk"
	case "tmpfs", "ramfs":
		return "it is memory, which the cgroup counts, and does not survive a restart", "put --cache-dir on a disk"
	case "overlayfs":
		return "it goes away with the container", "mount a volume at --cache-dir"
	}
	return "", ""
}

// ports tries to listen where serve would.
func (d *doctor) ports(ctx context.Context) {
	tier := adminclient.Client{Listen: d.cfg.PrivateListen, Timeout: 2 * time.Second}
	status, _, _ := tier.Get(ctx, "/healthz")
	runs := status == http.StatusOK
	for _, x := range []struct{ name, addr string }{{"listen", d.cfg.Listen}, {"private-listen", d.cfg.PrivateListen}} {
		what := "--" + x.name + " " + x.addr
		var config net.ListenConfig
		l, err := config.Listen(ctx, "tcp", x.addr)
		switch {
		case err == nil:
			_ = l.Close()
			d.ok(what, "it is free")
		case errors.Is(err, syscall.EADDRINUSE) && runs:
			d.ok(what, "it is taken, and the private listener says that it is well: imagetier runs already")
		case errors.Is(err, syscall.EADDRINUSE):
			d.fault(what, "end what listens there (ss -ltnp), or give another --"+x.name, "it is taken")
		case errors.Is(err, fs.ErrPermission):
			d.fault(what, "a port over 1023, or AmbientCapabilities=CAP_NET_BIND_SERVICE", "%v", err)
		default:
			d.fault(what, "give an address of this machine", "%v", err)
		}
	}
}
