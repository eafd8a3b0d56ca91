package server

import (
	"time"

	"github.com/novasocial/imagetier/internal/config"
)

// fillTimeout bounds a fill: a fetch, a resize and waiting for both.
func fillTimeout(cfg config.Config) time.Duration {
	return cfg.OriginTimeout + cfg.ResizeTimeout + 5*time.Second
}

func watermarkFiles(cfg config.Config) map[string][]byte {
	files := make(map[string][]byte, len(cfg.Watermarks))
	for _, w := range cfg.Watermarks {
		files[w.Name] = w.Bytes
	}
	return files
}

func watermarkDigests(cfg config.Config) map[string]string {
	digests := make(map[string]string, len(cfg.Watermarks))
	for _, w := range cfg.Watermarks {
		digests[w.Name] = w.Digest
	}
	return digests
}

func watermarkNames(cfg config.Config) map[string]bool {
	names := make(map[string]bool, len(cfg.Watermarks))
	for _, w := range cfg.Watermarks {
		names[w.Name] = true
	}
	return names
}
