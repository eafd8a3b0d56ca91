package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/gateway/upstream/fakeservices"
	"github.com/novasocial/imagetier/internal/doctor/finding"
	"github.com/novasocial/imagetier/internal/program"
	"github.com/novasocial/imagetier/internal/program/programtest"
)

// fakeTier answers the requests of doctor like a tier with or without the key.
func fakeTier(t *testing.T, verdict string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/readyz":
		case r.URL.Path == "/v1/info" && r.Header.Get("Authorization") != "Bearer token-of-the-tier":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/v1/info":
			fmt.Fprint(w, `{"infos":[]}`)
		case r.URL.Path == "/v1/explain" && strings.HasPrefix(r.URL.Query().Get("url"), "/i/k1."):
			fmt.Fprintf(w, `{"signature":{"verdict":%q}}`, verdict)
		case r.URL.Path == "/jwks":
			fmt.Fprint(w, `{"keys":[{"kid":"a"}]}`)
		default:
			t.Errorf("request %s %s", r.Method, r.URL)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestDoctor_Findings(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	_ = l.Close()
	services, err := fakeservices.Start(fakeservices.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer services.Close()
	feed := services.Addr(fakeservices.Feed)
	good, foreign := fakeTier(t, "good"), fakeTier(t, "wrong")
	for name, c := range map[string]struct {
		args []string
		code program.Exit
		want map[string]finding.Level
	}{
		"Good": {
			[]string{
				"--tier", good, "--admin-token", "token-of-the-tier", "--upstream", good,
				"--feed", "dns:///" + feed, "--content", feed, "--user", "passthrough:///" + feed,
				"--redis", strings.TrimPrefix(good, "http://"),
				"--jwks", good + "/jwks", "--jwt-issuer", "a", "--jwt-audience", "b",
			},
			program.Warnings, // secrets as flags
			map[string]finding.Level{
				"settings": finding.Warning, "tier": finding.OK, "admin token": finding.OK, "key k1": finding.OK,
				"upstream": finding.OK, "feed": finding.OK, "content": finding.OK, "user": finding.OK,
				"redis " + strings.TrimPrefix(good, "http://"): finding.OK,
				"jwks": finding.OK,
			},
		},
		"Ports": {
			[]string{"--listen", strings.TrimPrefix(good, "http://")}, program.Failed,
			map[string]finding.Level{
				"settings": finding.Warning, "--listen " + strings.TrimPrefix(good, "http://"): finding.Fault,
			},
		},
		"WrongKeyAndToken": {
			[]string{"--tier", foreign}, program.Failed,
			map[string]finding.Level{
				"settings": finding.Warning, "tier": finding.OK, "admin token": finding.Fault, "key k1": finding.Fault,
			},
		},
		"Unreachable": {
			[]string{"--tier", "http://" + closed, "--content", closed, "--jwks", "http://" + closed + "/"},
			program.Failed,
			map[string]finding.Level{
				"settings": finding.Warning, "tier": finding.Fault, "content": finding.Fault, "jwks": finding.Fault,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{
				"doctor", "--json", "--keys", "k1=" + hexKey, "--image-prefix", "https://cdn.app.example/=posts",
				"--private-listen", "127.0.0.1:0",
			}, c.args...)
			if !slices.Contains(c.args, "--listen") {
				args = append(args, "--listen", "127.0.0.1:0")
			}
			code, stdout, stderr := command(t, nil, args...)
			var report struct{ Findings finding.Report }
			if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != int(c.code) {
				t.Fatalf("exit code %d, %v: %s%s", code, err, stdout, stderr)
			}
			got := map[string]finding.Level{}
			for _, f := range report.Findings {
				switch f.Name {
				case "open files", "--listen 127.0.0.1:0", "--private-listen 127.0.0.1:0":
					continue // depends on the machine; free
				}
				if got[f.Name] != finding.Fault {
					got[f.Name] = f.Level
				}
				if (f.Fix == "") != (f.Level == finding.OK) {
					t.Errorf("%s: level %s, fix %q", f.Name, f.Level, f.Fix)
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("%v, want %v\n%s", got, c.want, stdout)
			}
		})
	}
}

func TestSign_PrintsWhatClientsGet(t *testing.T) {
	settings := []string{
		"IMAGETIER_GATEWAY_KEYS=k2=" + strings.Repeat("ab", 32) + "@2026-12-01,k1=" + hexKey,
		"IMAGETIER_GATEWAY_IMAGE_BASE=https://img.example.com",
		"IMAGETIER_GATEWAY_IMAGE_PREFIX=https://cdn.app.example/=posts",
	}
	code, stdout, stderr := command(t, settings, "sign", "--client", "webp@3x", "--created", "2026-11-23",
		"https://cdn.app.example/a.jpg", "https://cdn.app.example/b.jpg")
	lines := strings.Split(stdout, "\n")
	if code != 0 || len(lines) != 3 || !strings.HasPrefix(lines[0], "https://img.example.com/i/k1.") ||
		!strings.HasSuffix(lines[0], "/1320x/v.0/posts/a.jpg.webp") || !strings.HasSuffix(lines[1], "/b.jpg.webp") {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
	if code, stdout, _ = command(t, settings, "sign", "https://cdn.app.example/a.jpg"); code != 0 ||
		!strings.HasPrefix(stdout, "https://img.example.com/i/k2.") {
		t.Errorf("the newest key does not sign: exit code %d, %s", code, stdout)
	}
	code, stdout, stderr = programtest.Run(t, gatewayProgram(), programtest.Command{
		Args: []string{"sign", "-"}, Environ: settings,
		Stdin: "https://cdn.app.example/a.jpg\r\n\nhttps://cdn.app.example/b.jpg",
	})
	if code != 0 || strings.Count(stdout, "\n") != 2 {
		t.Errorf("input with an empty line: exit code %d, %s%s", code, stdout, stderr)
	}
	for _, args := range [][]string{
		{"sign", "https://elsewhere.example/a.jpg"}, {"sign", "--client", "bmp", "https://cdn.app.example/a.jpg"},
		{"sign", "--profile", "none", "https://cdn.app.example/a.jpg"},
	} {
		code, stdout, stderr := command(t, settings, args...)
		if code != int(program.Usage) || stdout != "" || stderr == "" {
			t.Errorf("%v: exit code %d, %q, %q", args, code, stdout, stderr)
		}
	}
}
