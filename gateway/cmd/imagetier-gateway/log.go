package main

import (
	"bytes"
	"io"
	"log/slog"

	"github.com/novasocial/imagetier/gateway/cmd/imagetier-gateway/internal/config"
)

// newLog writes lines to out, without the secrets of cfg, however they may come there.
func newLog(cfg config.Config, out io.Writer) *slog.Logger {
	s := scrubber{out: out}
	for _, secret := range cfg.Secrets {
		if len(secret) >= 4 { // a shorter one would be found everywhere, and protects nothing
			s.secrets = append(s.secrets, []byte(secret))
		}
	}
	opts := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == "text" {
		return slog.New(slog.NewTextHandler(s, opts))
	}
	return slog.New(slog.NewJSONHandler(s, opts))
}

// scrubber hides secrets in what is written; slog writes a line at a time.
type scrubber struct {
	out     io.Writer
	secrets [][]byte
}

func (s scrubber) Write(line []byte) (int, error) {
	clean := line
	for _, secret := range s.secrets {
		if bytes.Contains(clean, secret) {
			clean = bytes.ReplaceAll(clean, secret, []byte("(secret)"))
		}
	}
	if _, err := s.out.Write(clean); err != nil {
		return 0, err
	}
	return len(line), nil
}
