package settings

import (
	"net/url"
	"strings"
	"time"
)

// Secrets returns the parts of a secret setting's value that must not appear in a log: the
// password of a URL, and the secrets of a list like k2=HEX@2026-12-01,k1=HEX.
func Secrets(v Value) []string {
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
	if password, ok := u.User.Password(); ok && password != "" {
		return []string{password}
	}
	if user := u.User.Username(); user != "" {
		return []string{user}
	}
	return nil
}
