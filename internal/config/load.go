package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/goccy/go-yaml"

	"github.com/novasocial/imagetier/internal/settings"
	"github.com/novasocial/imagetier/origin/sourceurl"
	"github.com/novasocial/imagetier/prefetch/profile"
)

// Machine is what Load asks the machine. Zero fields ask the real one.
type Machine struct {
	Root         fs.FS                  // the file system from /, for the cgroup's limit
	Cores        int                    // default of Workers
	Executable   func() (string, error) // imagetier-resize is in the same directory
	UserCacheDir func() (string, error) // default of CacheDir with Dev
}

func (m Machine) orReal() Machine {
	if m.Root == nil {
		m.Root = os.DirFS("/")
	}
	if m.Cores == 0 {
		m.Cores = runtime.GOMAXPROCS(0) // respects the cgroup's CPU limit
	}
	if m.Executable == nil {
		m.Executable = os.Executable
	}
	if m.UserCacheDir == nil {
		m.UserCacheDir = os.UserCacheDir
	}
	return m
}

// Input is where Load reads from. Its zero value gives the defaults.
type Input struct {
	settings.Input
	Machine Machine
	// Unfinished does not require what only serving needs: keys, and enough memory.
	Unfinished bool
}

// Schema returns imagetier's settings, for flags, completion and documentation. Their values are stored nowhere.
func Schema() *settings.Schema { return schema(new(Config)) }

// Load reads the settings. If all of them are read (Input.Only is nil), they are checked as for serving, unless
// Input.Unfinished: keys or Dev, and enough memory in the cgroup. The error is of type [settings.Faults] and has every
// fault. Resolved has the place of each value and is returned with an error too.
func Load(in Input) (Config, *settings.Resolved, error) {
	c, r := load(in)
	if err := r.Err(); err != nil {
		return Config{}, r, err
	}
	return c, r, nil
}

// Replaceable are the settings that a running process can replace (see [Reload]). Of certificates, the files are
// read again, and their names need a restart.
var Replaceable = []string{"keys", "profiles", "watermark", "admin-token", "webhook-secrets", "s3-events-token"}

// Reload reads the settings again, for a process that runs with the settings in old. The Config has only the
// [Replaceable] settings. Use them without those that Resolved calls faulty; use none if the Reload is Invalid.
func Reload(in Input, old *settings.Resolved) (Config, *settings.Resolved, settings.Reload) {
	in.Unfinished = true // faults of other settings matter at the next start only
	c, r := load(in)
	return c, r, settings.ReloadOf(old, r, Replaceable, "tls-cert")
}

func load(in Input) (Config, *settings.Resolved) {
	var c Config
	machine := in.Machine.orReal()
	r := schema(&c).Resolve(in.Input)
	c.setDefaults(r, machine)
	c.checkListeners(r)
	c.loadProfiles(r)
	c.readWatermarks(r)
	c.checkPurgeHook(r)
	if in.Only == nil && !in.Unfinished {
		c.checkServing(r, machine)
	}
	for _, v := range r.Values {
		if v.Secret && v.Value.String() != "" {
			c.Secrets = append(c.Secrets, settings.Secrets(v.Value)...)
		}
	}
	return c, r
}

// setDefaults sets the defaults that depend on other settings or on the machine.
func (c *Config) setDefaults(r *settings.Resolved, m Machine) {
	if c.Dev {
		const why = "with --dev"
		r.SetDefault("listen", "127.0.0.1:8080", why)
		r.SetDefault("log-format", "text", why)
		if dir, err := m.UserCacheDir(); err == nil {
			r.SetDefault("cache-dir", filepath.Join(dir, "imagetier"), why)
		}
	}
	r.SetDefault("workers", strconv.Itoa(m.Cores), "the number of cores")
	if self, err := m.Executable(); err == nil {
		r.SetDefault("resize-command", filepath.Join(filepath.Dir(self), "imagetier-resize"), "beside imagetier")
	}
}

// The checks see settings together. Values that could not be read are zero and have been reported.

func (c *Config) checkListeners(r *settings.Resolved) {
	switch {
	case c.TLSCert == "" && c.TLSKey == "":
	case c.TLSKey == "":
		r.FaultOf("tls-cert", errors.New("needs --tls-key too"))
	case c.TLSCert == "":
		r.FaultOf("tls-key", errors.New("needs --tls-cert too"))
	default:
		if _, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey); err != nil {
			r.FaultOf("tls-cert", err)
		}
	}
	if r.Read("private-listen") && r.Read("listen") && settings.SameAddress(c.Listen, c.PrivateListen) {
		r.FaultOf("private-listen", fmt.Errorf("%s is the public listener's address too", c.PrivateListen))
	}
}

// loadProfiles reads the file of profiles and resolves the prefixes of images.
func (c *Config) loadProfiles(r *settings.Resolved) {
	var err error
	c.Profiles, err = profile.Load(c.ProfilesFile, func(text []byte, into any) error {
		return yaml.UnmarshalWithOptions(text, into, yaml.Strict())
	})
	if err != nil {
		r.FaultOf("profiles", err)
	}
	kinds := make(map[string]sourceurl.Kind)
	for _, source := range c.Sources {
		kinds[source.Name] = source.URL.Kind
	}
	for i, prefix := range c.Prefixes {
		kind, known := kinds[prefix.Source]
		if !known && r.Read("source") && !r.Faulty("source") {
			r.FaultOf("image-prefix", fmt.Errorf("%s: there is no source %q", prefix.Prefix, prefix.Source))
		}
		if known {
			c.Prefixes[i].Kind = kind
		}
	}
	if c.Links, err = profile.NewLinks(c.Prefixes...); err != nil {
		r.FaultOf("image-prefix", err)
	}
}

// readWatermarks reads the files of watermarks. The resize processes decode them and do not start if they cannot.
func (c *Config) readWatermarks(r *settings.Resolved) {
	for i := range c.Watermarks {
		w := &c.Watermarks[i]
		if err := w.read(c.Limits); err != nil {
			r.FaultOf("watermark", fmt.Errorf("watermark %s: %w", w.Name, err))
		}
	}
}

func (c *Config) checkPurgeHook(r *settings.Resolved) {
	switch {
	case c.PurgeHook != "" && len(c.PurgeSecrets) == 0 && r.Read("purge-secrets") && !r.Faulty("purge-secrets"):
		r.FaultOf("purge-hook",
			errors.New("needs --purge-secrets too: `echo whsec_$(openssl rand -base64 32)` makes one"))
	case c.PurgeHook == "" && len(c.PurgeSecrets) > 0 && r.Read("purge-hook") && !r.Faulty("purge-hook"):
		r.FaultOf("purge-secrets", errors.New("needs --purge-hook too"))
	}
}

func (c *Config) checkServing(r *settings.Resolved, m Machine) {
	if len(c.Keys) == 0 && !c.Dev && !r.Faulty("keys") {
		r.Fault("keys", settings.Place{}, errNoKeys)
	}
	if c.MemorySize > 0 && c.Workers > 0 {
		if limit, file := CgroupMemory(m.Root); limit > 0 {
			if err := c.checkMemory(limit, file); err != nil {
				r.FaultOf("cache-memory-size", err)
			}
		}
	}
}
