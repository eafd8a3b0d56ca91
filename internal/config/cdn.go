package config

import (
	"errors"
	"net/url"

	"github.com/novasocial/imagetier/internal/settings"
)

// cdnHeaders are the headers of --cdn-tags.
var cdnHeaders = map[string]string{"none": "", "surrogate-key": "Surrogate-Key", "cache-tag": "Cache-Tag"}

// TagHeader is the header that tells a CDN the tag of an original; "" is none.
func (c Config) TagHeader() string { return cdnHeaders[c.CDNTags] }

// addCDN adds what is about a CDN in front.
func addCDN(add func(settings.Setting), c *Config) {
	const group = groupCDN
	add(settings.Setting{Name: "cdn-tags", Group: group, Placeholder: "HEADER", Default: "none", Value: settings.Choice(&c.CDNTags, "none", "surrogate-key", "cache-tag"),
		Help: "Send a tag of the original with all that a CDN may keep, as Surrogate-Key (Fastly) or Cache-Tag (Cloudflare, CloudFront): none, surrogate-key or cache-tag."})
	add(settings.Setting{Name: "purge-hook", Group: group, Placeholder: "URL", Value: hookURL(&c.PurgeHook),
		Help: "Where a signed webhook goes with the tags of originals that were purged, taken down or lifted: an adapter that purges the CDN. Needs --purge-secrets."})
	add(settings.Setting{Name: "purge-secrets", Group: group, Placeholder: "whsec_...,...", Secret: true, Value: webhookSecrets(&c.PurgeSecrets),
		Help: "Secrets that sign it (Standard Webhooks), at least 24 bytes each; each of them signs, so that one can be replaced."})
}

// hookURL reads the URL that is posted to. What it says of a wrong one shows no password.
func hookURL(p *string) settings.Value {
	return settings.Func(func(text string) error {
		if text == "" {
			*p = ""
			return nil
		}
		u, err := url.Parse(text)
		switch {
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Fragment != "":
			return errors.New("want a URL like https://adapter.example/purges")
		case u.User != nil:
			return errors.New("want a URL without user and password: its signature says who sends it")
		}
		*p = text
		return nil
	}, func() string { return *p })
}

// checkCDN looks whether the hook can be signed.
func (c *Config) checkCDN(r *settings.Resolved) {
	switch {
	case c.PurgeHook != "" && len(c.PurgeSecrets) == 0 && r.Read("purge-secrets") && !r.Faulty("purge-secrets"):
		r.FaultOf("purge-hook", errors.New("needs --purge-secrets beside it: `echo whsec_$(openssl rand -base64 32)` makes one"))
	case c.PurgeHook == "" && len(c.PurgeSecrets) > 0 && r.Read("purge-hook") && !r.Faulty("purge-hook"):
		r.FaultOf("purge-secrets", errors.New("needs --purge-hook beside it"))
	}
}
