package config

import (
	"slices"
	"strings"
	"time"

	"github.com/novasocial/imagetier/internal/settings"
	"github.com/novasocial/imagetier/prefetch/profile"
	"github.com/novasocial/imagetier/resize"
)

// Prefix begins the environment variables of imagetier.
const Prefix = "IMAGETIER_"

// foreign reports whether a variable with our prefix belongs to the gateway, or is where make keeps test servers.
func foreign(variable string) bool {
	return strings.HasPrefix(variable, "IMAGETIER_GATEWAY_") || variable == "IMAGETIER_TOOLS"
}

const year = 365 * 24 * time.Hour

// schema returns the settings bound to c.
func schema(c *Config) *settings.Schema {
	var file string
	config := []settings.Setting{{
		Name: settings.ConfigName, Placeholder: "FILE", Value: settings.String(&file),
		Help: "A YAML file of settings: --cache-disk-size is cache.disk.size in it, and IMAGETIER_CACHE_DISK_SIZE " +
			"in the environment. Flags override the environment, the environment overrides the file.",
	}}
	return &settings.Schema{Prefix: Prefix, Foreign: foreign, Settings: slices.Concat(
		config,
		group("Listeners:", listenerSettings(c)),
		group("Sources and signatures:", sourceSettings(c)),
		group("Cache:", cacheSettings(c)),
		group("Resizing, and limits of originals:", resizeSettings(c)),
		group("Pre-warming, and several nodes:", warmSettings(c)),
		group("CDN:", cdnSettings(c)),
		group("Timeouts and lifetimes:", timeSettings(c)),
		group("Log:", logSettings(c)),
	)}
}

// group puts settings under a heading of --help.
func group(heading string, all []settings.Setting) []settings.Setting {
	for i := range all {
		all[i].Group = heading
	}
	return all
}

func listenerSettings(c *Config) []settings.Setting {
	return []settings.Setting{{
		Name: "listen", Placeholder: "ADDR", Default: ":8080", Value: settings.Address(&c.Listen),
		DefaultHelp: ":8080; with --dev 127.0.0.1:8080", Help: "Address of the public listener: images and /healthz.",
	}, {
		Name: "private-listen", Placeholder: "ADDR", Default: "127.0.0.1:8081",
		Value: settings.Address(&c.PrivateListen),
		Help:  "Address of the private listener: HTTP API, console, /readyz, /metrics and /debug/pprof/.",
	}, {
		Name: "max-connections-per-address", Placeholder: "N", Default: "0",
		Value: settings.Int(&c.MaxPerAddress, 0, 8192),
		Help: "Maximum number of open connections of one IPv4 address or IPv6 /64 network on the public listener; more " +
			"are closed at once. 0 means no limit: use it behind a CDN or load balancer, whose addresses are few. " +
			"Where clients connect directly, 256 leaves room for many behind one NAT.",
	}, {
		Name: "tls-cert", Placeholder: "FILE", Value: settings.String(&c.TLSCert),
		Help: "PEM file of the public listener's certificate chain. Needs --tls-key.",
	}, {
		Name: "tls-key", Placeholder: "FILE", Value: settings.String(&c.TLSKey),
		Help: "PEM file of the certificate's key.",
	}, {
		Name: "admin-token", Placeholder: "TOKEN", Secret: true, Value: settings.Token(&c.AdminToken),
		Help: "Bearer token, at least 16 bytes, for GET /v1/originals and every POST and DELETE on the private listener " +
			"but events. Without it these requests are rejected, unless --dev.",
	}}
}

