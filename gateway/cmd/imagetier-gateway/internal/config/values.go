package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/settings"
	"github.com/novasocial/imagetier/internal/webhook"
)

// Key is a signing key.
type Key struct {
	imageurl.Key
	// From is the day of the first posts that the key signs, midnight UTC; zero means all.
	From time.Time
}

// httpURL returns the Value of http(s)://host[:port], with or without a trailing slash.
func httpURL(p **url.URL) settings.Value {
	return settings.Func(func(text string) error {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil ||
			u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
			return fmt.Errorf("want http://host:port or https://host:port without a path")
		}
		u.Path = ""
		*p = u
		return nil
	}, func() string {
		if *p == nil {
			return ""
		}
		return (*p).String()
	})
}

// checkHost checks a Host header.
func checkHost(text string) error {
	if u, err := url.Parse("http://" + text); text != "" && (err != nil || u.Host != text || u.Hostname() == "") {
		return fmt.Errorf("%q: want a host name like graphql.internal, or host:port", text)
	}
	return nil
}

// trustedProxies returns the Value of a list of address ranges; none is an empty list.
func trustedProxies(p *[]netip.Prefix) settings.Value {
	return settings.List(func() { *p = nil }, func(item string) error {
		if item == "none" {
			return nil
		}
		prefix, err := parsePrefix(item)
		if err == nil {
			*p = append(*p, prefix)
		}
		return err
	}, func() (items []string) {
		for _, prefix := range *p {
			items = append(items, prefix.String())
		}
		if len(items) == 0 {
			items = []string{"none"}
		}
		return items
	})
}

// parsePrefix parses 10.0.0.0/8 or a single address.
func parsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q: want a range of addresses like 10.0.0.0/8", text)
	}
	if prefix != prefix.Masked() {
		return netip.Prefix{}, fmt.Errorf("%s: has bits after the prefix, did you mean %s?", text, prefix.Masked())
	}
	return prefix, nil
}

// base returns the Value of the base of image URLs.
func base(p *string) settings.Value {
	var u *url.URL
	v := httpURL(&u)
	return settings.Func(func(text string) error {
		if err := v.Set(text); err != nil {
			return err
		}
		*p = u.String()
		return nil
	}, func() string { return *p })
}

// keys returns the Value of k2=HEX@2026-12-01,k1=HEX; a file of keys may have one per line.
func keys(p *[]Key) settings.Value {
	const day = time.DateOnly
	return settings.Func(func(text string) error {
		var plain []string
		var from []time.Time
		var faults []error
		for item := range strings.SplitSeq(strings.ReplaceAll(strings.TrimSpace(text), "\n", ","), ",") {
			key, date, dated := strings.Cut(strings.TrimSpace(item), "@")
			at, err := time.Parse(day, date)
			if dated && err != nil {
				faults = append(faults, fmt.Errorf("invalid date %q of a key, want one like 2026-12-01", date))
			}
			plain, from = append(plain, key), append(from, at)
		}
		parsed, err := imageurl.ParseKeys(strings.Join(plain, ","))
		if err != nil {
			faults = append(faults, err)
		}
		if n := len(from); err == nil && n > 0 && !from[n-1].IsZero() {
			faults = append(
				faults,
				fmt.Errorf("the last key, %s, must not have a date: no key would sign older posts", parsed[n-1].ID),
			)
		}
		for i := 1; err == nil && i < len(from); i++ {
			if !from[i-1].IsZero() && !from[i].Before(from[i-1]) {
				faults = append(
					faults,
					fmt.Errorf("key %s is never used: the key %s before it must have a later date",
						parsed[i].ID, parsed[i-1].ID),
				)
			}
		}
		if len(faults) > 0 {
			return errors.Join(faults...)
		}
		*p = nil
		for i, k := range parsed {
			*p = append(*p, Key{k, from[i]})
		}
		return nil
	}, func() string {
		var items []string
		for _, k := range *p {
			item := k.Text()
			if !k.From.IsZero() {
				item += "@" + k.From.Format(day)
			}
			items = append(items, item)
		}
		return strings.Join(items, ",")
	})
}

// webhookSecrets returns the Value of Standard Webhooks secrets, separated by commas or white space.
func webhookSecrets(p *[]string) settings.Value {
	return settings.Func(func(text string) (err error) {
		*p, err = webhook.ParseSecrets(text)
		return err
	}, func() string { return strings.Join(*p, ",") })
}

// pair parses a=b, both without white space. like is an example for the error.
func pair(item, like string) (a, b string, err error) {
	a, b, _ = strings.Cut(item, "=")
	if a == "" || b == "" || strings.ContainsAny(item, "\" \t") {
		return "", "", fmt.Errorf("%q: want one like %s", item, like)
	}
	return a, b, nil
}

// fields returns the Value of a list of FIELD=PROFILE.
func fields(p *[]Field) settings.Value {
	return settings.List(func() { *p = nil }, func(item string) error {
		name, of, err := pair(item, "imageUrl=feed")
		if err != nil {
			return err
		}
		if slices.ContainsFunc(*p, func(f Field) bool { return f.Name == name }) {
			return fmt.Errorf("field %s is given twice", name)
		}
		*p = append(*p, Field{name, of})
		return nil
	}, func() (items []string) {
		for _, f := range *p {
			items = append(items, f.Name+"="+f.Profile)
		}
		return items
	})
}

// fills returns the Value of a list of FIELD=SOURCE.
func fills(p *[]Fill) settings.Value {
	return settings.List(func() { *p = nil }, func(item string) error {
		field, source, err := pair(item, "thumbnailUrl=imageUrl")
		if err == nil {
			*p = append(*p, Fill{field, source})
		}
		return err
	}, func() (items []string) {
		for _, f := range *p {
			items = append(items, f.Field+"="+f.Source)
		}
		return items
	})
}

// checkProxy checks the settings of proxy against each other.
func (c *Config) checkProxy(r *settings.Resolved, needed bool) {
	if needed && c.Proxy.Upstream == nil && !r.Faulty("upstream") {
		r.FaultOf("upstream", errors.New("required: the URL of the service to proxy, like http://graphql:8080"))
	}
	known := map[string]bool{}
	for _, f := range c.Fields {
		known[f.Name] = true
	}
	if r.Place("fill").Layer == settings.FromDefault && known["thumbnailUrl"] && known["imageUrl"] {
		r.SetDefault("fill", "thumbnailUrl=imageUrl", "both are in --fields")
	}
	for i, f := range c.Proxy.Fill {
		for _, name := range []string{f.Field, f.Source} {
			if !known[name] && len(known) > 0 {
				r.FaultOf("fill", fmt.Errorf("%s is not in --fields", name))
			}
		}
		if f.Source != c.Proxy.Fill[0].Source || f.Source == f.Field {
			r.FaultOf(
				"fill",
				fmt.Errorf("%s=%s: all fields must be filled from the same other field, the first uses %s",
					f.Field, f.Source, c.Proxy.Fill[0].Source),
			)
		}
		if slices.ContainsFunc(c.Proxy.Fill[:i], func(other Fill) bool { return other.Field == f.Field }) {
			r.FaultOf("fill", fmt.Errorf("%s is given twice", f.Field))
		}
	}
}
