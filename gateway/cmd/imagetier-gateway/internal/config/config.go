// Package config defines the settings of imagetier-gateway: one schema for flags, environment
// variables (IMAGETIER_GATEWAY_…), YAML keys and help (see package settings), and checks across
// settings. Only this package reads the environment, except for OTEL_*, which the OpenTelemetry
// libraries read.
//
// Start reading at [Load]; schema.go and serve.go list the settings.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/novasocial/imagetier/internal/settings"
	"github.com/novasocial/imagetier/prefetch/profile"
)

// Config are the checked settings. [Load] returns them.
type Config struct {
	Listen        string        // public address, host:port
	PrivateListen string        // for metrics and health
	DrainTimeout  time.Duration // how long to wait for requests in flight after SIGTERM
	Dev           bool

	URLLifetime time.Duration    // of minted URLs; 0 is for ever
	URLWindow   time.Duration    // expiry times are multiples of it
	ImageBase   string           // scheme and host of the tier for clients, without a trailing slash
	Prefixes    []profile.Prefix // which plain URLs are images of the tier
	Keys        []Key            // the first signs, except posts older than its date; empty only with Dev
	ProfileFile string           // "" means the built-in profiles
	Profiles    *profile.Set     // read from it
	Fields      []Field

	Tier          *url.URL // private listener of the tier; nil: the gateway never calls it
	AdminToken    string   // for requests to the tier
	WebhookSecret []string // each signs events; if empty, no events are sent

	LogLevel  slog.Level
	LogFormat string // "json" or "text"

	Proxy Proxy
	Serve Serve

	// Secrets are all secret values as given, to be redacted from the log.
	Secrets []string
	// SecretFlags are the settings whose secrets were given as flags, where others can read them.
	SecretFlags []string
}

// Purpose says which command reads the settings.
type Purpose string

const (
	ForProxy Purpose = "proxy"
	ForServe Purpose = "serve"
	ForSign  Purpose = "sign"
	ForAny   Purpose = "any" // required settings may be absent; present ones are checked
)

// Names returns the names of the settings that p reads; nil means all.
func (p Purpose) Names() []string {
	switch p {
	case ForProxy:
		return slices.Concat(commonNames, proxyNames)
	case ForServe:
		return slices.Concat(commonNames, serveNames)
	case ForSign:
		return signNames
	}
	return nil
}

// Schema returns the settings, for flags and documentation. Values set through it are discarded.
func Schema() *settings.Schema { return schema(new(Config)) }

// Load reads and checks the settings of p. The error is a settings.Faults with every fault.
// Resolved says where each value came from; it is returned with an error, too. Load sets in.Only.
func Load(p Purpose, in settings.Input) (Config, *settings.Resolved, error) {
	c, r := load(p, in)
	if err := r.Err(); err != nil {
		return Config{}, r, err
	}
	return c, r, nil
}

// Replaceable are the settings that a reload can replace.
var Replaceable = []string{"keys", "profiles", "admin-token", "webhook-secret", "webhook-secrets"}

// Reload reads the settings again, for a process that runs with the settings in old. Use only the [Replaceable]
// settings of the Config, without those that Resolved calls faulty; use none if the Reload is Invalid.
func Reload(p Purpose, in settings.Input, old *settings.Resolved) (Config, *settings.Resolved, settings.Reload) {
	c, r := load(p, in)
	return c, r, settings.ReloadOf(old, r, Replaceable)
}

func load(p Purpose, in settings.Input) (Config, *settings.Resolved) {
	var c Config
	in.Only = p.Names()
	r := schema(&c).Resolve(in)
	if c.Dev {
		const why = "with --dev"
		r.SetDefault("listen", "127.0.0.1:8080", why)
		r.SetDefault("log-format", "text", why)
	}
	c.check(r, p)
	for _, v := range r.Values {
		switch {
		case v.Name == "redis": // the address is not secret
			if c.Serve.Redis != nil && c.Serve.Redis.Password != "" {
				c.Secrets = append(c.Secrets, c.Serve.Redis.Password)
			}
		case v.Name == "test-token": // for local testing only
		case v.Secret && v.Value.String() != "":
			c.Secrets = append(c.Secrets, settings.Secrets(v.Value)...)
		}
	}
	c.SecretFlags = slices.DeleteFunc(r.SecretFlags(), func(name string) bool {
		return name == "test-token" || name == "redis" && (c.Serve.Redis == nil || c.Serve.Redis.Password == "")
	})
	return c, r
}

// check checks the settings against each other. Values that could not be read are zero and have
// been reported.
func (c *Config) check(r *settings.Resolved, p Purpose) {
	if r.Read("private-listen") && r.Read("listen") && settings.SameAddress(c.Listen, c.PrivateListen) {
		r.FaultOf("private-listen", fmt.Errorf("%s is also the address of the public listener", c.PrivateListen))
	}
	c.readProfiles(r)
	if _, err := profile.NewLinks(c.Prefixes...); err != nil {
		r.FaultOf("image-prefix", err)
	}
	for _, f := range c.Fields {
		if _, ok := c.Profiles.Get(f.Profile); !ok && !r.Faulty("profiles") {
			r.FaultOf(
				"fields",
				fmt.Errorf("field %s: unknown profile %s, did you mean %s?",
					f.Name, f.Profile, settings.Nearest(f.Profile, c.Profiles.Names())),
			)
		}
	}
	if p == ForProxy || p == ForAny {
		c.checkProxy(r, p == ForProxy)
	}
	if p == ForServe || p == ForAny {
		c.checkServe(r, p == ForServe)
	}
	if p == ForAny {
		return
	}
	absent := func(name string, there bool, err string) {
		if !there && !r.Faulty(name) {
			r.FaultOf(name, errors.New(err))
		}
	}
	absent(
		"image-base",
		c.ImageBase != "",
		"required: the URL at which clients reach the tier, like https://img.example.com",
	)
	absent(
		"image-prefix",
		len(c.Prefixes) > 0,
		"required: a prefix of image URLs and the tier source that serves them, like https://cdn.app.example/=posts",
	)
	absent(
		"keys",
		len(c.Keys) > 0 || c.Dev,
		"required: the tier's keys, --keys k1=HEX (or IMAGETIER_GATEWAY_KEYS or --keys-file); or --dev to run without keys",
	)
	if len(c.WebhookSecret) > 0 {
		absent("tier", c.Tier != nil, "required by --webhook-secret: the tier to send events to")
	}
	if c.Tier == nil {
		for _, prefix := range c.Prefixes {
			if prefix.Rule == profile.AskTag {
				r.FaultOf("tier", fmt.Errorf("required by --image-prefix %s: the tier is asked for ETags", prefix))
				break
			}
		}
	}
}

// readProfiles reads the profiles file.
func (c *Config) readProfiles(r *settings.Resolved) {
	set, err := profile.Load(c.ProfileFile, func(text []byte, into any) error { return yaml.Unmarshal(text, into) })
	if err != nil {
		r.FaultOf("profiles", err)
		set = profile.BuiltIn()
	}
	c.Profiles = set
}
