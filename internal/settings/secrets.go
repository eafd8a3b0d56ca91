package settings

import (
	"net/url"
	"strings"
	"time"
)

// WholeSecret returns v marked as one secret, even if it contains separators: see [Secrets].
func WholeSecret(v Value) Value { return wholeSecret{v} }

type wholeSecret struct{ Value }

// Secrets returns the parts of a secret setting's value that must not appear in a log: all of a
// [WholeSecret], the password of a URL as it is and as it is escaped, and the secrets of a list like
// k2=HEX@2026-12-01,k1=HEX.
func Secrets(v Value) []string {
	if _, ok := v.(wholeSecret); ok {
		return []string{v.String()}
	}
	var all []string
	for item := range strings.SplitSeq(v.String(), ",") {
		if strings.Contains(item, "://") {
			all = append(all, urlSecret(item)...)
			continue
		}
		// "=" alone is the padding of base64.
		if _, secret, ok := strings.Cut(item, "="); ok && strings.Trim(secret, "=") != "" {
			item = secret
		}
		if secret, date, ok := strings.Cut(item, "@"); ok {
			if _, err := time.Parse(time.DateOnly, date); err == nil {
				item = secret
			}
		}
		all = append(all, item)
	}
	return all
}

// urlSecret returns the password of a URL, or its user name, which is a token if it is alone.
func urlSecret(text string) []string {
	u, err := url.Parse(text)
	if err != nil || u.User == nil {
		return nil
	}
	_, authority, _ := strings.Cut(text, "://")
	if end := strings.IndexAny(authority, "/?#"); end >= 0 {
		authority = authority[:end]
	}
	escaped := authority[:strings.LastIndexByte(authority, '@')]
	secret := u.User.Username()
	if password, ok := u.User.Password(); ok && password != "" {
		secret = password
		_, escaped, _ = strings.Cut(escaped, ":")
	}
	switch secret {
	case "":
		return nil
	case escaped:
		return []string{secret}
	}
	return []string{escaped, secret}
}
