package config_test

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/program/programtest"
	"github.com/novasocial/imagetier/internal/settings"
	"github.com/novasocial/imagetier/prefetch/profile"
	"github.com/novasocial/imagetier/resize"
)

const (
	secret1 = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
	secret2 = "whsec_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0"

	hex1 = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	hex2 = "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"
)

// machine has two cores and no memory limit.
func machine() config.Machine {
	return config.Machine{
		Root: fstest.MapFS{}, Cores: 2,
		Executable:   func() (string, error) { return "/opt/bin/imagetier", nil },
		UserCacheDir: func() (string, error) { return "/home/u/.cache", nil },
	}
}

func input(t *testing.T, args, environ []string) config.Input {
	t.Helper()
	return config.Input{Input: settings.Input{Flags: programtest.Flags(args), Environ: environ}, Machine: machine()}
}

func load(t *testing.T, args ...string) (config.Config, error) {
	t.Helper()
	c, _, err := config.Load(input(t, args, nil))
	return c, err
}

func TestSchema_Check(t *testing.T) {
	if err := config.Schema().Check(); err != nil {
		t.Error(err)
	}
}

// otherValues has a value for every setting that is not its default.
func otherValues(t *testing.T) map[string]string {
	cert, key := certificate(t)
	return map[string]string{
		"listen": "127.0.0.1:9080", "private-listen": "[::1]:9081", "tls-cert": cert,
		"tls-key": key, "max-connections-per-address": "256", "admin-token": "open-sesame-0123",
		"source": "posts=s3://bucket/prefix?region=eu-central-1&originals=yes,old=dir:///srv/old%2C1,new=https://images.example.com/", "keys": "k2=" + hex2 + ",k1=" + hex1,
		"dev": "true", "allow-private-origins": "true", "cache-dir": "/var/cache/x", "cache-memory-size": "100MiB",
		"cache-disk-size": "50GiB", "cache-originals-size": "7GB", "workers": "3", "resize-command": "/usr/libexec/r",
		"resize-memory": "2GiB", "in-flight-size": "200MiB",
		"max-original-bytes": "64MiB", "max-megapixels": "12.5", "max-side": "9000", "max-frames": "10",
		"mezzanine": "2048", "watermark": "logo=" + write(t, markPNG(t, 8)),
		"origin-timeout": "3s", "resize-timeout": "1m", "negative-ttl": "0s",
		"live-ttl": "1h30m", "heuristic-ttl": "0s", "stale-if-error": "0s",
		"drain-timeout": "5s", "log-level": "debug", "log-format": "text", "access-log": "1/100",
		"derived":         "s3://made/tier?region=eu-central-1",
		"webhook-secrets": secret1 + "," + secret2, "warm": "all", "wasted-after": "90m",
		"profiles": profilesFile(t), "balancer": "http://10.0.0.7:8080",
		"image-prefix":    "https://cdn.app.example/=new?version=query:v,/u/=new?version=etag",
		"s3-events-token": "open-sesame-open-sesame", "stream-replicas": "1",
		"s3-events-sns-topic": "arn:aws:sns:eu-central-1:123456789012:photos",
		"nats":                "nats://queue:sesame@10.0.0.8:4222,tls://10.0.0.9:4222",
		"cdn-tags":            "cache-tag", "purge-hook": "https://adapter.example/purges",
		"purge-secrets": secret2 + "," + secret1,
	}
}

