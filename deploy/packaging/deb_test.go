package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// installAndServe runs in a mount namespace of its own: over this machine's root it puts an empty layer, which is
// what the packages are installed in, and starts the tier there as the unit does. It prints a signed path first.
const installAndServe = `set -e
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
cp "$2"/*_"$3".deb "$1/root/tmp/"
mount --rbind /dev "$1/root/dev"
exec 3>&1 1>&2
chroot "$1/root" sh -ec '
  mount -t proc proc /proc
  dpkg -i /tmp/imagetier*.deb
  install -d -o 65534 /run/credentials /var/cache/imagetier /srv/photos
  cp /etc/imagetier/keys /etc/imagetier/admin-token /etc/imagetier/webhook-secrets /run/credentials
  chown 65534 /run/credentials/*
  printf "%s" "$PHOTO" | base64 -d >/srv/photos/a.png
  imagetier version
  imagetier-gateway version
  imagetier sign --keys-file /etc/imagetier/keys --source posts --name a.png --version v.1 --spec 2x --format webp >&3
  exec setpriv --reuid 65534 --clear-groups --no-new-privs env \
    IMAGETIER_KEYS_FILE=/run/credentials/keys IMAGETIER_ADMIN_TOKEN_FILE=/run/credentials/admin-token \
    IMAGETIER_WEBHOOK_SECRETS_FILE=/run/credentials/webhook-secrets IMAGETIER_CACHE_DIR=/var/cache/imagetier \
    imagetier serve --config /etc/imagetier/imagetier.yaml --listen 127.0.0.1:0 --private-listen 127.0.0.1:0 \
    --source posts=dir:///srv/photos --cache-memory-size 64MiB --workers 1
'
`

// photo is a PNG of 4×4 grey pixels, as base64.
const photo = "iVBORw0KGgoAAAANSUhEUgAAAAQAAAAECAAAAACMmsGiAAAADklEQVR4nGNoAAIGVAIAUBQIAXAlrj8AAAAASUVORK5CYII="

func TestPackages_InstallAndServe(t *testing.T) {
	dist := os.Getenv("DIST")
	if dist == "" {
		t.Skip("DIST is not set: make test-release sets it")
	}
	if os.Geteuid() != 0 {
		t.Skip("mounting an empty layer over the root needs root")
	}
	debs, err := filepath.Glob(filepath.Join(dist, "imagetier*_"+runtime.GOARCH+".deb"))
	if err != nil || len(debs) != 3 {
		t.Fatalf("%q, %v: want the tier, its resize program and the gateway", debs, err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--propagation", "private", "--pid", "--fork",
		"--kill-child", "bash", "-c", installAndServe, "bash", t.TempDir(), dist, runtime.GOARCH)
	cmd.Env = append(os.Environ(), "PHOTO="+photo)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGKILL) }
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	public := make(chan string, 1)
	go func() {
		defer close(public)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			t.Log(lines.Text())
			var line struct{ Msg, Public string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
				public <- line.Public
			}
		}
	}()
	path, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("no signed path: %v", err)
	}
	var at string
	select {
	case at = <-public:
	case <-time.After(time.Minute):
	}
	if at == "" {
		t.Fatal("the tier does not serve")
	}
	resp, err := http.Get(at + strings.TrimSpace(path))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "image/webp" {
		t.Errorf("%s %s, %v: %.300s", resp.Status, resp.Header.Get("Content-Type"), err, body)
	}
}

// The archives are complete and match the checksums.
func TestRelease_Checksums(t *testing.T) {
	dist := os.Getenv("DIST")
	if dist == "" {
		t.Skip("DIST is not set: make test-release sets it")
	}
	sum := exec.CommandContext(t.Context(), "sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS")
	sum.Dir = dist
	if out, err := sum.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, pattern := range []string{
		"imagetier_*_linux_" + runtime.GOARCH + ".tar.gz", "imagetier_*.cdx.json", "imagetier-resize_*.cdx.json",
		"imagetier-gateway_*.cdx.json", "imagetier-gateway_*_oci/index.json",
	} {
		if found, err := filepath.Glob(filepath.Join(dist, pattern)); err != nil || len(found) != 1 {
			t.Errorf("%s: %q, %v", pattern, found, err)
		}
	}
	var index struct {
		Manifests []struct {
			Platform struct{ OS, Architecture string }
		}
	}
	layouts, _ := filepath.Glob(filepath.Join(dist, "*_oci", "index.json"))
	for _, file := range layouts {
		text, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(text, &index)
		}
		if err != nil || len(index.Manifests) == 0 || index.Manifests[0].Platform.OS != "linux" {
			t.Errorf("%s: %v, %+v", file, err, index)
		}
	}
}
