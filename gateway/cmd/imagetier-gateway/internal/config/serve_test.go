package config_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/gateway/cmd/imagetier-gateway/internal/config"
	"github.com/novasocial/imagetier/internal/settings"
)

// serveEnviron is a valid environment of serve.
var serveEnviron = append(
	proxyEnviron[1:4:4],
	"IMAGETIER_GATEWAY_FEED=feed:9090",
	"IMAGETIER_GATEWAY_CONTENT=dns:///content:9090",
	"IMAGETIER_GATEWAY_USER=unix:/run/user.sock",
)

const whsec = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="

func TestLoad_ServeFromEnvironment(t *testing.T) {
	c, _, err := config.Load(
		config.ForServe,
		settings.Input{Environ: append(
			serveEnviron,
			"IMAGETIER_GATEWAY_REDIS=redis://gw:sesame@redis:6379/1",
			"IMAGETIER_GATEWAY_WEBHOOK_SECRETS=whsec_"+strings.Repeat("A", 32)+"\n"+whsec,
			"IMAGETIER_GATEWAY_DEV=true",
			"IMAGETIER_GATEWAY_TEST_TOKEN=test-token=user1",
			"IMAGETIER_GATEWAY_JWKS=https://id.example.com/.well-known/jwks.json",
		)},
	)
	if err != nil {
		t.Fatal(err)
	}
	s := c.Serve
	if s.Feed != "feed:9090" || s.Content != "dns:///content:9090" || s.User != "unix:/run/user.sock" ||
		s.Redis.Addresses[0] != "redis:6379" ||
		s.Redis.Password != "sesame" ||
		s.JWKS.Path != "/.well-known/jwks.json" {
		t.Errorf("%+v %+v", s, s.Redis)
	}
	if s.ConnectTimeout != 5*time.Second || s.CallTimeout != 5*time.Second || s.RequestTimeout != 10*time.Second ||
		s.JWTLeeway != time.Minute ||
		s.Algorithm != "ch" {
		t.Errorf("%+v", s)
	}
	if s.PageTTL != 30*time.Second || s.PostTTL != 2*time.Minute || s.ProfileTTL != 5*time.Minute {
		t.Errorf("%+v", s)
	}
	if !maps.Equal(s.TestTokens, map[string]string{"test-token": "user1"}) || len(s.WebhookSecrets) != 2 ||
		s.WebhookSecrets[1] != whsec {
		t.Errorf("%+v", s)
	}
	if got := strings.Join(c.Secrets, " "); !strings.Contains(got, "sesame") || strings.Contains(got, "6379") ||
		!strings.Contains(got, whsec) {
		t.Errorf("secrets %s", got)
	}
}

func TestLoad_ServeFaults(t *testing.T) {
	for name, c := range map[string]struct {
		environ []string
		faults  []string
	}{
		"nothing": {nil, []string{"--feed: required", "--content: required",
			"--user: required", "--image-base: required", "--keys: required"}},
		"everything wrong": {append(serveEnviron[:3:3],
			"IMAGETIER_GATEWAY_FEED=http://feed:9090", "IMAGETIER_GATEWAY_CONTENT=content",
			"IMAGETIER_GATEWAY_USER=a:1,b:2", "IMAGETIER_GATEWAY_REDIS=redis",
			"IMAGETIER_GATEWAY_PROFILE_TTL=6m", "IMAGETIER_GATEWAY_JWKS=id.example.com",
			"IMAGETIER_GATEWAY_WEBHOOK_SECRETS="+whsec+",whsec_AAAA",
			"IMAGETIER_GATEWAY_FIELDS=imageUrl=feed,picture=feed",
		), []string{"FEED:", "CONTENT:", "USER:", "REDIS:", "PROFILE_TTL:",
			"JWKS: want a URL", "WEBHOOK_SECRETS: secret 2", "unknown field picture"}},
		"addresses that gRPC does not know": {append(serveEnviron[:3:3],
			"IMAGETIER_GATEWAY_FEED=ipv4:127.0.0.1:9090", "IMAGETIER_GATEWAY_CONTENT=passthrough:///content",
			"IMAGETIER_GATEWAY_USER=:9090",
		), []string{"FEED:", "CONTENT:", "USER:"}},
		"test token without dev": {append(serveEnviron, "IMAGETIER_GATEWAY_TEST_TOKEN=t=u"),
			[]string{"TEST_TOKEN: static tokens are only allowed with --dev"}},
		"issuer without keys": {append(serveEnviron, "IMAGETIER_GATEWAY_JWT_ISSUER=x"),
			[]string{"--jwks: required by --jwt-issuer"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := config.Load(config.ForServe, settings.Input{Environ: c.environ})
			if err == nil {
				t.Fatal("no fault")
			}
			for _, want := range c.faults {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in:\n%v", want, err)
				}
			}
		})
	}
}
