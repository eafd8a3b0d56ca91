// Package config is what imagetier can be told: one schema that makes flags, environment
// variables (IMAGETIER_…), YAML keys and help (package settings), and the checks over
// several settings. It alone reads the environment. AWS_* and OTEL_* are not its: the
// libraries that they belong to read them.
package config

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/settings"
	"github.com/novasocial/imagetier/origin/sourceurl"
	"github.com/novasocial/imagetier/prefetch/profile"
	"github.com/novasocial/imagetier/resize"
)

// Config is what imagetier was told, checked. Its zero value is nothing to serve with:
// Load makes it.
type Config struct {
	Listen        string // public address, host:port; the host may be empty (all), the port 0 (any)
	PrivateListen string // private address; "127.0.0.1:8081"
	TLSCert       string // PEM file of the public listener's certificate chain; "" is plain HTTP
	TLSKey        string // PEM file of its key; set exactly when TLSCert is

	Sources             []Source // in the order they were given; no two have one name
	AllowPrivateOrigins bool     // HTTP sources may reach private addresses

	Keys []imageurl.Key // the first signs, all verify; empty only with Dev
	Dev  bool           // "_" signs too, both listeners are on 127.0.0.1 unless told otherwise

	CacheDir      string // disk tier and originals; made by whoever opens it
	MemorySize    int64  // bytes that the memory tier may hold
	DiskSize      int64  // bytes that the disk tier may take
	OriginalsSize int64  // bytes that kept originals may take
	Derived       Derived

	Workers       int           // resize processes, at least 1
	ResizeCommand string        // path of imagetier-resize
	Limits        resize.Limits // of originals; no field is 0
	Mezzanine     int           // long side of mezzanines in pixels; 0 is none
	Watermarks    []Watermark   // no two have one name

	OriginTimeout time.Duration // of one fetch, its second try included
	ResizeTimeout time.Duration // of one resize
	NegativeTTL   time.Duration // how long a 404 is kept; 0 is not at all
	LiveTTL       time.Duration // how long a live original is fresh whose origin is silent
	DrainTimeout  time.Duration // how long requests may take to end after SIGTERM

	NATS           string           // URLs of a NATS cluster, with commas; "" embeds the queue
	WebhookSecrets []string         // whsec_…, checked: of those who send events; empty refuses them
	Profiles       *profile.Set     // named lists of Specs
	ProfilesFile   string           // where they come from; "" is the built-in ones
	Prefixes       []profile.Prefix // as they were given, with HTTP set from the sources
	Links          *profile.Links   // made of Prefixes
	Warm           string           // "adaptive", "all" or "none"
	WastedAfter    time.Duration    // how long what was made early is watched
	Balancer       string           // base URL without a / at its end that warming asks; "" is this node itself

	CDNTags      string   // "none", "surrogate-key" or "cache-tag": TagHeader says which header it is
	PurgeHook    string   // URL that is told of purges; "" is none
	PurgeSecrets []string // whsec_…, checked: each signs; set exactly when PurgeHook is

	AdminToken string     // of POST and DELETE on the private listener; "" refuses them unless Dev
	LogLevel   slog.Level //
	LogFormat  string     // "json" or "text"

	// Secrets are all secrets as they were spelled, for a log to leave out.
	Secrets []string
}

// Source is a configured origin.
type Source struct {
	Name string // [a-z][a-z0-9-]{0,31}
	URL  sourceurl.Source
	Text string // the URL as it was given; it has no secret in it
}

// Signer returns the signer of the configured keys; with Dev one that takes "_" too. The
// error says that there are no keys.
func (c Config) Signer() (*imageurl.Signer, error) {
	switch {
	case c.Dev:
		return imageurl.NewDevSigner(c.Keys...)
	case len(c.Keys) == 0:
		return nil, errNoKeys
	}
	return imageurl.NewSigner(c.Keys...)
}

// Machine is what Load asks the machine. A field that is zero asks the real one.
type Machine struct {
	Root         fs.FS                  // the file system from /, for the cgroup's limit
	Cores        int                    // default of Workers
	Executable   func() (string, error) // imagetier-resize stands beside it
	UserCacheDir func() (string, error) // default of CacheDir with Dev
}

func (m Machine) orReal() Machine {
	if m.Root == nil {
		m.Root = os.DirFS("/")
	}
	if m.Cores == 0 {
		m.Cores = runtime.GOMAXPROCS(0) // knows the cgroup's share of the cores
	}
	if m.Executable == nil {
		m.Executable = os.Executable
	}
	if m.UserCacheDir == nil {
		m.UserCacheDir = os.UserCacheDir
	}
	return m
}

// Input is where Load reads from. Its zero value is defaults alone.
type Input struct {
	settings.Input
	Machine Machine
	// Unfinished leaves out what serving needs besides: keys, and enough memory.
	Unfinished bool
}

// Schema returns imagetier's settings, for flags, completion and documentation. Values read
// through it go nowhere.
func Schema() *settings.Schema { return schema(new(Config)) }

// Load reads the settings. Where all of them are read (Input.Only is nil) they are checked as
// for serving: keys or Dev, and enough memory in the cgroup, unless Input.Unfinished. The error is of type
// settings.Faults and has every fault. Resolved tells where each value came from; it is
// there with an error too.
func Load(in Input) (Config, *settings.Resolved, error) {
	var c Config
	machine := in.Machine.orReal()
	r := schema(&c).Resolve(in.Input)
	c.defaults(r, machine)
	c.check(r, machine, in.Only == nil && !in.Unfinished)
	for _, v := range r.Values {
		if v.Secret && v.Value.String() != "" {
			c.Secrets = append(c.Secrets, secretsOf(v.Value)...)
		}
	}
	if err := r.Err(); err != nil {
		return Config{}, r, err
	}
	return c, r, nil
}

// defaults sets what depends on other settings or on the machine.
func (c *Config) defaults(r *settings.Resolved, m Machine) {
	if c.Dev {
		const why = "with --dev"
		r.SetDefault("listen", "127.0.0.1:8080", why)
		r.SetDefault("log-format", "text", why)
		if dir, err := m.UserCacheDir(); err == nil {
			r.SetDefault("cache-dir", filepath.Join(dir, "imagetier"), why)
		}
	}
	r.SetDefault("workers", itoa(m.Cores), "the number of cores")
	if self, err := m.Executable(); err == nil {
		r.SetDefault("resize-command", filepath.Join(filepath.Dir(self), "imagetier-resize"), "beside imagetier")
	}
}
