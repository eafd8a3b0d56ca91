package settings_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/internal/program/programtest"
	"github.com/novasocial/imagetier/internal/settings"
)

// testConfig is the configuration of the test program.
type testConfig struct {
	listen string
	size   int64
	wait   time.Duration
	on     bool
	items  []string
	token  string
	file   string
}

func (c *testConfig) schema() *settings.Schema {
	return &settings.Schema{
		Prefix: "APP_",
		Settings: []settings.Setting{
			{Name: "config", Help: "h", Value: settings.String(&c.file)},
			{Name: "listen", Help: "h", Default: ":1", Value: settings.String(&c.listen)},
			{Name: "cache-disk-size", Help: "h", Default: "1GiB", Value: settings.Size(&c.size, 1)},
			{Name: "cache-wait", Help: "h", Default: "5s", Value: settings.Duration(&c.wait, 0, time.Hour)},
			{Name: "on", Help: "h", Default: "false", Value: settings.Bool(&c.on)},
			{Name: "item", Help: "h", Value: settings.List(func() { c.items = nil }, func(item string) error {
				if item == "bad" || item == "worse" {
					return errors.New(item + " is not an item")
				}
				c.items = append(c.items, item)
				return nil
			}, func() []string { return c.items })},
			{Name: "admin-token", Help: "h", Secret: true, Value: settings.String(&c.token)},
		},
		Foreign: func(v string) bool { return v == "APP_FOREIGN" },
	}
}

// read resolves settings as a program does. yaml is the text of the file, "" for no file. FILE stands for its name in
// the returned error.
func read(t *testing.T, args, environ []string, yaml string, only ...string) (testConfig, *settings.Resolved, string) {
	t.Helper()
	var c testConfig
	schema := c.schema()
	if err := schema.Check(); err != nil {
		t.Fatal(err)
	}
	c = testConfig{}
	path := filepath.Join(t.TempDir(), "app.yaml")
	if yaml != "" {
		if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append([]string{"--config", path}, args...)
	}
	r := schema.Resolve(settings.Input{Flags: programtest.Flags(args), Environ: environ, Only: only})
	faults := ""
	if err := r.Err(); err != nil {
		faults = strings.ReplaceAll(err.Error(), path, "FILE")
	}
	return c, r, faults
}

func TestSchema_Resolve_Precedence(t *testing.T) {
	yaml, env, flag := "cache:\n  disk: {size: 2GiB}\n", []string{
		"APP_CACHE_DISK_SIZE=3GiB",
	}, []string{
		"--cache-disk-size", "4GiB",
	}
	for _, c := range []struct {
		flag, env []string
		yaml      string
		want      int64
		place     string
	}{
		{nil, nil, "", 1 << 30, "default"},
		{nil, nil, yaml, 2 << 30, "file FILE:2:10"},
		{nil, env, yaml, 3 << 30, "environment APP_CACHE_DISK_SIZE"},
		{flag, env, yaml, 4 << 30, "flag --cache-disk-size"},
		{flag, nil, yaml, 4 << 30, "flag --cache-disk-size"},
		{nil, []string{"APP_CACHE_DISK_SIZE="}, yaml, 2 << 30, "file FILE:2:10"}, // empty is unset
	} {
		got, r, faults := read(t, c.flag, c.env, c.yaml)
		place := r.Place("cache-disk-size").String()
		if at := strings.Index(place, "/"); at >= 0 {
			place = place[:at] + "FILE" + place[strings.Index(place, ".yaml")+len(".yaml"):]
		}
		if faults != "" || got.size != c.want || place != c.place {
			t.Errorf("%v %v %q: %d from %q, %s; want %d from %q",
				c.flag, c.env, c.yaml, got.size, place, faults, c.want, c.place)
		}
	}
}

func TestSchema_Resolve_ReportsAllFaults(t *testing.T) {
	_, _, faults := read(
		t,
		[]string{"--cache-wait", "soon", "--listen", "a", "--listen", "b", "--item", "bad,good", "--item", "worse"},
		[]string{
			"APP_CACHE_DISC_SIZE=1",
			"APP_ON=yes",
			"APP_NATS=x",
			"HOME=/",
			"APP_FOREIGN=1",
			"APP_SERVICE_HOST=10.0.0.1",
			"APP_PORT_8080_TCP_ADDR=10.0.0.1",
		},
		"cache:\n  disk:\n    sise: 5\nimage:\n  prefix: x\nlisten: {a: b}\n",
	)
	want := `10 faults in the settings
  --listen: given 2 times, but takes one value
  APP_CACHE_DISC_SIZE: unknown; the nearest is APP_CACHE_DISK_SIZE
  APP_NATS: unknown; the nearest is APP_ON
  FILE:3:5: cache.disk.sise: unknown; the nearest is cache.disk.size
  FILE:4:1: image: unknown; the nearest is item
  FILE:6:9: listen: want a plain value
  --cache-wait: "soon": want a time from 0s to 1h, like 200ms, 5s or 1h30m
  APP_ON: "yes": want true or false
  --item: bad is not an item
  --item: worse is not an item`
	if faults != want {
		t.Errorf("said\n%s\nwant\n%s", faults, want)
	}
}

