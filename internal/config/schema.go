package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/settings"
	"github.com/novasocial/imagetier/origin/sourceurl"
)

// Prefix begins the environment variables of imagetier.
const Prefix = "IMAGETIER_"

// foreign tells variables that begin like ours: the gateway's, and where make keeps the
// servers that tests start.
func foreign(variable string) bool {
	return strings.HasPrefix(variable, "IMAGETIER_GATEWAY_") || variable == "IMAGETIER_TOOLS"
}

const (
	groupListen = "Listeners:"
	groupSource = "Sources and signatures:"
	groupCache  = "Cache:"
	groupResize = "Resizing, and limits of originals:"
	groupWarm   = "Warming ahead of requests:"
	groupCDN    = "A CDN in front:"
	groupTime   = "Times:"
	groupLog    = "Log:"
)

const year = 365 * 24 * time.Hour

// schema returns the settings bound to c.
func schema(c *Config) *settings.Schema {
	s := &settings.Schema{Prefix: Prefix, Foreign: foreign}
	add := func(x settings.Setting) { s.Settings = append(s.Settings, x) }
	var file string
	add(settings.Setting{Name: settings.ConfigName, Placeholder: "FILE", Value: settings.String(&file),
		Help: "A YAML file of settings: --cache-disk-size is cache.disk.size in it, and IMAGETIER_CACHE_DISK_SIZE in the environment. Flags go before the environment, the environment before the file."})

	group := groupListen
	add(settings.Setting{Name: "listen", Group: group, Placeholder: "ADDR", Default: ":8080", Value: settings.Address(&c.Listen),
		DefaultHelp: ":8080; with --dev 127.0.0.1:8080", Help: "Address of the public listener: images and /healthz."})
	add(settings.Setting{Name: "private-listen", Group: group, Placeholder: "ADDR", Default: "127.0.0.1:8081", Value: settings.Address(&c.PrivateListen),
		Help: "Address of the private listener: metrics, readiness, purges, profiles."})
	add(settings.Setting{Name: "tls-cert", Group: group, Placeholder: "FILE", Value: settings.String(&c.TLSCert),
		Help: "PEM file of the public listener's certificate chain. Needs --tls-key."})
	add(settings.Setting{Name: "tls-key", Group: group, Placeholder: "FILE", Value: settings.String(&c.TLSKey),
		Help: "PEM file of the certificate's key."})
	add(settings.Setting{Name: "admin-token", Group: group, Placeholder: "TOKEN", Secret: true, Value: settings.Token(&c.AdminToken),
		Help: "What POST and DELETE on the private listener need as Authorization: Bearer. Without it they are refused."})

	group = groupSource
	add(settings.Setting{Name: "source", Group: group, Placeholder: "NAME=URL", Value: sources(&c.Sources),
		Help: "Where originals are: dir:///path, s3://bucket/prefix?region=&endpoint=&path-style=true or https://host/prefix. May be given again; in the environment with commas (a comma inside of a URL is %2C). ?originals=yes allows /orig, ?missing=403 is for buckets that hide what is missing."})
	add(settings.Setting{Name: "keys", Group: group, Placeholder: "ID=HEX,...", Secret: true, Value: keys(&c.Keys),
		Required: "required unless --dev",
		Help:     "Keys of signatures, at least 32 bytes each: the first signs, all verify."})
	add(settings.Setting{Name: "dev", Group: group, Value: settings.Bool(&c.Dev),
		Help: "For trying things out: _ is accepted as a signature, both listeners are on 127.0.0.1, and the cache is in the user's cache directory."})
	add(settings.Setting{Name: "allow-private-origins", Group: group, Default: "false", Value: settings.Bool(&c.AllowPrivateOrigins),
		Help: "Let HTTP sources reach private, loopback and link-local addresses."})

	group = groupCache
	add(settings.Setting{Name: "cache-dir", Group: group, Placeholder: "DIR", Default: "./cache", Value: nonEmpty(&c.CacheDir),
		DefaultHelp: "./cache; with --dev in the user's cache directory", Help: "Directory of the disk tier and of kept originals."})
	add(settings.Setting{Name: "cache-memory-size", Group: group, Placeholder: "SIZE", Default: "512MiB", Value: settings.Size(&c.MemorySize, 8<<20),
		Help: "Budget of the memory tier. The process takes this × 1.2 + 250MiB, which has to fit the cgroup beside the workers."})
	add(settings.Setting{Name: "cache-disk-size", Group: group, Placeholder: "SIZE", Default: "10GiB", Value: settings.Size(&c.DiskSize, 16<<20),
		Help: "Budget of the disk tier."})
	add(settings.Setting{Name: "cache-originals-size", Group: group, Placeholder: "SIZE", Default: "5GiB", Value: settings.Size(&c.OriginalsSize, 16<<20),
		Help: "Budget of kept originals."})
	addFleet(add, group, c)

	addResizing(add, c)
	addWarming(add, c)
	addCDN(add, c)

	group = groupTime
	add(settings.Setting{Name: "origin-timeout", Group: group, Placeholder: "TIME", Default: "5s", Value: settings.Duration(&c.OriginTimeout, 10*time.Millisecond, time.Hour),
		Help: "Longest fetch of an original, its second try included."})
	add(settings.Setting{Name: "resize-timeout", Group: group, Placeholder: "TIME", Default: "10s", Value: settings.Duration(&c.ResizeTimeout, 10*time.Millisecond, time.Hour),
		Help: "Longest resize; the process is killed then."})
	add(settings.Setting{Name: "negative-ttl", Group: group, Placeholder: "TIME", Default: "10s", Value: settings.Duration(&c.NegativeTTL, 0, year),
		Help: "How long a 404 is kept; 0s is not at all."})
	add(settings.Setting{Name: "live-ttl", Group: group, Placeholder: "TIME", Default: "24h", Value: settings.Duration(&c.LiveTTL, 0, year),
		Help: "How long a live original is fresh whose origin does not say."})
	add(settings.Setting{Name: "drain-timeout", Group: group, Placeholder: "TIME", Default: "25s", Value: settings.Duration(&c.DrainTimeout, 0, time.Hour),
		Help: "How long requests in flight may take after SIGTERM."})

	group = groupLog
	add(settings.Setting{Name: "log-level", Group: group, Placeholder: "LEVEL", Default: "info", Value: settings.Level(&c.LogLevel),
		Help: "debug, info, warn or error."})
	add(settings.Setting{Name: "log-format", Group: group, Placeholder: "FORMAT", Default: "json", Value: settings.Choice(&c.LogFormat, "json", "text"),
		DefaultHelp: "json; with --dev text", Help: "json or text."})
	return s
}

