package settings_test

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

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
		"nats://a:p%2Cq%40@host:4222": {"p%2Cq%40", "p,q@"},
		"nats://host:4222":            nil,
	} {
		t.Run(text, func(t *testing.T) {
			if got := settings.Secrets(settings.String(&text)); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// A token is hidden as a whole, even if it contains separators of other settings.
func TestSecrets_Token(t *testing.T) {
	for _, text := range []string{
		"abc=def0123456789", "abc,def0123456789", "k1=ab@2026-12-01,cd", "nats://u:password@x",
	} {
		var token string
		v := settings.Token(&token)
		if err := v.Set(text); err != nil {
			t.Fatal(err)
		}
		if got := settings.Secrets(v); !slices.Equal(got, []string{text}) {
			t.Errorf("%q: got %q", text, got)
		}
	}
}

// A secret can come from a pipe; a FIFO without a writer is empty, and reading it does not wait for one.
func TestSchema_Resolve_SecretFromFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"--admin-token-file", path}
	if got, _, _ := read(t, args, nil, ""); got.token != "" {
		t.Errorf("token %q from a FIFO without a writer", got.token)
	}
	writer, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.WriteString("hush-hush\n"); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(time.Second, func() { writer.Close() }) // the reader has opened it by then
	if got, _, faults := read(t, args, nil, ""); got.token != "hush-hush" {
		t.Errorf("token %q, faults %s", got.token, faults)
	}
}
