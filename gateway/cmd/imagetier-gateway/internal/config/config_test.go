package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/gateway/cmd/imagetier-gateway/internal/config"
	"github.com/novasocial/imagetier/internal/settings"
)

const (
	hex1 = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	hex2 = "ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
)

// proxyEnviron is a valid environment of proxy.
var proxyEnviron = []string{
	"IMAGETIER_GATEWAY_UPSTREAM=http://graphql:8080",
	"IMAGETIER_GATEWAY_IMAGE_BASE=https://img.example.com/",
	"IMAGETIER_GATEWAY_IMAGE_PREFIX=https://cdn.app.example/=posts,https://avatars.example/=avatars?version=query:v",
	"IMAGETIER_GATEWAY_KEYS=k2=" + hex2 + "@2026-12-01,k1=" + hex1,
}

func TestSchema_Check(t *testing.T) {
	if err := config.Schema().Check(); err != nil {
		t.Fatal(err)
	}
}

func TestLoad_ProxyFromEnvironment(t *testing.T) {
	c, r, err := config.Load(config.ForProxy, settings.Input{Environ: proxyEnviron})
	if err != nil {
		t.Fatal(err)
	}
	if c.ImageBase != "https://img.example.com" || len(c.Prefixes) != 2 ||
		c.Proxy.Upstream.String() != "http://graphql:8080" {
		t.Errorf("read %+v", c)
	}
	if c.Listen != ":8080" || c.PrivateListen != "127.0.0.1:8083" {
		t.Errorf("listeners %s and %s", c.Listen, c.PrivateListen)
	}
	if len(c.Keys) != 2 || c.Keys[0].ID != "k2" ||
		!c.Keys[0].From.Equal(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)) ||
		!c.Keys[1].From.IsZero() {
		t.Errorf("keys %v", c.Keys)
	}
	if want := []config.Fill{{Field: "thumbnailUrl", Source: "imageUrl"}}; len(c.Proxy.Fill) != 1 ||
		c.Proxy.Fill[0] != want[0] {
		t.Errorf("fill %v", c.Proxy.Fill)
	}
	if text := r.YAML(); strings.Contains(text, hex1[:16]) {
		t.Errorf("a secret is in\n%s", text)
	}
	if strings.Join(c.Secrets, " ") != hex2+" "+hex1 {
		t.Errorf("secrets %v", c.Secrets)
	}
}

