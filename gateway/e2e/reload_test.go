package e2e

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// SIGHUP replaces keys and profiles, for requests and ETags; with an invalid file the old values
// stay.
func TestProxy_SIGHUP_ReloadsFiles(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("ETag", `"v1"`)
		_, _ = io.WriteString(w, `{"imageUrl":"https://cdn.app.example/a.jpg"}`)
	}))
	defer service.Close()
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	newKey := "k2=" + strings.Repeat("ab", 32)
	p := start(t, "imagetier-gateway", "proxy", "--upstream="+service.URL, "--image-base=https://img.example.com",
		"--image-prefix=https://cdn.app.example/=posts",
		"--keys-file="+file("keys", key), "--profiles="+file("profiles", "feed: [100x.jpg]"))
	reload := func(outcome string, n string) {
		t.Helper()
		if err := p.process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		line := `imagetier_gateway_reloads_total{outcome="` + outcome + `"} ` + n + "\n"
		until(t, "a reload: "+outcome, func() bool {
			_, _, metrics := get(t, p.private+"/metrics")
			return strings.Contains(metrics, line)
		})
	}
	want := func(text string) (tag string) {
		t.Helper()
		_, header, body := get(t, p.public+"/")
		if !strings.Contains(body, text) {
			t.Errorf("the answer is %s, want %s", body, text)
		}
		return header.Get("ETag")
	}
	first := want("/i/k1.")
	want("/100x/")

	file("keys", newKey)
	file("profiles", "feed: [0x.jpg]")
	reload("failure", "1")
	second := want("/i/k2.")
	want("/100x/")
	if first == second || first == "" {
		t.Errorf("ETag %s, then %s", first, second)
	}
	if log := p.output(); !strings.Contains(log, "profile feed") || strings.Contains(log, newKey[3:]) {
		t.Error("the log does not name the invalid profile, or shows a key")
	}
	file("profiles", "feed: [200x.jpg]")
	reload("success", "1")
	want("/200x/")
}

// SIGHUP replaces the admin token of the private listener and the secrets of events, while the services are down.
func TestServe_SIGHUP_ReloadsCredentials(t *testing.T) {
	tokens, secrets := filepath.Join(t.TempDir(), "token"), filepath.Join(t.TempDir(), "secrets")
	write := func(token, secret string) {
		t.Helper()
		for path, text := range map[string]string{tokens: token, secrets: secret} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	const oldToken, newToken = "old-token-of-the-gateway", "new-token-of-the-gateway"
	newSecret := "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	write(oldToken, hookSecret)
	const nowhere = "127.0.0.1:1"
	p := start(t, "imagetier-gateway", "serve", "--feed="+nowhere, "--content="+nowhere, "--user="+nowhere,
		"--image-base=https://img.example.com", "--image-prefix=https://cdn.app.example/=posts", "--keys="+key,
		"--admin-token-file="+tokens, "--webhook-secrets-file="+secrets, "--tier=http://"+nowhere)
	check := func(token, secret string, wantToken, wantEvent int) {
		t.Helper()
		// Reads need no token, and other methods are not served: 405 shows that the token is
		// accepted.
		status, _, _ := post(t, p.private+"/healthz", nil, "Authorization: Bearer "+token)
		if status != wantToken {
			t.Errorf("token %q: %d, want %d", token, status, wantToken)
		}
		deleted := `{"type":"post.deleted","data":{"posts":[{"id":"p"}]}}`
		if status, body := event(t, p, "msg_"+rand.Text(), deleted, secret); status != wantEvent {
			t.Errorf("secret %.9s: %d %s, want %d", secret, status, body, wantEvent)
		}
	}
	check(oldToken, hookSecret, http.StatusMethodNotAllowed, http.StatusAccepted)
	check(newToken, newSecret, http.StatusUnauthorized, http.StatusUnauthorized)
	write(newToken, newSecret)
	if err := p.process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	until(t, "a reload", func() bool {
		_, _, metrics := get(t, p.private+"/metrics")
		return strings.Contains(metrics, `imagetier_gateway_reloads_total{outcome="success"} 1`)
	})
	check(newToken, newSecret, http.StatusMethodNotAllowed, http.StatusAccepted)
	check(oldToken, hookSecret, http.StatusUnauthorized, http.StatusUnauthorized)
	if log := p.output(); strings.Contains(log, newSecret[6:]) || strings.Contains(log, newToken) {
		t.Error("the log shows the new credentials")
	}
}
