package server

import (
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/httpapi"
	"github.com/novasocial/imagetier/origin/sourceurl"
	"github.com/novasocial/imagetier/prefetch/service"
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

// linger is how long the public listener accepts connections after readiness has failed:
// long enough for load balancers that probe every second.
func linger(cfg config.Config) time.Duration {
	if cfg.Dev {
		return 0
	}
	return min(time.Second, cfg.DrainTimeout)
}

func catalogOf(cfg config.Config, marks *imagecache.Watermarks) httpapi.Catalog {
	byName := make(map[string]httpapi.Source, len(cfg.Sources))
	for _, s := range cfg.Sources {
		byName[s.Name] = httpapi.Source{Originals: s.URL.Originals}
	}
	return httpapi.Catalog{Sources: byName, Watermarks: marks}
}

func sourceNames(cfg config.Config) (names []string) {
	for _, s := range cfg.Sources {
		names = append(names, s.Name)
	}
	return names
}

func bucketsOf(cfg config.Config) (buckets []service.Bucket) {
	for _, s := range cfg.Sources {
		if s.URL.Kind == sourceurl.S3 {
			buckets = append(buckets, service.Bucket{Name: s.URL.Bucket, Prefix: s.URL.Prefix, Source: s.Name})
		}
	}
	return buckets
}
