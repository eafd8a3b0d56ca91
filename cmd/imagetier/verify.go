package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/program"
)

// verifyCmd checks URLs.
type verifyCmd struct {
	URLs []string `arg:"" name:"url" help:"Whole URLs, or paths from /i/ on; - reads them from standard input."`
	JSON bool     `name:"json" help:"Print an object a line."`

	settingsOf
}

// Help teaches by example.
func (verifyCmd) Help() string {
	return `Says of each URL whether its signature is good and what it means, without asking the tier. Exits with 1 if one is not good. A whole URL is taken as a client would send it: host, query and fragment do not count.

    imagetier verify --keys k1=HEX /i/k1.Jf3kPq0u2mVbXyWc8tRz1A/640x640-cover/v.1/posts/2026/11/abc.jpg.webp
    imagetier verify --json - < urls.txt`
}

// Run verifies.
func (c *verifyCmd) Run(ctx context.Context, p *program.Process) error {
	cfg, _, err := c.load(p)
	if err != nil {
		return err
	}
	signer, err := cfg.Signer()
	if err != nil {
		return program.UsageError{Err: err}
	}
	ids := idsOf(cfg.Keys)
	bad := false
	err = eachLine(ctx, p, c.URLs, func(text string) error {
		v := readURL(signer, ids, text)
		bad = bad || !v.Good
		if c.JSON {
			return json.NewEncoder(p.Stdout).Encode(v)
		}
		return v.print(p.Stdout)
	})
	if err == nil && bad {
		return program.Failed
	}
	return err
}

// verdict is what can be said of a URL without asking anybody.
type verdict struct {
	URL       string `json:"url"`
	Good      bool   `json:"good"`
	Signature string `json:"signature"` // good, wrong, missing, unchecked, or development for _
	Key       string `json:"key,omitempty"`
	Error     string `json:"error,omitempty"`
	Source    string `json:"source,omitempty"`
	Name      string `json:"name,omitempty"`
	Version   string `json:"version,omitempty"`
	Spec      string `json:"spec,omitempty"`
	Format    string `json:"format,omitempty"`
	CacheKey  string `json:"cache_key,omitempty"`
}

// readURL reads a URL; signer may be nil, then its signature is not looked at. ids are the
// keys that there are.
func readURL(signer *imageurl.Signer, ids map[string]bool, text string) verdict {
	v := verdict{URL: text}
	path := rawPath(text)
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
	switch _, err := signer.Parse(path); {
	case err == nil && signature == "_":
		v.Signature, v.Good = "development", true
	case err == nil:
		v.Signature, v.Good = "good", true
	case !errors.Is(err, imageurl.ErrSignature):
		v.Signature, v.Error = "good", err.Error()
	case signature == "_":
		v.Signature, v.Error = "missing", "_ is accepted with --dev only"
	case !dotted:
		v.Signature, v.Error = "missing", fmt.Sprintf("%q is no signature: one is KEY.MAC", signature)
	case !ids[key]:
		v.Signature, v.Error = "wrong", fmt.Sprintf("there is no key %q", key)
	default:
		v.Signature, v.Error = "wrong", "it is not what the key "+key+" signs; something in the URL or the key was changed"
	}
	return v
}

// rawPath returns the path of a URL, or of a path, as a client would send it.
func rawPath(text string) string {
	text, _, _ = strings.Cut(strings.TrimSpace(text), "#")
	text, _, _ = strings.Cut(text, "?")
	if scheme, rest, ok := strings.Cut(text, "://"); ok && !strings.Contains(scheme, "/") {
		at := strings.IndexByte(rest, '/')
		if at < 0 {
			return "/"
		}
		return rest[at:]
	}
	return text
}

func (v verdict) print(out io.Writer) error {
	var b strings.Builder
	word := map[bool]string{true: "good", false: "BAD"}[v.Good]
	fmt.Fprintf(&b, "%s  %s\n", word, v.URL)
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

func versionText(version string) string {
	for begins, promise := range map[string]string{
		"v.": "the caller says that it never changes", "e.": "the original with this ETag",
		"s.": "this S3 object version", "live": "whatever is there now",
	} {
		if strings.HasPrefix(version, begins) {
			return version + " (" + promise + ")"
		}
	}
	return version
}

// printable quotes a name that would do something to a terminal.
func printable(name string) string {
	if quoted := fmt.Sprintf("%q", name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}