func sourceSettings(c *Config) []settings.Setting {
	return []settings.Setting{{
		Name: "source", Placeholder: "NAME=URL", Value: sources(&c.Sources),
		Help: "Where originals are: dir:///path, s3://bucket/prefix?region=&endpoint=&path-style=true or " +
			"https://host/prefix. Repeatable; in the environment separated by commas (write a comma in a URL as " +
			"%2C). ?originals=yes allows the shape orig; ?missing=403 is for origins that answer 403 for missing originals. " +
			"Buckets also take ?etag=opaque, if their ETags are not the MD5 of the bytes, and ?request-payer=yes; HTTP " +
			"sources ?redirect=HOST, a host to which they may redirect.",
	}, {
		Name: "keys", Placeholder: "ID=HEX,...", Secret: true, Value: signingKeys(&c.Keys),
		Required: "required unless --dev",
		Help:     "Keys that sign URLs, at least 32 bytes each. The first key signs, all keys verify.",
	}, {
		Name: "dev", Value: settings.Bool(&c.Dev),
		Help: "Development mode: accepts _ as a signature, listens on 127.0.0.1, and keeps the cache in the user's cache " +
			"directory.",
	}, {
		Name: "allow-private-origins", Default: "false", Value: settings.Bool(&c.AllowPrivateOrigins),
		Help: "Allow HTTP sources at private, loopback and link-local addresses.",
	}}
}

func cacheSettings(c *Config) []settings.Setting {
	return []settings.Setting{{
		Name: "cache-dir", Placeholder: "DIR", Default: "./cache", Value: nonEmpty(&c.CacheDir),
		DefaultHelp: "./cache; with --dev in the user's cache directory",
		Help:        "Directory of the disk tier, kept originals, the queue, and the lists of takedowns and tags.",
	}, {
		Name: "cache-memory-size", Placeholder: "SIZE", Default: "512MiB", Value: settings.Size(&c.MemorySize, 8<<20),
		Help: "Maximum size of the memory tier. The process needs 1.2 times this plus 250MiB, which must fit into the " +
			"cgroup together with the workers.",
	}, {
		Name: "in-flight-size", Placeholder: "SIZE", Default: "128MiB", Value: settings.Size(&c.InFlightSize, 8<<20),
		Help: "Memory for originals that are being fetched, decoded or sent; those being sent get at most half of it. At " +
			"least --max-original-bytes. Requests wait 2s for it, then get a 503. Up to 128MiB are part of the 250MiB " +
			"that the process needs; more comes on top.",
	}, {
		Name: "cache-disk-size", Placeholder: "SIZE", Default: "10GiB", Value: settings.Size(&c.DiskSize, 16<<20),
		Help: "Maximum size of the disk tier.",
	}, {
		Name: "cache-originals-size", Placeholder: "SIZE", Default: "5GiB",
		Value: settings.Size(&c.OriginalsSize, 16<<20),
		Help:  "Maximum size of originals and mezzanines on disk.",
	}, {
		Name: "derived", Placeholder: "URL", Value: derivedURL(&c.Derived),
		Help: "Shared store: a bucket in which nodes share variants, s3://bucket/prefix?region=&endpoint=&path-style=true. " +
			"Several nodes also need --nats, so that purges reach all of them.",
	}}
}

func resizeSettings(c *Config) []settings.Setting {
	return []settings.Setting{{
		Name: "workers", Placeholder: "N", DefaultHelp: "number of cores", Value: settings.Int(&c.Workers, 1, 1024),
		Help: "Number of resize processes. Expensive jobs have half as many processes of their own, at least one.",
	}, {
		Name: "resize-command", Placeholder: "FILE", DefaultHelp: "beside imagetier", Value: nonEmpty(&c.ResizeCommand),
		Help: "Path of the program imagetier-resize.",
	}, {
		Name: "resize-memory", Placeholder: "SIZE", Default: "1280MiB", Value: settings.Size(&c.ResizeMemory, 256<<20),
		Help: "Maximum memory that a resize process may allocate (RLIMIT_DATA). Formats that need more are answered with " +
			"413: JPEG XL above 15 megapixels, AVIF above 29 by default.",
	}, {
		Name: "mezzanine", Placeholder: "N", Default: "1440", Value: settings.Int(&c.Mezzanine, 0, resize.MaxBox),
		Help: "Long side, in pixels, of mezzanines: reduced copies of originals, from which later sizes are made. One is " +
			"made after the first answer, if more sizes are likely and no request waits. 0 keeps only originals.",
	}, {
		Name: "watermark", Placeholder: "NAME=FILE", Value: watermarks(&c.Watermarks),
		Help: "Image that wm.NAME draws in the lower right corner, at most a quarter of the width and height. " +
			"Repeatable.",
	}, {
		Name: "max-original-bytes", Placeholder: "SIZE", Default: "32MiB",
		Value: settings.Size(&c.Limits.MaxBytes, 1<<10),
		Help:  "Maximum size of an original; larger ones are answered with 413.",
	}, {
		Name: "max-megapixels", Placeholder: "N", Default: "60", Value: megapixels(&c.Limits.MaxPixels),
		Help: "Maximum number of pixels of an original, in millions; larger ones are answered with 413. Each worker may need 4 " +
			"bytes per pixel.",
	}, {
		Name: "max-side", Placeholder: "N", Default: "32768", Value: settings.Int(&c.Limits.MaxSide, 1, 1<<24),
		Help: "Maximum width and height of an original, in pixels; larger ones are answered with 413.",
	}, {
		Name: "max-frames", Placeholder: "N", Default: "200", Value: settings.Int(&c.Limits.MaxFrames, 1, 1<<20),
		Help: "Maximum number of frames of an animation; longer ones are answered with 413, except for stills.",
	}}
}