func TestResolved_YAML_RoundTrip(t *testing.T) {
	_, r, err := config.Load(config.ForAny, settings.Input{Environ: proxyEnviron})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(file, []byte(r.YAML()), 0o600); err != nil {
		t.Fatal(err)
	}
	_, again, err := config.Load(
		config.ForProxy,
		settings.Input{Environ: []string{"IMAGETIER_GATEWAY_CONFIG=" + file, proxyEnviron[3]}},
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range again.Values {
		for _, before := range r.Values {
			if before.Name == v.Name && v.Name != settings.ConfigName && before.Value.String() != v.Value.String() {
				t.Errorf("%s was %s and is %s", v.Name, before.Value, v.Value)
			}
		}
	}
}

func TestLoad_ProxyFaults(t *testing.T) {
	for name, c := range map[string]struct {
		environ []string
		faults  []string
	}{
		"empty": {nil,
			[]string{"--upstream: required", "--image-base: required", "--image-prefix: required", "--keys: required"}},
		"everything wrong": {
			[]string{
				"IMAGETIER_GATEWAY_UPSTREAM=graphql",
				"IMAGETIER_GATEWAY_IMAGE_BASE=https://img.example.com/path",
				"IMAGETIER_GATEWAY_IMAGE_PREFIX=https://cdn",
				"IMAGETIER_GATEWAY_KEYS=k1=zz", "IMAGETIER_GATEWAY_FIELDS=imageUrl=fed",
				"IMAGETIER_GATEWAY_FILL=a=b", "IMAGETIER_GATEWAY_UPSTREEM=x",
				"IMAGETIER_GATEWAY_WEBHOOK_SECRET=whsec_AAAA", "IMAGETIER_GATEWAY_LISTEN=:8083",
			},
			[]string{
				"UPSTREAM: want http", "IMAGE_BASE: want http", "IMAGE_PREFIX:",
				"KEYS: signing key", "unknown profile fed, did you mean feed?",
				"a is not in --fields",
				"IMAGETIER_GATEWAY_UPSTREEM: unknown; the nearest is IMAGETIER_GATEWAY_UPSTREAM",
				"needs at least 24", "also the address of the public listener",
			},
		},
		"dates": {
			append(proxyEnviron[:3:3], "IMAGETIER_GATEWAY_KEYS=k3="+hex1+"@2026-01-01,k2="+hex2+"@2026-12-01"),
			[]string{"the last key, k2, must not have a date", "key k2 is never used"},
		},
		"etag without a tier": {
			append(proxyEnviron[:2:2],
				"IMAGETIER_GATEWAY_IMAGE_PREFIX=https://cdn.app.example/=posts?version=etag", proxyEnviron[3]),
			[]string{"--tier: required by --image-prefix"},
		},
		"secret without a tier": {
			append(proxyEnviron, "IMAGETIER_GATEWAY_WEBHOOK_SECRET=whsec_"+strings.Repeat("AAAA", 8)),
			[]string{"--tier: required by --webhook-secret"},
		},
		"two fill sources": {
			append(proxyEnviron, "IMAGETIER_GATEWAY_FILL=thumbnailUrl=imageUrl,avatarUrl=thumbnailUrl"),
			[]string{"avatarUrl=thumbnailUrl: all fields must be filled from the same other field"},
		},
		"missing profiles file": {append(proxyEnviron, "IMAGETIER_GATEWAY_PROFILES=/nowhere.yaml"),
			[]string{"PROFILES: profiles: stat"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := config.Load(config.ForProxy, settings.Input{Environ: c.environ})
			if err == nil {
				t.Fatal("no fault")
			}
			for _, want := range c.faults {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in:\n%v", want, err)
				}
			}
			if strings.Contains(err.Error(), hex1[:16]) || strings.Contains(err.Error(), hex2[:16]) {
				t.Errorf("a secret is in:\n%v", err)
			}
		})
	}
}

func TestLoad_ProxyNetwork(t *testing.T) {
	load := func(args ...string) (config.Config, error) {
		c, _, err := config.Load(config.ForProxy, settings.Input{Environ: append(args, proxyEnviron...)})
		return c, err
	}
	c, err := load()
	if err != nil || fmt.Sprint(c.Proxy.TrustedProxies) != "[127.0.0.0/8 ::1/128]" ||
		c.Proxy.IdleTimeout != 4*time.Second || c.Proxy.MaxRequestBytes != 64<<20 {
		t.Errorf("%v, %+v", err, c.Proxy)
	}
	c, err = load("IMAGETIER_GATEWAY_TRUSTED_PROXIES=10.0.0.0/8,192.0.2.1",
		"IMAGETIER_GATEWAY_BACKEND_HOST=a.internal:80")
	if err != nil || fmt.Sprint(c.Proxy.TrustedProxies) != "[10.0.0.0/8 192.0.2.1/32]" ||
		c.Proxy.UpstreamHost != "a.internal:80" {
		t.Errorf("%v, %+v", err, c.Proxy)
	}
	if c, err = load("IMAGETIER_GATEWAY_TRUSTED_PROXIES=none"); err != nil || len(c.Proxy.TrustedProxies) != 0 {
		t.Errorf("no proxy: %v, %v", err, c.Proxy.TrustedProxies)
	}
	for _, wrong := range []string{
		"TRUSTED_PROXIES=10.0.0.1/8", "TRUSTED_PROXIES=lb.internal", "BACKEND_HOST=http://a", "BACKEND_HOST=a/b",
		"BACKEND_HOST=a b",
	} {
		if _, err := load("IMAGETIER_GATEWAY_" + wrong); err == nil {
			t.Errorf("%s is accepted", wrong)
		}
	}
}
