package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
)

// verdict is what a URL and the keys say, without the tier.
type verdict struct {
	URL       string `json:"url"`
	Good      bool   `json:"good"`
	Signature string `json:"signature"` // good, wrong, missing, expired, unchecked, or development for _
	Key       string `json:"key,omitempty"`
	Expires   string `json:"expires,omitempty"` // RFC 3339
	Error     string `json:"error,omitempty"`
	Source    string `json:"source,omitempty"`
	Name      string `json:"name,omitempty"`
	Version   string `json:"version,omitempty"`
	Spec      string `json:"spec,omitempty"`
	Format    string `json:"format,omitempty"`
	CacheKey  string `json:"cache_key,omitempty"`
}

// readURL parses a URL. If signer is nil its signature is not checked. ids holds the ids of
// the configured keys.
func readURL(signer *imageurl.Signer, ids map[string]bool, text string) verdict {
	v := verdict{URL: text}
	path := imageurl.PathOf(text)
	rest, ok := strings.CutPrefix(path, imageurl.Prefix)
	if !ok {
		v.Signature, v.Error = "missing", fmt.Sprintf("its path does not begin with %s", imageurl.Prefix)
		return v
	}
	signature, signed, _ := strings.Cut(rest, "/")
	ref, errRef := imageurl.ParseRef("/" + signed)
	if errRef == nil {
		spec := ref.Spec()
		v.Source, v.Name, v.Version = ref.Source(), ref.Name(), ref.Version().String()
		v.Spec, v.Format, v.CacheKey = spec.String(), spec.Format.String(), ref.String()
	}
	key, _, dotted := strings.Cut(signature, ".")
	if dotted {
		v.Key = key
	}
	if signer == nil {
		v.Signature, v.Good = "unchecked", errRef == nil
		if errRef != nil {
			v.Error = errRef.Error()
		}
		return v
	}
	_, expires, err := signer.ParseExpiring(path)
	if !expires.IsZero() {
		v.Expires = expires.UTC().Format(time.RFC3339)
	}
	switch {
	case err == nil && signature == "_":
		v.Signature, v.Good = "development", true
	case err == nil:
		v.Signature, v.Good = "good", true
	case errors.Is(err, imageurl.ErrExpired):
		v.Signature, v.Error = "expired", "the URL expired at "+v.Expires
	case !errors.Is(err, imageurl.ErrSignature):
		v.Signature, v.Error = "good", err.Error()
	case signature == "_":
		v.Signature, v.Error = "missing", "_ is only accepted with --dev"
	case !dotted:
		v.Signature, v.Error = "missing", fmt.Sprintf("%q is not a signature of the form KEY.MAC", signature)
	case !ids[key]:
		v.Signature, v.Error = "wrong", fmt.Sprintf("no key %q is configured", key)
	default:
		v.Signature, v.Error = "wrong", "the key "+key+" does not sign this URL: the URL or the key was changed"
	}
	return v
}

func (v verdict) print(out io.Writer) error {
	var b strings.Builder
	grade := map[bool]string{true: "good", false: "BAD"}[v.Good]
	fmt.Fprintf(&b, "%s  %s\n", grade, v.URL)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "  %-9s  %s\n", name, value)
		}
	}
	signature := v.Signature
	if v.Key != "" && v.Signature == "good" {
		signature += ", by the key " + v.Key
	}
	row("signature", signature)
	row("expires", v.Expires)
	row("why", v.Error)
	row("source", v.Source)
	if v.Name != "" {
		row("name", printable(v.Name))
	}
	row("version", versionText(v.Version))
	row("variant", strings.TrimSuffix(v.Spec+"."+v.Format, "."))
	_, err := io.WriteString(out, b.String())
	return err
}
