package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/program"
	"github.com/novasocial/imagetier/resize"
)

// signCmd prints signed URLs.
type signCmd struct {
	Source  string `required:"" placeholder:"NAME" help:"Name of the source, as in --source NAME=URL of serve."`
	Name    string `required:"" placeholder:"NAME" help:"Name of the original in its source; nothing in it is decoded. With -, every line of standard input is a name."`
	Version string `required:"" placeholder:"VERSION" help:"Version of the original: v.TOKEN (fixed by you), e.ETAG, s.VERSION-ID or live."`
	Shape   string `name:"spec" required:"" placeholder:"SHAPE" help:"Shape, such as 640x640-cover; or orig, or info."`
	Format  string `placeholder:"FORMAT" help:"jpg png webp avif gif heic jxl or auto. Leave it out with orig and info."`
	Base    string `placeholder:"URL" help:"Print URLs that begin with this instead of paths."`
	With    string `placeholder:"ID" help:"Sign with the key of this id instead of the first one."`
	Expires string `placeholder:"WHEN" help:"End of the URL: a duration from now, such as 48h, or a time, such as 2026-12-24T18:00:00Z. Without it the URL never expires."`
	JSON    bool   `name:"json" help:"Print JSON, one object a line."`

	settingsOf
}

// Help implements kong.HelpProvider.
func (signCmd) Help() string {
	return `The keys come from --keys, IMAGETIER_KEYS, a file (--keys-file, IMAGETIER_KEYS_FILE) or keys in the ` +
		`file of --config.

A square of 640 pixels, as WebP, of an original that never changes under its name:

    imagetier sign --keys k1=HEX --source posts --name 2026/11/abc.jpg --version v.1 --spec 640x640-cover --format webp

A complete URL; only the original with that ETag; the current original:

    imagetier sign ... --base https://img.example.com
    imagetier sign ... --version e.9f86d081884c7d65
    imagetier sign ... --version live

The original byte for byte, and facts about it:

    imagetier sign ... --spec orig
    imagetier sign ... --spec info

Many at once:

    find . -name '*.jpg' -printf '%P\n' | imagetier sign ... --name -

A shape is size, then options joined by "-", each only where it is not the default: ` +
		`640x480 640x x480; cover pad exact; smart top at30x70; ` +
		`up; crop100x50x800x900; trim; rot90 flip; gray blur5 sharp; bg1a2b3c; wm.logo; still; credit; p3; q75. ` +
		`Any other spelling is refused, and the error names the right one.`
}

// Run signs.
func (c *signCmd) Run(p *program.Process) error {
	_, signer, err := c.loadSigner(p)
	if err != nil {
		return err
	}
	base, err := parseBase(c.Base)
	if err != nil {
		return program.UsageError{Err: err}
	}
	if c.Name != "-" {
		if err := c.sign(p.Stdout, signer, base, c.Name); err != nil {
			return program.UsageError{Err: err}
		}
		return nil
	}
	out := bufio.NewWriter(p.Stdout)
	lines := bufio.NewScanner(p.Stdin)
	for n := 1; lines.Scan(); n++ {
		if err := c.sign(out, signer, base, lines.Text()); err != nil {
			return program.UsageError{Err: errors.Join(fmt.Errorf("line %d: %w", n, err), out.Flush())}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read names: %w", err)
	}
	return out.Flush()
}

// signedURL is what sign prints with --json.
type signedURL struct {
	Path    string `json:"path"`
	URL     string `json:"url,omitempty"` // with --base
	Source  string `json:"source"`
	Name    string `json:"name"`
	Version string `json:"version"`
	Spec    string `json:"spec"`
	Format  string `json:"format,omitempty"`
}

func (c *signCmd) sign(out io.Writer, signer *imageurl.Signer, base, name string) error {
	ref, err := c.ref(name)
	if err != nil {
		return err
	}
	expires, err := parseExpires(c.Expires, time.Now())
	if err != nil {
		return err
	}
	path, err := signer.Sign(ref, imageurl.SignOptions{KeyID: c.With, Expires: expires})
	if err != nil {
		return err
	}
	if !c.JSON {
		_, err := fmt.Fprintln(out, base+path)
		return err
	}
	signed := signedURL{
		Path: path, Source: ref.Source(), Name: ref.Name(), Version: ref.Version().String(),
		Spec: ref.Spec().String(), Format: ref.Spec().Format.String(),
	}
	if base != "" {
		signed.URL = base + path
	}
	return json.NewEncoder(out).Encode(signed)
}

// ref names what the flags describe.
func (c *signCmd) ref(name string) (imageurl.Ref, error) {
	format := c.Format
	if c.Shape == "info" && format == "" {
		format = "json"
	}
	spec, errSpec := resize.ParseSpec(c.Shape, format)
	version, errVersion := parseVersion(c.Version)
	if err := errors.Join(errSpec, errVersion); err != nil {
		return imageurl.Ref{}, err
	}
	return imageurl.NewRef(c.Source, name, version, spec)
}

// parseExpires parses a duration from now or an RFC 3339 time; "" is the zero time, never. The time
// must lie ahead.
func parseExpires(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	expires, err := time.Parse(time.RFC3339, text)
	if err != nil {
		d, errDuration := time.ParseDuration(text)
		if errDuration != nil {
			return time.Time{}, fmt.Errorf(
				"--expires %q: want a duration such as 48h, or a time such as 2026-12-24T18:00:00Z", text)
		}
		expires = now.Add(d)
	}
	if !expires.After(now) {
		return time.Time{}, fmt.Errorf("--expires %q: %s is in the past", text, expires.UTC().Format(time.RFC3339))
	}
	return expires, nil
}

// parseVersion reads a version as URLs spell it, and a token that would have to be encoded
// there as it is too: v.a/b.
func parseVersion(text string) (imageurl.Version, error) {
	version, err := imageurl.ParseVersion(text)
	if err == nil {
		return version, nil
	}
	for begins, pin := range map[string]imageurl.Pin{
		"v.": imageurl.Trusted,
		"e.": imageurl.ETag,
		"s.": imageurl.VersionID,
	} {
		if token, ok := strings.CutPrefix(text, begins); ok && !strings.HasPrefix(token, "~") {
			return imageurl.NewVersion(pin, token)
		}
	}
	return imageurl.Version{}, err
}

// parseBase returns the base of URLs, without trailing slashes.
func parseBase(base string) (string, error) {
	if base == "" {
		return "", nil
	}
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil ||
		strings.ContainsAny(base, "?#") {
		return "", fmt.Errorf("--base %q: want https://host, without query and fragment", base)
	}
	return strings.TrimRight(base, "/"), nil
}
