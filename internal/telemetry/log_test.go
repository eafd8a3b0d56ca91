package telemetry

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"
)

func TestNewHandler_Formats(t *testing.T) {
	tel, log := open(t, Config{Format: "json"})
	tel.Log.Info("listening", "addr", ":8080")
	var line map[string]any
	if err := json.Unmarshal(log.Bytes(), &line); err != nil || line["msg"] != "listening" || line["addr"] != ":8080" {
		t.Errorf("%v: %s", err, log)
	}
	tel, log = open(t, Config{Format: "text"})
	tel.Log.Info("listening", "addr", ":8080")
	if !strings.Contains(log.String(), "msg=listening addr=:8080") {
		t.Error(log)
	}
	if _, err := Open(t.Context(), Config{Format: "xml"}); err == nil {
		t.Error("xml was taken")
	}
}

func TestNewHandler_Level(t *testing.T) {
	tel, log := open(t, Config{Level: slog.LevelWarn})
	tel.Log.Info("listening")
	if log.Len() > 0 {
		t.Error(log)
	}
	tel.Log.Warn("slow")
	if log.Len() == 0 {
		t.Error("a warning is missing")
	}
}

func TestNewHandler_HidesSecrets(t *testing.T) {
	const (
		key   = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"
		token = `s3cret"token<`
	)
	raw, err := hex.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	type config struct{ Keys []byte } // encoding/json spells it base64
	for _, format := range []string{"json", "text"} {
		tel, log := open(t, Config{Format: format, Secrets: []string{key, token, ""}})
		tel.Log.With("with", token).
			WithGroup("g").
			Error("message with "+token, "err", errors.New("keys "+strings.ToLower(key)), "upper", strings.ToUpper(key))
		tel.Log.Error("config", "config", config{raw}, "raw", base64.RawURLEncoding.EncodeToString(raw))
		text := log.String()
		for _, needle := range []string{"s3cret", "00112233", base64.StdEncoding.EncodeToString(raw)[:20]} {
			if strings.Contains(strings.ToLower(text), strings.ToLower(needle)) {
				t.Errorf("%s is in the log:\n%s", needle, text)
			}
		}
		if strings.Count(text, "\n") != 2 || !strings.Contains(text, "message with (secret)") {
			t.Errorf("the rest of the lines is not there:\n%s", text)
		}
	}
}

// A secret that contains another secret is hidden as a whole.
func TestNewHandler_HidesLongestSecretFirst(t *testing.T) {
	tel, log := open(t, Config{Secrets: []string{"middle", "begin-middle-end"}})
	tel.Log.Info("said begin-middle-end and middle")
	if !strings.Contains(log.String(), "said (secret) and (secret)") {
		t.Error(log)
	}
}

func TestNewHandler_HidesSecretAttributes(t *testing.T) {
	tel, log := open(t, Config{})
	tel.Log.Info("request", "Authorization", "Bearer abc", "admin_token", "def",
		slog.Group("headers", "Set-Cookie", "ghi"), "path", "/jkl")
	for _, needle := range []string{"abc", "def", "ghi"} {
		if strings.Contains(log.String(), needle) {
			t.Errorf("%s is in %s", needle, log)
		}
	}
	if !strings.Contains(log.String(), "/jkl") {
		t.Error(log)
	}
}

func TestNewHandler_IgnoresShortSecrets(t *testing.T) {
	tel, log := open(t, Config{Secrets: []string{"e"}})
	tel.Log.Info("listening here")
	if !strings.Contains(log.String(), "listening here") {
		t.Error(log)
	}
}

func TestNewHandler_AddsTraceID(t *testing.T) {
	tel, log := open(t, Config{})
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	ctx := trace.ContextWithSpanContext(context.Background(), span)
	tel.Log.With("a", 1).InfoContext(ctx, "request")
	if !strings.Contains(log.String(), `"trace_id":"01000000000000000000000000000000","span_id":"0200000000000000"`) {
		t.Error(log)
	}
}
