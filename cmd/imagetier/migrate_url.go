package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/migrate"
	"github.com/novasocial/imagetier/internal/program"
	"github.com/novasocial/imagetier/resize"
)

// migrateURLCmd prints signed URLs for those of other services.
type migrateURLCmd struct {
	From    string   `required:"" enum:"imgproxy,thumbor,imagor" placeholder:"SERVICE" help:"Service of the URLs: imgproxy, thumbor or imagor."`
	Source  string   `required:"" placeholder:"NAME" help:"Name of the source that has the originals."`
	Strip   string   `placeholder:"PREFIX" help:"Beginning of image URLs, such as s3://bucket/; the rest is the name in the source."`
	Version string   `default:"live" placeholder:"VERSION" help:"Version of the originals, as for sign. A cache buster in a URL counts instead, as v.TOKEN."`
	Format  string   `default:"auto" placeholder:"FORMAT" help:"Format where the URL names none."`
	Base    string   `placeholder:"URL" help:"Print URLs that begin with this instead of paths."`
	JSON    bool     `name:"json" help:"Print JSON, one object a line."`
	URLs    []string `arg:"" name:"url" help:"URLs, or paths with the signature; - reads them from standard input."`

	settingsOf
}

// Help implements kong.HelpProvider.
func (migrateURLCmd) Help() string {
	return `Prints the signed URL that makes about the same variant as a URL of another service. Signatures of those ` +
		`are not checked. A URL with an option that has no equivalent is an error that names it; exits with 1 then.

    imagetier migrate-url --keys k1=HEX --from imgproxy --source posts --strip s3://bucket/ \
        /sig/rs:fill:300:200/plain/s3://bucket/a.jpg@webp
    imagetier migrate-url --keys k1=HEX --from thumbor --source posts - < urls.txt`
}

// migratedURL is what migrate-url prints with --json.
type migratedURL struct {
	From  string `json:"from"`
	To    string `json:"to,omitempty"`
	Error string `json:"error,omitempty"`
}

// Run migrates.
func (c *migrateURLCmd) Run(ctx context.Context, p *program.Process) error {
	_, signer, err := c.loadSigner(p)
	if err != nil {
		return err
	}
	base, err := parseBase(c.Base)
	if err != nil {
		return program.UsageError{Err: err}
	}
	format, err := resize.ParseFormat(c.Format)
	if err != nil {
		return program.UsageError{Err: fmt.Errorf("--format: %w", err)}
	}
	failed := false
	err = eachLine(ctx, p, c.URLs, func(text string) error {
		to, err := c.migrate(signer, format, text)
		result := migratedURL{From: text, To: base + to}
		if err != nil {
			failed = true
			result = migratedURL{From: text, Error: err.Error()}
		}
		switch {
		case c.JSON:
			return json.NewEncoder(p.Stdout).Encode(result)
		case err != nil:
			_, err = fmt.Fprintf(p.Stderr, "%s: %v\n", printable(text), err)
			return err
		}
		_, err = fmt.Fprintln(p.Stdout, result.To)
		return err
	})
	if err == nil && failed {
		return program.Failed
	}
	return err
}

// migrate returns the signed path for a URL.
func (c *migrateURLCmd) migrate(signer *imageurl.Signer, format resize.Format, text string) (string, error) {
	img, err := migrate.Parse(c.From, text)
	if err != nil {
		return "", err
	}
	spec, err := img.Canonical(format)
	if err != nil {
		return "", err
	}
	name, ok := strings.CutPrefix(img.Name, c.Strip)
	if !ok {
		return "", fmt.Errorf("the image %q does not begin with %q (--strip)", img.Name, c.Strip)
	}
	version, err := parseVersion(c.Version)
	if img.Version != "" {
		version, err = imageurl.NewVersion(imageurl.Trusted, img.Version)
	}
	if err != nil {
		return "", err
	}
	ref, err := imageurl.NewRef(c.Source, name, version, spec)
	if err != nil {
		return "", err
	}
	return signer.Sign(ref, imageurl.SignOptions{Expires: img.Expires})
}
