// Package config is what imagetier-gateway can be told: one schema that makes flags,
// environment variables (IMAGETIER_GATEWAY_…), YAML keys and help (package settings), and
// the checks over several settings. It alone reads the environment; OTEL_* is read by the
// libraries that it belongs to.
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

// Config is what imagetier-gateway was told, checked. Load makes it.
type Config struct {
	Listen        string        // public address, host:port
	PrivateListen string        // of metrics and health
	DrainTimeout  time.Duration // how long requests may take to end after SIGTERM
	Dev           bool

	ImageBase   string           // scheme and host of the tier as clients reach it, without a / at its end
	Prefixes    []profile.Prefix // what plain URLs mean
	Keys        []Key            // the first signs, unless a post is older than its date; empty only with Dev
	ProfileFile string           // "" is the built-in profiles
	Profiles    *profile.Set     // read from it
	Fields      []Field

	Tier          *url.URL // private listener of the tier; nil: it is told nothing and asked nothing
	AdminToken    string   // for questions to the tier
	WebhookSecret []string // each signs events; nil: no events are sent

	LogLevel  slog.Level
	LogFormat string // "json" or "text"

	Proxy Proxy
	Serve Serve

	// Secrets are all secrets as they were spelled, for a log to leave out.
	Secrets []string
}

// Purpose is what settings are read for: each command has those it needs.
type Purpose string

const (
	ForProxy Purpose = "proxy"
	ForServe Purpose = "serve"
	ForAny   Purpose = "any" // required settings may be absent; what is there is checked
)

// Names returns the settings that are read for p; nil is all.
func (p Purpose) Names() []string {
	switch p {
	case ForProxy:
		return slices.Concat(commonNames, proxyNames)
	case ForServe:
		return slices.Concat(commonNames, serveNames)
	}
	return nil
}

// Schema returns the settings, for flags and documentation. Values read through it go
// nowhere.
func Schema() *settings.Schema { return schema(new(Config)) }

// Load reads the settings that p needs and checks them. The error is of type
// settings.Faults and has every fault; Resolved, which tells where each value came from, is
// there with an error too. in.Only is Load's.
func Load(p Purpose, in settings.Input) (Config, *settings.Resolved, error) {
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
		case v.Name == "redis": // where it is, is none
			if c.Serve.Redis != nil && c.Serve.Redis.Password != "" {
				c.Secrets = append(c.Secrets, c.Serve.Redis.Password)
			}
		case v.Name == "test-token": // nor are these
		case v.Secret && v.Value.String() != "":
			c.Secrets = append(c.Secrets, secretsOf(v.Value)...)
		}
	}
	if err := r.Err(); err != nil {
		return Config{}, r, err
	}
	return c, r, nil
}

// check looks at what settings mean together. Values that could not be read are zero and
// have been reported.
func (c *Config) check(r *settings.Resolved, p Purpose) {
	if r.Read("private-listen") && r.Read("listen") && settings.SameAddress(c.Listen, c.PrivateListen) {
		r.FaultOf("private-listen", fmt.Errorf("%s is the public listener's address too", c.PrivateListen))
	}
	c.readProfiles(r)
	if _, err := profile.NewLinks(c.Prefixes...); err != nil {
		r.FaultOf("image-prefix", err)
	}
	for _, f := range c.Fields {
		if _, ok := c.Profiles.Get(f.Profile); !ok && !r.Faulty("profiles") {
			r.FaultOf("fields", fmt.Errorf("field %s: there is no profile %s; the nearest is %s", f.Name, f.Profile, settings.Nearest(f.Profile, c.Profiles.Names())))
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
	absent("image-base", c.ImageBase != "", "needed: where clients reach the tier, like https://img.example.com")
	absent("image-prefix", len(c.Prefixes) > 0, "needed: what image URLs begin with, and the tier's source that they are in, like https://cdn.app.example/=posts")
	absent("keys", len(c.Keys) > 0 || c.Dev, "no keys: give the tier's, --keys k1=HEX (or IMAGETIER_GATEWAY_KEYS, or a file by --keys-file); or --dev to try things out without")
	if len(c.WebhookSecret) > 0 {
		absent("tier", c.Tier != nil, "needed for --webhook-secret: whom to tell")
	}
	if c.Tier == nil {
		for _, prefix := range c.Prefixes {
			if prefix.Rule == profile.AskTag {
				r.FaultOf("tier", fmt.Errorf("needed for --image-prefix %s: the tier is asked for the tags", prefix))
				break
			}
		}
	}
}

// readProfiles reads the file of profiles.
func (c *Config) readProfiles(r *settings.Resolved) {
	set, err := profile.Load(c.ProfileFile, func(text []byte, into any) error { return yaml.Unmarshal(text, into) })
	if err != nil {
		r.FaultOf("profiles", err)
		set = profile.BuiltIn()
	}
	c.Profiles = set
}
