package config_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/internal/config"
)

func TestReload(t *testing.T) {
	keys, file := write(t, "k1="+hex1), write(t, "live.ttl: 1h\n")
	profiles := write(t, "feed: [100x.webp]\n")
	secrets := write(t, "0123456789abcdef")
	in := input(t, []string{"--keys-file", keys, "--config", file, "--profiles", profiles,
		"--admin-token-file", secrets, "--s3-events-token-file", secrets}, nil)
	_, old, err := config.Load(in)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name       string
		path, text string
		ids        string // of the new keys, "" if they are not to be used
		fault      string
		invalid    bool
		restart    []string
	}{
		{name: "nothing", path: keys, text: "k1=" + hex1, ids: "k1"},
		{name: "keys", path: keys, text: "k2=" + hex2 + "\nk1=" + hex1, ids: "k2 k1"},
		{name: "invalid keys", path: keys, text: "k2=abc", fault: "k2"},
		{name: "no keys", path: keys, text: "", fault: "is empty"},
		{name: "tokens", path: secrets, text: "fedcba9876543210", ids: "k1"},
		{name: "short tokens", path: secrets, text: "0123", ids: "k1", fault: "admin-token"},
		{name: "invalid profiles", path: profiles, text: "feed: [0x.webp]", ids: "k1", fault: "profile feed"},
		{name: "another setting", path: file, text: "live.ttl: 2h\n", ids: "k1", restart: []string{"live-ttl"}},
		{name: "unknown setting", path: file, text: "live.tttl: 2h\n", fault: "unknown", invalid: true},
		{name: "invalid setting", path: file, text: "live.ttl: soon\n", fault: "soon", invalid: true},
		{name: "no YAML", path: file, text: "live.ttl: [\n", fault: file, invalid: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, _ := os.ReadFile(c.path)
			overwrite(t, c.path, c.text)
			defer overwrite(t, c.path, string(before))
			cfg, now, changes := config.Reload(in, old)
			var ids []string
			if !changes.Invalid && !now.Faulty("keys") {
				for _, k := range cfg.Keys {
					ids = append(ids, k.ID)
				}
			}
			if got := strings.Join(ids, " "); got != c.ids {
				t.Errorf("keys %q, want %q", got, c.ids)
			}
			if (c.fault == "") != (len(changes.Faults) == 0) || !strings.Contains(changes.Faults.Error(), c.fault) {
				t.Errorf("faults: %v, want one with %q", changes.Faults, c.fault)
			}
			if changes.Invalid != c.invalid || !slices.Equal(changes.Restart, c.restart) {
				t.Errorf("invalid %t, restart %q; want %t, %q", changes.Invalid, changes.Restart, c.invalid, c.restart)
			}
		})
	}
}

func overwrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