func TestSchema_Resolve_FileFaults(t *testing.T) {
	for _, c := range []struct{ yaml, says string }{
		{"listen: [a]\n", "FILE:1:9: listen takes one value, not a list"},
		{"listen: a\nlisten: b\n", "FILE:2:1: listen is a duplicate of FILE:1:1"},
		{"cache.disk.size: 1GiB\ncache: {disk: {size: 2GiB}}\n",
			"FILE:2:16: cache.disk.size is a duplicate of FILE:1:1"},
		{"listen:\n", "FILE:1:1: listen has no value"},
		{"listen: *x\n", "FILE:1:9: listen: want a plain value"},
		{"cache: 5GiB\n", "FILE:1:1: cache cannot have a value; it contains cache.disk.size, cache.wait"},
		{"cache:\n", "FILE:1:1: cache is empty"},
		{"cache-disk-size: 5GiB\n", "FILE:1:1: cache-disk-size: unknown; the nearest is cache.disk.size"},
		{"lisen: x\n", "FILE:1:1: lisen: unknown; the nearest is listen"},
		{"config: x\n", "FILE:1:1: config: unknown; the nearest is on"},
		{"- a\n", "FILE:1:1: want keys and values, like cache.disk.size: 50GiB"},
		{"listen: a\n---\nlisten: b\n", "FILE:3:7: second YAML document; settings are one document"},
		{"item: [[a]]\n", "FILE:1:8: item: want a plain value as item"},
		{"admin:\n  token: hush\n  token-file: /x\n", "FILE:2:3: FILE:3:3 is set too; set only one of them"},
	} {
		if _, _, faults := read(t, nil, nil, c.yaml); faults != c.says {
			t.Errorf("%q: said %q, want %q", c.yaml, faults, c.says)
		}
	}
	_, _, faults := read(t, nil, nil, "admin:\n  token: hush\n listen: [\n")
	if !strings.HasPrefix(faults, "FILE:") || !strings.Contains(faults, "not YAML") ||
		strings.Contains(faults, "hush") {
		t.Errorf("a file that is not YAML: %q", faults)
	}
	for _, yaml := range []string{"# nothing\n", "---\n", "\n"} {
		if _, _, faults := read(t, nil, nil, yaml); faults != "" {
			t.Errorf("%q: %s", yaml, faults)
		}
	}
}

func TestSchema_Resolve_FileValues(t *testing.T) {
	c, _, faults := read(t, nil, nil,
		"admin.token: 0x10\nitem:\n  - 010\n  - \"a\"\n  - 1e3\non: true\nlisten: >\n  x\n")
	if faults != "" || c.token != "0x10" || !slices.Equal(c.items, []string{"010", "a", "1e3"}) || !c.on ||
		c.listen != "x" {
		t.Errorf("%+v, %s", c, faults)
	}
	c, _, faults = read(t, nil, nil, "item: a, b\n")
	if faults != "" || !slices.Equal(c.items, []string{"a", "b"}) {
		t.Errorf("%+v, %s", c, faults)
	}
	c, _, faults = read(t, []string{"--item", "z"}, nil, "item: a, b\n")
	if faults != "" || !slices.Equal(c.items, []string{"z"}) {
		t.Errorf("a list is replaced, not added to: %+v, %s", c, faults)
	}
	c, _, faults = read(t, nil, []string{"APP_ITEM=a"}, "item: []\n")
	if faults != "" || !slices.Equal(c.items, []string{"a"}) {
		t.Errorf("%+v, %s", c, faults)
	}
	if c, _, faults = read(t, nil, nil, "item: []\n"); faults != "" || c.items != nil {
		t.Errorf("an empty list: %+v, %s", c, faults)
	}
}

