package finding

import (
	"strings"
	"testing"
)

// The threshold is what two listeners of 8,192 connections need: three files for each.
func TestOpenFiles_Thresholds(t *testing.T) {
	for limit, want := range map[int]Level{
		900: Fault, 1024: Warning, 20_000: Warning, 24_575: Warning, 24_576: OK, 65_536: OK,
	} {
		if f := openFiles(limit); f.Level != want {
			t.Errorf("limit %d: %+v, want %s", limit, f, want)
		}
	}
	if f := openFiles(20_000); !strings.Contains(f.Text, "6666 connections instead of 8192") {
		t.Errorf("%+v", f)
	}
}

func TestSecretFlags_NamesAll(t *testing.T) {
	if _, ok := SecretFlags(nil); ok {
		t.Error("a warning without flags")
	}
	if f, ok := SecretFlags([]string{"keys", "admin-token"}); !ok || !strings.HasSuffix(f.Text, ": keys, admin-token") {
		t.Errorf("%+v, %v", f, ok)
	}
}