func warmSettings(c *Config) []settings.Setting {
	return []settings.Setting{{
		Name: "webhook-secrets", Placeholder: "whsec_...,...", Secret: true, Value: webhookSecrets(&c.WebhookSecrets),
		Help: "Secrets of the services that send events (Standard Webhooks), at least 24 bytes each. Give the old and the " +
			"new one during a rotation. Without a secret, events are rejected, unless --dev.",
	}, {
		Name: "s3-events-token", Placeholder: "TOKEN", Secret: true, Value: longToken(&c.S3EventsToken),
		Help: "Token of S3 notifications (POST /v1/events/s3), at least 16 characters, as a Bearer token or as the " +
			"password in the URL that the S3 server calls. Without it notifications are rejected, unless --dev.",
	}, {
		Name: "s3-events-sns-topic", Placeholder: "ARN", Value: snsTopic(&c.SNSTopic),
		Help: "Amazon SNS topic whose subscription to /v1/events/s3 is confirmed automatically " +
			"(arn:aws:sns:eu-central-1:123456789012:photos). Subscriptions of other topics are only logged.",
	}, {
		Name: "warm", Placeholder: "MODE", Default: "adaptive",
		Value: settings.Choice(&c.Warm, "adaptive", "all", "none"),
		Help:  "Which Specs of a profile are pre-warmed: adaptive (those that clients request), all, or none.",
	}, {
		Name: "wasted-after", Placeholder: "TIME", Default: "6h",
		Value: settings.Duration(&c.WastedAfter, time.Second, year),
		Help: "How long to wait for a first request before a pre-warmed variant counts as wasted. Adaptive warming learns " +
			"from that.",
	}, {
		Name: "profiles", Placeholder: "FILE", DefaultHelp: "feed, avatar and grid",
		Value: settings.String(&c.ProfilesFile),
		Help: "A YAML file of named lists of Specs, like feed: [880x.webp, 440x.webp]. It adds to the built-in ones and " +
			"replaces those of the same name.",
	}, {
		Name: "image-prefix", Placeholder: "PREFIX=SOURCE", Value: settings.Items(&c.Prefixes, profile.ParsePrefix),
		Help: "Maps plain URLs in events to a source: https://cdn.app.example/=posts?version=RULE. RULE is fixed (names " +
			"are never reused; the default), query:NAME or etag. Repeatable.",
	}, {
		Name: "balancer", Placeholder: "URL", Value: balancer(&c.Balancer),
		Help: "URL of the load balancer in front of the public listeners. With several nodes, pre-warming requests images " +
			"through it, so that each is made on the node that serves it.",
	}, {
		Name: "nats", Placeholder: "URL", Secret: true, DefaultHelp: "embedded, in the cache directory",
		Value: natsURL(&c.NATS),
		Help: "NATS cluster with JetStream, which several nodes need. It has their purges, takedowns, tags and queue: " +
			"nats://host:4222 or tls://, several separated by commas.",
	}, {
		Name: "stream-replicas", Placeholder: "N", Default: "3", Value: settings.Int(&c.StreamReplicas, 1, 5),
		Help: "Number of NATS servers that store each stream. With 1, losing that server loses purges and " +
			"takedowns. Nodes are not ready while the cluster has fewer servers.",
	}}
}

