package config_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/gateway/cmd/imagetier-gateway/internal/config"
	"github.com/novasocial/imagetier/internal/settings"
)

// goodServe is an environment that serve runs with.
var goodServe = append(good[1:4:4], "IMAGETIER_GATEWAY_FEED=feed:9090", "IMAGETIER_GATEWAY_CONTENT=dns:///content:9090", "IMAGETIER_GATEWAY_USER=unix:/run/user.sock")

const whsec = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="

func TestTheEnvironmentIsEnoughForServe(t *testing.T) {
	c, _, err := config.Load(config.ForServe, settings.Input{Environ: append(goodServe, "IMAGETIER_GATEWAY_REDIS=redis://gw:sesame@redis:6379/1", "IMAGETIER_GATEWAY_WEBHOOK_SECRETS=whsec_"+strings.Repeat("A", 32)+"\n"+whsec,
		"IMAGETIER_GATEWAY_DEV=true", "IMAGETIER_GATEWAY_TEST_TOKEN=test-token=user1", "IMAGETIER_GATEWAY_JWKS=https://id.example.com/.well-known/jwks.json")})
	if err != nil {
		t.Fatal(err)
	}
	s := c.Serve
	if s.Feed != "feed:9090" || s.Content != "dns:///content:9090" || s.User != "unix:/run/user.sock" || s.Redis.Addresses[0] != "redis:6379" || s.Redis.Password != "sesame" || s.JWKS.Path != "/.well-known/jwks.json" {
		t.Errorf("%+v %+v", s, s.Redis)
	}
	// G2, G3, G7, G13: the figures of the seed.
	if s.ConnectTimeout != 5*time.Second || s.CallTimeout != 5*time.Second || s.RequestTimeout != 10*time.Second || s.Algorithm != "ch" {
		t.Errorf("%+v", s)
	}
	if s.PageTTL != 30*time.Second || s.PostTTL != 2*time.Minute || s.ProfileTTL != 5*time.Minute {
		t.Errorf("%+v", s)
	}
	if !maps.Equal(s.TestTokens, map[string]string{"test-token": "user1"}) || len(s.WebhookSecrets) != 2 || s.WebhookSecrets[1] != whsec {
		t.Errorf("%+v", s)
	}
	if got := strings.Join(c.Secrets, " "); !strings.Contains(got, "sesame") || strings.Contains(got, "6379") || !strings.Contains(got, whsec) {
		t.Errorf("secrets %s", got)
	}
}

func TestAllFaultsOfServeAreReportedAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		environ []string
		faults  []string
	}{
		"nothing": {nil, []string{"--feed: needed", "--content: needed", "--user: needed", "--image-base: needed", "--keys: no keys"}},
		"everything wrong": {append(goodServe[:3:3],
			"IMAGETIER_GATEWAY_FEED=http://feed:9090", "IMAGETIER_GATEWAY_CONTENT=content", "IMAGETIER_GATEWAY_USER=a:1,b:2", "IMAGETIER_GATEWAY_REDIS=redis",
			"IMAGETIER_GATEWAY_PROFILE_TTL=6m", "IMAGETIER_GATEWAY_JWKS=id.example.com", "IMAGETIER_GATEWAY_WEBHOOK_SECRETS="+whsec+",whsec_AAAA", "IMAGETIER_GATEWAY_FIELDS=imageUrl=feed,picture=feed",
		), []string{"FEED:", "CONTENT:", "USER:", "REDIS:", "PROFILE_TTL:", "JWKS: want a URL", "WEBHOOK_SECRETS: secret 2", "serve has no field picture"}},
		"a token in earnest":     {append(goodServe, "IMAGETIER_GATEWAY_TEST_TOKEN=t=u"), []string{"TEST_TOKEN: a token that everybody can read"}},
		"an issuer without keys": {append(goodServe, "IMAGETIER_GATEWAY_JWT_ISSUER=x"), []string{"--jwks: needed for --jwt-issuer"}},
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
