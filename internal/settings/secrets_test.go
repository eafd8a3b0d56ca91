package settings_test

import (
	"slices"
	"testing"

	"github.com/novasocial/imagetier/internal/settings"
)

func TestSecrets(t *testing.T) {
	for text, want := range map[string][]string{
		"token":                       {"token"},
		"k2=abcd@2026-12-01,k1=ef01":  {"abcd", "ef01"},
		"a=b@c":                       {"b@c"},
		"whsec_YWJj=":                 {"whsec_YWJj="},
		"whsec_YWI==":                 {"whsec_YWI=="},
		"redis://user:pass@host:6379": {"pass"},
		"nats://token@host:4222":      {"token"},
		"nats://host:4222":            nil,
	} {
		t.Run(text, func(t *testing.T) {
			if got := settings.Secrets(settings.String(&text)); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}