func cdnSettings(c *Config) []settings.Setting {
	return []settings.Setting{{
		Name: "cdn-tags", Placeholder: "HEADER", Default: "none",
		Value: settings.Choice(&c.CDNTags, "none", "surrogate-key", "cache-tag"),
		Help: "Header that carries the tag of the original in every cacheable answer: surrogate-key (Fastly), " +
			"cache-tag (Cloudflare, CloudFront) or none.",
	}, {
		Name: "purge-hook", Placeholder: "URL", Value: hookURL(&c.PurgeHook),
		Help: "URL of an adapter that purges the CDN. It receives a signed webhook with the tags of originals that were " +
			"purged, taken down or lifted. Needs --purge-secrets.",
	}, {
		Name: "purge-secrets", Placeholder: "whsec_...,...", Secret: true, Value: webhookSecrets(&c.PurgeSecrets),
		Help: "Secrets that sign the purge webhook (Standard Webhooks), at least 24 bytes each. Every secret signs, so " +
			"that they can be rotated.",
	}}
}

func timeSettings(c *Config) []settings.Setting {
	return []settings.Setting{{
		Name: "origin-timeout", Placeholder: "TIME", Default: "5s",
		Value: settings.Duration(&c.OriginTimeout, 10*time.Millisecond, time.Hour),
		Help:  "Timeout of fetching an original, retries included.",
	}, {
		Name: "resize-timeout", Placeholder: "TIME", Default: "10s",
		Value: settings.Duration(&c.ResizeTimeout, 10*time.Millisecond, time.Hour),
		Help: "Timeout of a resize, after which its process is killed. Images whose encoding would take longer are " +
			"answered with 413: HEIC above 4.5 megapixels by default.",
	}, {
		Name: "negative-ttl", Placeholder: "TIME", Default: "10s", Value: settings.Duration(&c.NegativeTTL, 0, year),
		Help: "How long refusals are cached: originals that are missing, rejected by the origin, too large, unsupported or " +
			"damaged. 0s disables it.",
	}, {
		Name: "live-ttl", Placeholder: "TIME", Default: "24h", Value: settings.Duration(&c.LiveTTL, 0, year),
		Help: "How long a live original is fresh if its origin states no lifetime. With 0s it is revalidated for every " +
			"request, and --heuristic-ttl has no effect.",
	}, {
		Name: "heuristic-ttl", Placeholder: "TIME", Default: "24h", Value: settings.Duration(&c.HeuristicTTL, 0, year),
		Help: "Maximum heuristic freshness: a live original of an HTTP source that has Last-Modified and no lifetime is " +
			"fresh for a tenth of its age. 0s uses --live-ttl instead.",
	}, {
		Name: "stale-if-error", Placeholder: "TIME", Default: "168h",
		Value: settings.Duration(&c.StaleIfError, 0, year),
		Help: "How long a stale live image is served while its origin fails. An origin's own stale-if-error overrides it; " +
			"no-cache, must-revalidate, proxy-revalidate and s-maxage forbid it.",
	}, {
		Name: "drain-timeout", Placeholder: "TIME", Default: "25s",
		Value: settings.Duration(&c.DrainTimeout, 0, time.Hour),
		Help:  "How long requests in flight may take after SIGTERM.",
	}}
}

func logSettings(c *Config) []settings.Setting {
	return []settings.Setting{{
		Name: "log-level", Placeholder: "LEVEL", Default: "info", Value: settings.Level(&c.LogLevel),
		Help: "debug, info, warn or error.",
	}, {
		Name: "log-format", Placeholder: "FORMAT", Default: "json",
		Value:       settings.Choice(&c.LogFormat, "json", "text"),
		DefaultHelp: "json; with --dev text", Help: "json or text.",
	}, {
		Name: "access-log", Placeholder: "WHICH", Default: "errors", Value: accessLog(&c.AccessLog),
		Help: "Which requests of the public listener are logged: errors (5xx, originals that cannot be used: 413, 415, " +
			"422, and 400 spec_unsupported), all, 1/100 (errors, and one in 100 of the others), or off (only 500).",
	}}
}
