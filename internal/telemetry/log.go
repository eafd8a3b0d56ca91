package telemetry

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"go.opentelemetry.io/otel/trace"
)

// Config of a [Telemetry] and its log.
type Config struct {
	// Program is the service name in traces, "imagetier"; Version is its version there.
	Program, Version string
	// Output takes the log; nil is standard error.
	Output io.Writer
	// Format of the log: "json" (the default) or "text".
	Format string
	// Level is the lowest level that is logged; its zero value is info.
	Level slog.Leveler
	// Secrets are keys, tokens and passwords as they are written in the configuration. They never get into the log,
	// see [Open].
	Secrets []string
}

// hidden replaces a secret.
const hidden = "(secret)"

// newHandler returns the handler of a program's log: one line per record, with trace_id and span_id in the lines of
// traced requests. Attributes whose key ends in authorization, cookie, password, secret or token are hidden here; out
// is the scrubber, which hides secrets in the finished line.
func newHandler(cfg Config, out io.Writer) (slog.Handler, error) {
	opts := &slog.HandlerOptions{Level: cfg.Level, ReplaceAttr: hide}
	switch cfg.Format {
	case "", "json":
		return traced{slog.NewJSONHandler(out, opts)}, nil
	case "text":
		return traced{slog.NewTextHandler(out, opts)}, nil
	}
	return nil, fmt.Errorf("log format %q: want json or text", cfg.Format)
}

// hide replaces attributes whose name says that they are secret.
func hide(_ []string, a slog.Attr) slog.Attr {
	for _, ending := range [...]string{"authorization", "cookie", "password", "secret", "token"} {
		if len(a.Key) >= len(ending) && strings.EqualFold(a.Key[len(a.Key)-len(ending):], ending) {
			return slog.String(a.Key, hidden)
		}
	}
	return a
}

// scrubber replaces secrets in each finished line, wherever they came from: a message, an error, a struct, a stack. A
// secret is found as it is written in the configuration, quoted, and, if it is hexadecimal, in the other case and as
// base64 of its bytes. Secrets of less than 4 bytes are not replaced: they would match everywhere. slog's handlers
// write one line at a time.
type scrubber struct {
	out     io.Writer
	secrets atomic.Pointer[[][]byte] // the slice is never changed
}

func newScrubber(out io.Writer, secrets []string) *scrubber {
	s := &scrubber{out: out}
	s.secrets.Store(new([][]byte))
	s.hide(secrets)
	return s
}

// hide adds secrets. Calls must not overlap.
func (s *scrubber) hide(secrets []string) {
	all := slices.Clone(*s.secrets.Load())
	seen := map[string]bool{}
	for _, known := range all {
		seen[string(known)] = true
	}
	for _, secret := range secrets {
		if len(secret) < 4 {
			continue
		}
		for _, spelled := range spellings(secret) {
			if !seen[spelled] {
				seen[spelled] = true
				all = append(all, []byte(spelled))
			}
		}
	}
	// Longest first: a secret within another one must not hide only a part of it.
	slices.SortStableFunc(all, func(a, b []byte) int { return len(b) - len(a) })
	s.secrets.Store(&all)
}

// spellings returns the ways in which a secret may be written in a line.
func spellings(secret string) []string {
	quoted := strconv.Quote(secret) // like JSON, except for control characters
	all := []string{secret, quoted[1 : len(quoted)-1]}
	if raw, err := hex.DecodeString(secret); err == nil {
		all = append(all,
			strings.ToLower(secret), strings.ToUpper(secret),
			base64.RawStdEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw))
	}
	return all
}

func (s *scrubber) Write(line []byte) (int, error) {
	clean := line
	for _, secret := range *s.secrets.Load() {
		if bytes.Contains(clean, secret) {
			clean = bytes.ReplaceAll(clean, secret, []byte(hidden))
		}
	}
	if _, err := s.out.Write(clean); err != nil {
		return 0, err
	}
	return len(line), nil
}

// traced adds the ids of the request's trace and span.
type traced struct{ slog.Handler }

func (h traced) Handle(ctx context.Context, r slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{h.Handler.WithAttrs(attrs)} }
func (h traced) WithGroup(name string) slog.Handler       { return traced{h.Handler.WithGroup(name)} }
