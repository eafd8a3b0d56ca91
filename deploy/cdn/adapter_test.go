package cdn_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/novasocial/imagetier/internal/testutil"
	"github.com/novasocial/imagetier/internal/webhook"
)

const purgeSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// fakeCDN answers every purge with the same response, and keeps the last request.
type fakeCDN struct {
	mu         sync.Mutex // guards all below
	status     int
	retryAfter string
	body       string
	request    string // method, path, authorization and body
}

func (c *fakeCDN) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	c.request = fmt.Sprint(r.Method, " ", r.URL.Path, " ", r.Header.Get("Authorization")+r.Header.Get("Fastly-Key"),
		" soft=", r.Header.Get("Fastly-Soft-Purge"), " ", string(body))
	if c.retryAfter != "" {
		w.Header().Set("Retry-After", c.retryAfter)
	}
	w.WriteHeader(c.status)
	_, _ = io.WriteString(w, c.body)
}

// startAdapter runs adapter.py for a CDN, and returns its URL.
func startAdapter(t *testing.T, environ ...string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("runs python3")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	l.Close()
	cmd := exec.CommandContext(t.Context(), testutil.Command(t, "install python3", "python3"), "adapter.py", port)
	cmd.Env = append(cmd.Environ(), append(environ, "PURGE_SECRET="+purgeSecret)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return "http://" + address
		}
		if time.Since(began) > 30*time.Second {
			t.Fatal(err)
		}
	}
}

// purge posts a hook as the tier does, and returns the status and Retry-After of the answer.
func purge(t *testing.T, adapter, secret, data string) string {
	t.Helper()
	signer, err := webhook.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	body := `{"type":"image.purged","timestamp":"2026-11-28T10:00:00Z","data":` + data + `}`
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, adapter, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	signer.Sign(req.Header, "purge_1", time.Now(), []byte(body))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return strings.TrimSpace(fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("Retry-After")))
}

const (
	twoOriginals = `{"originals":[{"tag":"o-b"},{"tag":"o-a"},{"tag":"o-b"}]}`
	softPurge    = `{"soft":true,"originals":[{"tag":"o-a"}]}`
)

func TestAdapter_Cloudflare(t *testing.T) {
	cdn := &fakeCDN{}
	api := httptest.NewServer(cdn)
	defer api.Close()
	adapter := startAdapter(t, "CDN=cloudflare", "CLOUDFLARE_ZONE=zone", "CLOUDFLARE_TOKEN=token", "API="+api.URL)
	for name, c := range map[string]struct {
		status           int
		retryAfter, body string
		want             string
	}{
		"success":             {200, "", `{"success":true}`, "204"},
		"failure with 200":    {200, "", `{"success":false,"errors":[{"code":1107}]}`, "502"},
		"not JSON":            {200, "", `<html>`, "502"},
		"too many requests":   {429, "7", `{"success":false}`, "503 7"},
		"unavailable":         {503, "", ``, "502"},
		"unavailable, waited": {503, "120", ``, "503 120"},
	} {
		t.Run(name, func(t *testing.T) {
			cdn.mu.Lock()
			cdn.status, cdn.retryAfter, cdn.body = c.status, c.retryAfter, c.body
			cdn.mu.Unlock()
			if got := purge(t, adapter, purgeSecret, twoOriginals); got != c.want {
				t.Errorf("answer %q, want %q", got, c.want)
			}
		})
	}
	want := `POST /client/v4/zones/zone/purge_cache Bearer token soft= {"tags": ["o-a", "o-b"]}`
	if cdn.request != want {
		t.Errorf("the CDN received %s, want %s", cdn.request, want)
	}
	cdn.request = ""
	other := "whsec_" + strings.Repeat("A", 32)
	if got := purge(t, adapter, other, twoOriginals); got != "401" || cdn.request != "" {
		t.Errorf("wrong secret: answer %q, the CDN received %q", got, cdn.request)
	}
}

func TestAdapter_Fastly_SoftPurge(t *testing.T) {
	cdn := &fakeCDN{status: 200, body: `{"o-a":"1-2-3"}`}
	api := httptest.NewServer(cdn)
	defer api.Close()
	adapter := startAdapter(t, "CDN=fastly", "FASTLY_SERVICE=service", "FASTLY_TOKEN=token", "API="+api.URL)
	if got := purge(t, adapter, purgeSecret, softPurge); got != "204" {
		t.Errorf("answer %q, want 204", got)
	}
	if want := `POST /service/service/purge token soft=1 {"surrogate_keys": ["o-a"]}`; cdn.request != want {
		t.Errorf("the CDN received %s, want %s", cdn.request, want)
	}
}