func itoa(n int) string { return strconv.Itoa(n) }

func nonEmpty(p *string) settings.Value {
	return settings.Func(func(text string) error {
		if text == "" || strings.IndexByte(text, 0) >= 0 {
			return errors.New("want a path")
		}
		*p = text
		return nil
	}, func() string { return *p })
}

// megapixels reads millions of pixels, fractions allowed.
func megapixels(p *int64) settings.Value {
	return settings.Func(func(text string) error {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || strings.Trim(text, "0123456789.") != "" || n < 0.01 || n > 10_000 {
			return fmt.Errorf("%q: want millions of pixels from 0.01 to 10000", text)
		}
		*p = int64(math.Round(n * 1e6))
		return nil
	}, func() string { return strconv.FormatFloat(float64(*p)/1e6, 'f', -1, 64) })
}

// sourceName is what the contract calls an alias (CONTRACT 1).
var sourceName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// cutNamed splits a name from what it stands for; want says what that looks like.
func cutNamed(item, want string) (name, value string, err error) {
	name, value, ok := strings.Cut(item, "=")
	if !ok || value == "" {
		return "", "", fmt.Errorf("%q: want %s", item, want)
	}
	return name, value, nil
}

func sources(p *[]Source) settings.Value {
	return settings.List(func() { *p = nil }, func(item string) error {
		name, text, err := cutNamed(item, "NAME=URL, like posts=s3://bucket/prefix")
		if err != nil {
			return err
		}
		if !sourceName.MatchString(name) {
			return fmt.Errorf("source %q: a name is 1-32 of a-z 0-9 -, and begins with a letter", name)
		}
		for _, other := range *p {
			if other.Name == name {
				return fmt.Errorf("source %s is there twice", name)
			}
		}
		parsed, err := sourceurl.Parse(text)
		if err != nil {
			return fmt.Errorf("source %s: %w", name, err)
		}
		*p = append(*p, Source{Name: name, URL: parsed, Text: text})
		return nil
	}, func() []string {
		var items []string
		for _, s := range *p {
			items = append(items, s.Name+"="+s.Text)
		}
		return items
	})
}

// keys reads k2=HEX,k1=HEX; a file of keys may have one a line.
func keys(p *[]imageurl.Key) settings.Value {
	return settings.Func(func(text string) error {
		parsed, err := imageurl.ParseKeys(strings.Join(strings.Fields(strings.ReplaceAll(text, "\n", ",")), ""))
		if err != nil {
			return err
		}
		*p = parsed
		return nil
	}, func() string {
		var items []string
		for _, k := range *p {
			items = append(items, k.ID+"="+hex.EncodeToString(k.Secret))
		}
		return strings.Join(items, ",")
	})
}

// secretsOf returns the parts of a secret setting that nobody may see.
func secretsOf(v settings.Value) []string {
	var all []string
	for item := range strings.SplitSeq(v.String(), ",") {
		if strings.Contains(item, "://") {
			all = append(all, secretOfURL(item)...)
			continue
		}
		if _, secret, ok := strings.Cut(item, "="); ok && strings.Trim(secret, "=") != "" {
			item = secret
		}
		all = append(all, item)
	}
	return all
}
