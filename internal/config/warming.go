package config

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/novasocial/imagetier/internal/settings"
	"github.com/novasocial/imagetier/internal/webhook"
	"github.com/novasocial/imagetier/origin/sourceurl"
	"github.com/novasocial/imagetier/prefetch/profile"
)

// addWarming adds what is about making images before they are asked for.
func addWarming(add func(settings.Setting), c *Config) {
	const group = groupWarm
	add(settings.Setting{Name: "webhook-secrets", Group: group, Placeholder: "whsec_...,...", Secret: true, Value: webhookSecrets(&c.WebhookSecrets),
		Help: "Secrets of those who send events (Standard Webhooks), at least 24 bytes each; several while one is being replaced. Without one, events are refused, unless --dev."})
	add(settings.Setting{Name: "warm", Group: group, Placeholder: "MODE", Default: "adaptive", Value: settings.Choice(&c.Warm, "adaptive", "all", "none"),
		Help: "Which Specs of a profile an event makes early: adaptive is those that are asked for, all, or none."})
	add(settings.Setting{Name: "wasted-after", Group: group, Placeholder: "TIME", Default: "6h", Value: settings.Duration(&c.WastedAfter, time.Second, year),
		Help: "How long what was made early is watched: a variant that nobody has asked for by then was wasted, from which adaptive learns."})
	add(settings.Setting{Name: "profiles", Group: group, Placeholder: "FILE", DefaultHelp: "feed, avatar and grid", Value: settings.String(&c.ProfilesFile),
		Help: "A YAML file of named lists of Specs, like feed: [880x.webp, 440x.webp]. It adds to the built-in ones and replaces those of the same name."})
	add(settings.Setting{Name: "image-prefix", Group: group, Placeholder: "PREFIX=SOURCE", Value: settings.Items(&c.Prefixes, profile.ParsePrefix),
		Help: "What the plain URLs of events mean: https://cdn.app.example/=posts?version=RULE. RULE is fixed (names are never used again; the default), query:NAME or etag. May be given again."})
	add(settings.Setting{Name: "balancer", Group: group, Placeholder: "URL", Value: balancer(&c.Balancer),
		Help: "Warm by asking there, so that the node that keeps an image makes it. It has to reach the public listeners."})
	add(settings.Setting{Name: "nats", Group: group, Placeholder: "URL", Secret: true, DefaultHelp: "embedded, in the cache directory", Value: natsURL(&c.NATS),
		Help: "A NATS cluster with JetStream that holds the queue of several nodes: nats://host:4222 or tls://, several with commas."})
}

// webhookSecrets parses secrets of Standard Webhooks, separated by commas or white space.
func webhookSecrets(p *[]string) settings.Value {
	return settings.Func(func(text string) (err error) {
		*p, err = webhook.ParseSecrets(text)
		return err
	}, func() string { return strings.Join(*p, ",") })
}

// balancer reads a base URL: scheme, host and perhaps a path, to which /i/… is added.
func balancer(p *string) settings.Value {
	return settings.Func(func(text string) error {
		if text == "" {
			*p = ""
			return nil
		}
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			return fmt.Errorf("%q: want a URL like http://balancer:8080", text)
		}
		*p = strings.TrimRight(text, "/")
		return nil
	}, func() string { return *p })
}

// natsURL reads the URLs of servers. What it says of a wrong one shows no password.
func natsURL(p *string) settings.Value {
	return settings.Func(func(text string) error {
		var urls []string
		for _, item := range strings.Fields(strings.ReplaceAll(text, ",", " ")) {
			u, err := url.Parse(item)
			if err != nil || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) || u.Host == "" || u.Hostname() == "" {
				return errors.New("want URLs like nats://host:4222 or tls://user:password@host:4222, several with commas")
			}
			urls = append(urls, item)
		}
		*p = strings.Join(urls, ",")
		return nil
	}, func() string { return *p })
}

// secretOfURL returns the password in a URL, or its user where that is a token by itself.
func secretOfURL(text string) []string {
	u, err := url.Parse(text)
	if err != nil || u.User == nil {
		return nil
	}
	if password, ok := u.User.Password(); ok && password != "" {
		return []string{password}
	}
	if user := u.User.Username(); user != "" {
		return []string{user}
	}
	return nil
}

// checkWarming reads the file of profiles, and looks whether prefixes lead to sources.
func (c *Config) checkWarming(r *settings.Resolved) {
	profiles, err := profile.Load(c.ProfilesFile, func(text []byte, into any) error { return yaml.UnmarshalWithOptions(text, into, yaml.Strict()) })
	if err != nil {
		r.FaultOf("profiles", err)
	}
	c.Profiles = profiles
	kinds := make(map[string]sourceurl.Kind)
	for _, source := range c.Sources {
		kinds[source.Name] = source.URL.Kind
	}
	for i, prefix := range c.Prefixes {
		kind, known := kinds[prefix.Source]
		if !known && r.Read("source") && !r.Faulty("source") {
			r.FaultOf("image-prefix", fmt.Errorf("%s: there is no source %q", prefix.Prefix, prefix.Source))
		}
		c.Prefixes[i].HTTP = c.Prefixes[i].HTTP || kind == sourceurl.HTTP
	}
	if c.Links, err = profile.NewLinks(c.Prefixes...); err != nil {
		r.FaultOf("image-prefix", err)
	}
}