func TestSchema_Resolve_Secrets(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	if err := os.WriteFile(path, []byte("hush-hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args, env []string
		yaml      string
	}{
		{args: []string{"--admin-token-file", path}},
		{env: []string{"APP_ADMIN_TOKEN_FILE=" + path}},
		{yaml: "admin:\n  token-file: " + path + "\n"},
		{args: []string{"--admin-token-file=" + path}, env: []string{"APP_ADMIN_TOKEN=other"}},
		{args: []string{"--admin-token", "hush-hush"}, env: []string{"APP_ADMIN_TOKEN_FILE=/nowhere"}},
		{env: []string{"APP_ADMIN_TOKEN=hush-hush"}, yaml: "admin.token: other"},
	} {
		got, r, faults := read(t, c.args, c.env, c.yaml)
		if faults != "" || got.token != "hush-hush" {
			t.Errorf("%+v: %q, %s", c, got.token, faults)
		}
		if flags, direct := r.SecretFlags(), slices.Contains(c.args, "--admin-token"); direct != (len(flags) == 1) {
			t.Errorf("%+v: secrets in flags: %q", c, flags)
		}
		if text := r.YAML(); strings.Contains(text, "hush") {
			t.Errorf("%+v: shown: %s", c, text)
		}
		for _, one := range r.Report() {
			if strings.Contains(one.Value, "hush") || one.Name == "admin-token" && !one.Set {
				t.Errorf("%+v: reported %+v", c, one)
			}
		}
	}
	empty, large := filepath.Join(dir, "empty"), filepath.Join(dir, "large")
	os.WriteFile(empty, []byte(" \n"), 0o600)
	os.WriteFile(large, make([]byte, 65<<10), 0o600)
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--admin-token", "a", "--admin-token-file", path},
			"--admin-token: --admin-token-file is set too; set only one of them"},
		{[]string{"--admin-token-file", dir + "/no"},
			"--admin-token-file: open secret file: open " + dir + "/no: no such file or directory"},
		{[]string{"--admin-token-file", empty}, "--admin-token-file: " + empty + " is empty"},
		{[]string{"--admin-token-file", large}, "--admin-token-file: " + large + " is larger than 64KiB"},
	} {
		if _, _, faults := read(t, c.args, nil, ""); faults != c.says {
			t.Errorf("%v: said %q, want %q", c.args, faults, c.says)
		}
	}
}

func TestSchema_Resolve_Only(t *testing.T) {
	c, r, faults := read(t, nil, []string{"APP_ON=nonsense", "APP_LISTEN=:2", "APP_LISTN=:3"}, "", "listen")
	if c.listen != ":2" || faults != "APP_LISTN: unknown; the nearest is APP_LISTEN" || r.Read("on") ||
		!r.Read("listen") {
		t.Errorf("%+v, %s", c, faults)
	}
}

func TestSchema_Resolve_EmptyFlag(t *testing.T) {
	if c, _, faults := read(t, []string{"--listen="}, []string{"APP_LISTEN=:2"}, ""); faults != "" || c.listen != "" {
		t.Errorf("%+v, %s", c, faults)
	}
	if _, _, faults := read(t, []string{"--cache-disk-size="}, nil, ""); !strings.Contains(faults, "want a size") {
		t.Error(faults)
	}
	if c, _, faults := read(t, []string{"--on=false"}, []string{"APP_ON=true"}, ""); faults != "" || c.on {
		t.Errorf("%+v, %s", c, faults)
	}
	if c, _, faults := read(t, []string{"--on"}, nil, ""); faults != "" || !c.on {
		t.Errorf("%+v, %s", c, faults)
	}
}

func TestSchema_Resolve_UnreadableFile(t *testing.T) {
	_, _, faults := read(t, nil, []string{"APP_CONFIG=/nowhere/x.yaml"}, "")
	if faults != "APP_CONFIG: open settings file: open /nowhere/x.yaml: no such file or directory" {
		t.Error(faults)
	}
}

func TestSchema_Check(t *testing.T) {
	var s string
	one := func(name string) settings.Setting {
		return settings.Setting{Name: name, Help: "h", Value: settings.String(&s)}
	}
	schema := func(s ...settings.Setting) settings.Schema { return settings.Schema{Prefix: "A_", Settings: s} }
	for _, c := range []struct {
		schema settings.Schema
		says   string
	}{
		{schema(one("cache"), one("cache-dir")), "both a value and the parent of cache.dir"},
		{schema(one("a"), one("a")), "a is a duplicate"},
		{schema(one("Ab")), "not a valid name"},
		{settings.Schema{Prefix: "A", Settings: []settings.Setting{one("a")}}, "does not end with _"},
		{schema(one("service-port")), "Kubernetes"},
		{schema(settings.Setting{Name: "a", Value: settings.String(&s)}), "no Help"},
		{schema(settings.Setting{Name: "a", Help: "h", Default: "x", Value: settings.Bool(new(bool))}), "default of a"},
	} {
		if err := c.schema.Check(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v, want %q", err, c.says)
		}
	}
}

func TestResolved_YAML_ReadsBack(t *testing.T) {
	args := []string{
		"--listen", "[::1]:80 # x: {y}", "--item", "a=b://c?d=e&f=[g]", "--item", "true", "--on",
		"--cache-disk-size=1537MiB", "--cache-wait=45m30s",
	}
	c, r, faults := read(t, args, nil, "")
	if faults != "" {
		t.Fatal(faults)
	}
	text := r.YAML()
	back, _, faults := read(t, nil, nil, text)
	back.file = ""
	if faults != "" || back.listen != c.listen || !slices.Equal(back.items, c.items) || back.on != c.on ||
		back.size != c.size ||
		back.wait != c.wait {
		t.Errorf("%+v reads back as %+v, %s\n%s", c, back, faults, text)
	}
}
