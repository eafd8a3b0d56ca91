package admin

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/internal/guard"
)

// Every endpoint that changes something refuses every bad input with the status and code that
// docs/api/errors.md lists, and no secret is in an answer or in a line of the log.
func TestPrivate_BadInput_IsRefused(t *testing.T) {
	const s3Token, wrongToken = "a-token-of-s3-notifications", "a-token-that-is-wrong"
	var log bytes.Buffer
	h := (&intake{}).handler(t, func(cfg *Config) {
		cfg.S3EventsToken = guard.NewToken(s3Token)
		cfg.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	endpoints := []struct {
		method, path, token string
		most                int    // bytes of a body
		field               string // with a value, of the body
	}{
		{http.MethodPost, "/v1/purge", adminToken, maxPrivateBody, `"name":"a"`},
		{http.MethodPost, "/v1/takedown", adminToken, maxPrivateBody, `"name":"a"`},
		{http.MethodDelete, "/v1/takedown", adminToken, maxPrivateBody, `"name":"a"`},
		{http.MethodPost, "/v1/info", adminToken, maxInfoBody, `"images":[]`},
		{http.MethodPost, "/v1/warm", adminToken, maxWarmBody, `"paths":["a"]`},
		{http.MethodPost, "/v1/warm/dead", adminToken, maxEventBody, `"do":"retry"`},
		{http.MethodPost, "/v1/events/s3", s3Token, maxEventBody, ""},
	}
	for _, e := range endpoints {
		refused := func(name, body string, status int, code string, header ...string) {
			t.Helper()
			r := httptest.NewRequest(e.method, "http://localhost"+e.path, strings.NewReader(body))
			r.Header.Set("Authorization", "Bearer "+e.token)
			for i := 0; i < len(header); i += 2 {
				r.Header.Del(header[i])
				if header[i+1] != "" {
					r.Header.Set(header[i], header[i+1])
				}
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			var problem struct{ Code string }
			err := json.Unmarshal(w.Body.Bytes(), &problem)
			if err != nil || w.Code != status || problem.Code != code ||
				w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s %s, %s: %d %s, want %d %s", e.method, e.path, name, w.Code, w.Body, status, code)
			}
			for _, secret := range []string{adminToken, s3Token, wrongToken} {
				if strings.Contains(w.Body.String(), secret) || strings.Contains(log.String(), secret) {
					t.Errorf("%s %s, %s: a secret in the answer %s or the log %s", e.method, e.path, name, w.Body, &log)
				}
			}
			log.Reset()
		}
		const token = "Authorization"
		refused("no token", `{}`, 401, "token_invalid", token, "")
		refused("a wrong token", `{}`, 401, "token_invalid", token, "Bearer "+wrongToken)
		refused("another secret", `{}`, 401, "token_invalid", token,
			"Bearer "+map[string]string{adminToken: s3Token, s3Token: adminToken}[e.token])
		refused("another site", `{}`, 403, "cross_site", "Sec-Fetch-Site", "cross-site")
		refused("a body that is too large", strings.Repeat(" ", e.most+1), 413, "body_too_large")
		if e.token == s3Token {
			continue // the rest is checked by the service that reads notifications
		}
		refused("no body", "", 400, "request_invalid")
		refused("broken JSON", `{"source":`, 400, "request_invalid")
		refused("a form", "source=posts&name=a", 400, "request_invalid",
			"Content-Type", "application/x-www-form-urlencoded")
		refused("an unknown field", `{"sauce":"posts"}`, 400, "request_invalid")
		refused("a wrong type", `{"source":7,"images":7,"ids":7}`, 400, "request_invalid")
		refused("two values", `{}{}`, 400, "request_invalid")
		refused("an array", `[]`, 400, "request_invalid")
		refused("a repeated field", `{`+e.field+`,`+e.field+`}`, 400, "request_invalid")
		refused("deep nesting", `{"images":`+strings.Repeat("[", 20_000), 400, "request_invalid")
		refused("a number that overflows", `{"ids":[18446744073709551616],"paths":[1e999]}`, 400, "request_invalid")
		refused("an encoded body", `{`+e.field+`}`, 415, "body_encoded", "Content-Encoding", "gzip")
	}
}