// profilesFile writes a file with one profile.
func profilesFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "profiles.yaml")
	if err := os.WriteFile(path, []byte("feed: [880x.webp, 440x.avif]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoad_FlagVariableAndKeyAreEqual(t *testing.T) {
	values, schema := otherValues(t), config.Schema()
	byDefault, err := load(t, "--keys", "k0="+hex1)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range schema.Settings {
		if x.Name == settings.ConfigName {
			continue
		}
		value, ok := values[x.Name]
		if !ok {
			t.Errorf("%s is not in the table", x.Name)
			continue
		}
		// Settings that the tested setting requires.
		also := map[string]string{"keys": "k0=" + hex1}
		if strings.HasPrefix(x.Name, "tls-") {
			also["tls-cert"], also["tls-key"] = values["tls-cert"], values["tls-key"]
		}
		if x.Name == "image-prefix" {
			also["source"] = "new=https://images.example.com/"
		}
		if strings.HasPrefix(x.Name, "purge-") {
			also["purge-hook"], also["purge-secrets"] = values["purge-hook"], values["purge-secrets"]
		}
		also[x.Name] = value

		var args, environ []string
		var dotted strings.Builder
		for name, value := range also {
			args = append(args, "--"+name+"="+value)
			environ = append(environ, "IMAGETIER_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))+"="+value)
			fmt.Fprintf(&dotted, "%s: %q\n", strings.ReplaceAll(name, "-", "."), value)
		}
		flag, _, err1 := config.Load(input(t, args, nil))
		env, _, err2 := config.Load(input(t, nil, environ))
		file, _, err3 := config.Load(input(t, []string{"--config", write(t, dotted.String())}, nil))
		nested, _, err4 := config.Load(input(t, []string{"--config", write(t, nest(also))}, nil))
		if err1 != nil || err2 != nil || err3 != nil || err4 != nil {
			t.Errorf("%s: flag %v, environment %v, file %v, nested %v", x.Name, err1, err2, err3, err4)
			continue
		}
		if reflect.DeepEqual(flag, byDefault) {
			t.Errorf("%s=%s changes nothing", x.Name, value)
		}
		if !reflect.DeepEqual(flag, env) || !reflect.DeepEqual(flag, file) || !reflect.DeepEqual(flag, nested) {
			t.Errorf("%s:\nflag        %+v\nenvironment %+v\nfile        %+v\nnested      %+v",
				x.Name, flag, env, file, nested)
		}
	}
}

// nest formats settings as nested YAML mappings.
func nest(values map[string]string) string {
	var b strings.Builder
	written := map[string]bool{}
	var names []string
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		words := strings.Split(name, "-")
		for i := range words {
			prefix := strings.Join(words[:i+1], ".")
			if written[prefix] {
				continue
			}
			written[prefix] = true
			fmt.Fprintf(&b, "%s%s:", strings.Repeat("  ", i), words[i])
			if i == len(words)-1 {
				fmt.Fprintf(&b, " %q", values[name])
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "imagetier.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoad_Defaults(t *testing.T) {
	c, err := load(t, "--keys", "k1="+hex1)
	if err != nil {
		t.Fatal(err)
	}
	keys := c.Keys
	c.Keys = nil
	links, err := profile.NewLinks()
	if err != nil {
		t.Fatal(err)
	}
	want := config.Config{
		Listen: ":8080", PrivateListen: "127.0.0.1:8081", CacheDir: "./cache",
		MemorySize: 512 << 20, DiskSize: 10 << 30, OriginalsSize: 5 << 30,
		Workers: 2, ResizeCommand: "/opt/bin/imagetier-resize", ResizeMemory: 1280 << 20,
		InFlightSize: 128 << 20,
		Limits:       resize.DefaultLimits(), Mezzanine: 1440,
		OriginTimeout: 5 * time.Second, ResizeTimeout: 10 * time.Second,
		NegativeTTL: 10 * time.Second, LiveTTL: 24 * time.Hour,
		HeuristicTTL: 24 * time.Hour, StaleIfError: 168 * time.Hour,
		DrainTimeout: 25 * time.Second, LogFormat: "json", AccessLog: config.AccessLog{Errors: true},
		Secrets: []string{hex1},
		Warm:    "adaptive", StreamReplicas: 3, WastedAfter: 6 * time.Hour, CDNTags: "none",
		Profiles: profile.BuiltIn(), Links: links,
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("%+v\nwant %+v", c, want)
	}
	if len(keys) != 1 || keys[0].ID != "k1" || len(keys[0].Secret) != 32 {
		t.Errorf("%v", keys)
	}
	if c.GoMemoryLimit() != 512<<20+512<<20/5+250<<20 {
		t.Errorf("%d", c.GoMemoryLimit())
	}
}

func TestLoad_DevDefaults(t *testing.T) {
	c, err := load(t, "--dev")
	if err != nil || c.Listen != "127.0.0.1:8080" || c.PrivateListen != "127.0.0.1:8081" ||
		c.CacheDir != "/home/u/.cache/imagetier" ||
		c.LogFormat != "text" {
		t.Errorf("%+v, %v", c, err)
	}
	signer, err := c.Signer()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signer.Parse("/i/_/640x/live/posts/a.jpg"); err != nil {
		t.Error(err)
	}
	if c, err = load(t, "--dev", "--listen", ":80", "--cache-dir", "x", "--log-format", "json"); err != nil ||
		c.Listen != ":80" ||
		c.CacheDir != "x" ||
		c.LogFormat != "json" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestLoad_RequiresKeys(t *testing.T) {
	for _, args := range [][]string{nil, {"--keys="}, {"--keys", " "}, {"--dev=false"}} {
		if c, err := load(t, args...); err == nil || !strings.Contains(err.Error(), "no keys") {
			t.Errorf("%v: %+v, %v", args, c, err)
		}
	}
	if _, err := (config.Config{}).Signer(); err == nil {
		t.Error("a signer without keys")
	}
}

func TestLoad_KeysFile(t *testing.T) {
	path := write(t, "k2="+hex2+"\nk1="+hex1+"\n")
	c, err := load(t, "--keys-file", path)
	if err != nil || len(c.Keys) != 2 || c.Keys[0].ID != "k2" || !slices.Equal(c.Secrets, []string{hex2, hex1}) {
		t.Errorf("%v %v %v", c.Keys, c.Secrets, err)
	}
}

func TestLoad_Faults(t *testing.T) {
	for _, c := range []struct{ flag, says string }{
		{"--listen=8080", "--listen: \"8080\": want host:port"},
		{"--listen=:http", "want host:port"},
		{"--listen=:70000", "want host:port"},
		{"--listen=:080", "want host:port"},
		{"--listen=a b:1", "want host:port"},
		{"--private-listen=:8080", "public listener's address too"},
		{"--tls-cert=x", "--tls-cert: needs --tls-key"},
		{"--tls-key=x", "--tls-key: needs --tls-cert"},
		{"--admin-token=0123456789 abcdef", "without spaces"},
		{"--admin-token=0123456789abcde", "has 15 bytes, at least 16 are required"},
		{"--source=posts", "want NAME=URL"},
		{"--source=Posts=dir:///x", "begins with a letter"},
		{"--source=a=dir:///x,a=dir:///y", "source a is a duplicate"},
		{"--source=a=ftp://x", "source a: \"ftp://x\" is not the URL of a source"},
		{"--source=a=dir:///x?color=blue", "unknown parameter \"color\""},
		{"--keys=k1=abcd", "want at least 32"},
		{"--keys=k1=" + hex1 + ",k1=" + hex2, "duplicate"},
		{"--dev=maybe", "want true or false"},
		{"--cache-dir=", "want a path"},
		{"--cache-memory-size=1MiB", "want at least 8MiB"},
		{"--cache-disk-size=10G", "want a size like 50GiB"},
		{"--cache-originals-size=-1", "want a size"},
		{"--workers=0", "from 1 to 1024"},
		{"--workers=two", "from 1 to 1024"},
		{"--resize-command=", "want a path"},
		{"--max-megapixels=0", "millions of pixels"},
		{"--max-megapixels=1e3", "millions of pixels"},
		{"--max-megapixels=NaN", "millions of pixels"},
		{"--max-side=0", "whole number"},
		{"--max-frames=0", "whole number"},
		{"--mezzanine=9000", "whole number from 0 to 8192"},
		{"--watermark=logo", "want NAME=FILE"},
		{"--watermark=Logo=x", "a name has 1-16 of a-z 0-9"},
		{"--watermark=logo=/nonexistent.png", "watermark logo: stat /nonexistent.png"},
		{"--watermark=logo=/", "watermark logo: / is not a regular file"},
		{"--watermark=logo=" + write(t, "<svg xmlns='http://www.w3.org/2000/svg'/>"), "unsupported kind of image: SVG"},
		{"--watermark=logo=" + write(t, markPNG(t, 8)[:44]), "truncated within"},
		{"--watermark=logo=" + write(t, markPNG(t, 8)) + ",logo=y", "watermark logo is a duplicate"},
		{"--origin-timeout=5", "want a time"},
		{"--origin-timeout=0s", "want a time"},
		{"--resize-timeout=-1s", "want a time"},
		{"--live-ttl=9000h", "want a time"},
		{"--log-level=trace", "debug, info, warn or error"},
		{"--log-format=xml", "json, text"},
		{"--access-log=1/0", "1/1 to 1/1000000"}, {"--access-log=1/+5", "off, errors, all"},
		{"--access-log=5%", "off, errors, all"},
		{"--warm=some", "adaptive, all, none"},
		{"--webhook-secrets=" + hex1, "secret 1 does not begin with whsec_"},
		{"--webhook-secrets=" + secret1 + ",whsec_" + hex1[:8] + "!", "secret 2 is not base64"},
		{"--webhook-secrets=whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=", "secret 1 has 23 bytes, needs at least 24"},
		{"--webhook-secrets=" + secret1 + "," + secret1, "secret 2 is a duplicate"},
		{"--profiles=/nonexistent/profiles.yaml", "--profiles: profiles: stat"},
		{"--image-prefix=https://cdn.app.example/", "PREFIX that ends in /"},
		{"--image-prefix=https://cdn.app.example/=posts", "there is no source \"posts\""},
		{"--balancer=balancer:8080", "want a URL like http://balancer:8080"},
		{"--balancer=http://user:sesame@balancer", "want a URL like"},
		{"--nats=localhost:4222", "want URLs like nats://host:4222"},
		{"--nats=nats://a:4222,http://b", "want URLs like nats://host:4222"},
		{"--cdn-tags=yes", "none, surrogate-key, cache-tag"},
		{"--purge-hook=https://adapter.example/", "--purge-secrets"},
		{"--purge-hook=adapter.example", "want a URL like"},
		{"--purge-hook=https://" + hex1[:8] + ":x@adapter.example/", "without user and password"},
		{"--purge-secrets=" + secret1, "--purge-hook"},
		{"--purge-secrets=" + hex1, "secret 1 does not begin with whsec_"},
		{"--derived=dir:///srv", "want s3://bucket/prefix"},
		{"--derived=s3://bucket/x?originals=yes", "only for --source"},
		{"--derived=s3://bucket/x?etag=opaque", "only for --source"},
		{"--derived=s3://bucket/x?request-payer=yes", "only for --source"},
	} {
		_, _, err := config.Load(input(t, []string{c.flag}, []string{"IMAGETIER_KEYS=k0=" + hex1}))
		var faults settings.Faults
		if !errors.As(err, &faults) || len(faults) != 1 || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want one fault that says %q", c.flag, err, c.says)
		}
		if err != nil && strings.Contains(err.Error(), hex1[:8]) {
			t.Errorf("%s: a secret is shown: %v", c.flag, err)
		}
	}
}

func TestLoad_ReadsWatermarks(t *testing.T) {
	first, second := write(t, markPNG(t, 8)), write(t, markPNG(t, 9))
	c, err := load(t, "--dev", "--watermark", "logo="+first, "--watermark", "other="+second)
	if err != nil || len(c.Watermarks) != 2 {
		t.Fatal(c.Watermarks, err)
	}
	logo, other := c.Watermarks[0], c.Watermarks[1]
	if logo.Name != "logo" || string(logo.Bytes) != markPNG(t, 8) || len(logo.Digest) != 16 ||
		logo.Digest == other.Digest {
		t.Errorf("%+v, %+v", logo, other)
	}
}

// markPNG returns a square PNG with that side, in pixels.
func markPNG(t *testing.T, side int) string {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewNRGBA(image.Rect(0, 0, side, side))); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestLoad_IgnoresForeignVariables(t *testing.T) {
	environ := []string{"IMAGETIER_GATEWAY_KEYS=x", "AWS_REGION=x", "OTEL_SERVICE_NAME=x", "IMAGETIERX=1", "PATH=/bin",
		"IMAGETIER_SERVICE_HOST=10.0.0.1", "IMAGETIER_SERVICE_PORT_HTTP=80", "IMAGETIER_PORT=tcp://10.0.0.1:80",
		"IMAGETIER_PORT_80_TCP=x", "IMAGETIER_PRIVATE_SERVICE_HOST=10.0.0.1"}
	if _, _, err := config.Load(input(t, []string{"--dev"}, environ)); err != nil {
		t.Error(err)
	}
	if _, _, err := config.Load(input(t, []string{"--dev"}, []string{"IMAGETIER_PORTS=1"})); err == nil {
		t.Error("IMAGETIER_PORTS is accepted")
	}
}

func TestLoad_MemoryMustFitCgroup(t *testing.T) {
	need := int64(512<<20+512<<20/5+250<<20) + 3*config.ChildMemory
	for _, c := range []struct {
		name string
		root fs.FS
		fits bool
		at   string
	}{
		{"none", fstest.MapFS{}, true, ""},
		{"v2, just enough", v2("/", need), true, ""},
		{"v2, one byte less", v2("/", need-1), false, "/sys/fs/cgroup/memory.max"},
		{"v2, the one around it", v2("/a.slice/b.scope", need-1), false, "/sys/fs/cgroup/a.slice/memory.max"},
		{"v1", fstest.MapFS{
			"proc/self/cgroup": {
				Data: []byte("5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n1:name=systemd:/docker/x\n"),
			},
			// as seen from inside a container
			"sys/fs/cgroup/memory/memory.limit_in_bytes": {Data: []byte("104857600\n")},
		}, false, "/sys/fs/cgroup/memory/memory.limit_in_bytes"},
		{"v1, no limit", fstest.MapFS{
			"proc/self/cgroup":                           {Data: []byte("4:memory:/\n")},
			"sys/fs/cgroup/memory/memory.limit_in_bytes": {Data: []byte("9223372036854771712\n")},
		}, true, ""},
	} {
		in := input(t, []string{"--dev"}, nil)
		in.Machine.Root = c.root
		_, _, err := config.Load(in)
		if c.fits {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if err == nil ||
			!strings.Contains(
				err.Error(),
				"--cache-memory-size: 512MiB × 1.2 + 250MiB + 3 children × 256MiB = 1632MiB, but "+c.at+" allows ",
			) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// The suggested size fits.
	in := input(t, []string{"--dev"}, nil)
	in.Machine.Root = v2("/", 5<<28)
	_, _, err := config.Load(in)
	_, advice, ok := strings.Cut(fmt.Sprint(err), "--cache-memory-size ")
	advice, _, _ = strings.Cut(advice, ",")
	if !ok {
		t.Fatal(err)
	}
	in = input(t, []string{"--dev", "--cache-memory-size", advice}, nil)
	in.Machine.Root = v2("/", 5<<28)
	if _, _, err := config.Load(in); err != nil {
		t.Errorf("advised %s: %v", advice, err)
	}
}

// v2 is a machine with cgroup v2 whose process is in that cgroup. limit is set on the outermost
// cgroup below the root, or on the root itself.
func v2(cgroup string, limit int64) fs.FS {
	at := "sys/fs/cgroup/memory.max"
	if first, _, ok := strings.Cut(strings.TrimPrefix(cgroup, "/"), "/"); ok {
		at = "sys/fs/cgroup/" + first + "/memory.max"
	}
	return fstest.MapFS{
		"proc/self/cgroup":                {Data: []byte("0::" + cgroup + "\n")},
		at:                                {Data: fmt.Appendln(nil, limit)},
		"sys/fs/cgroup" + cgroup + "/max": {Data: []byte("max\n")},
	}
}

func TestLoad_Only(t *testing.T) {
	in := input(t, nil, []string{"IMAGETIER_LISTEN=nonsense", "IMAGETIER_PRIVATE_LISTEN=:1"})
	in.Only = []string{"private-listen"}
	if c, _, err := config.Load(in); err != nil || c.PrivateListen != ":1" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestResolved_YAML_ReadsBack(t *testing.T) {
	var args []string
	for name, value := range otherValues(t) {
		args = append(args, "--"+name+"="+value)
	}
	c, resolved, err := config.Load(input(t, args, nil))
	if err != nil {
		t.Fatal(err)
	}
	text := resolved.YAML()
	for _, secret := range c.Secrets {
		if strings.Contains(text, secret) {
			t.Errorf("%s is shown:\n%s", secret, text)
		}
	}
	args = []string{"--config", write(t, text)}
	for _, name := range []string{
		"keys", "admin-token", "s3-events-token", "webhook-secrets", "purge-secrets", "nats",
	} {
		args = append(args, "--"+name, otherValues(t)[name])
	}
	back, _, err := config.Load(input(t, args, nil))
	if err != nil || !reflect.DeepEqual(back, c) {
		t.Errorf("%v\n%+v\n%+v\n%s", err, back, c, text)
	}
}

func TestLoad_Profiles(t *testing.T) {
	path := profilesFile(t)
	c, err := load(t, "--dev", "--profiles", path)
	if err != nil {
		t.Fatal(err)
	}
	feed, _ := c.Profiles.Get("feed")
	if _, ok := c.Profiles.Get("avatar"); !ok || len(feed.Specs()) != 2 || feed.Specs()[1].Format != resize.AVIF {
		t.Errorf("%v, %v", c.Profiles.Names(), feed.Specs())
	}
	if err := os.WriteFile(path, []byte("feed: [880x.webp, 0x.webp]\nbad name: [1x.jpg]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := load(t, "--dev", "--profiles", path); err == nil || !strings.Contains(err.Error(), "feed[1]") ||
		!strings.Contains(err.Error(), "bad name") {
		t.Errorf("%v, want both faults", err)
	}
}

func TestLoad_PrefixOfHTTPSourceKeepsQuery(t *testing.T) {
	c, err := load(
		t,
		"--dev", "--source", "web=https://images.example.com/,posts=dir:///srv",
		"--image-prefix", "https://a.example/=web", "--image-prefix", "https://b.example/=posts",
	)
	if err != nil {
		t.Fatal(err)
	}
	for plain, name := range map[string]string{
		"https://a.example/x%20y?z=1": "x%20y?z=1", "https://b.example/x%20y?z=1": "x y",
	} {
		if link, err := c.Links.Image(plain); err != nil || link.Name != name {
			t.Errorf("%s: %q, %v, want %q", plain, link.Name, err, name)
		}
	}
}

func TestLoad_NATSPasswordIsSecret(t *testing.T) {
	c, err := load(
		t,
		"--dev", "--nats", "nats://queue:sesame@10.0.0.8:4222,tls://a-token@10.0.0.9,nats://10.0.0.1:4222",
		"--webhook-secrets", secret1+"\n"+secret2,
	)
	if err != nil || !slices.Equal(c.Secrets, []string{secret1, secret2, "sesame", "a-token"}) ||
		!slices.Equal(c.WebhookSecrets, []string{secret1, secret2}) {
		t.Errorf("%q, %v", c.Secrets, err)
	}
}
