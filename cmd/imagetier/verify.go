package main

import (
	"context"
	"encoding/json"

	"github.com/novasocial/imagetier/internal/program"
)

// verifyCmd checks URLs.
type verifyCmd struct {
	URLs []string `arg:"" name:"url" help:"URLs, or paths from /i/ on; - reads them from standard input."`
	JSON bool     `name:"json" help:"Print JSON, one object a line."`

	settingsOf
}

// Help implements kong.HelpProvider.
func (verifyCmd) Help() string {
	return `Checks the signature of each URL and explains its parts, without asking the tier. Exits with 1 if one ` +
		`is invalid. Host, query and fragment of a URL are ignored, as the tier does.

    imagetier verify --keys k1=HEX /i/k1.Jf3kPq0u2mVbXyWc8tRz1A/640x640-cover/v.1/posts/2026/11/abc.jpg.webp
    imagetier verify --json - < urls.txt`
}

// Run verifies.
func (c *verifyCmd) Run(ctx context.Context, p *program.Process) error {
	cfg, signer, err := c.loadSigner(p)
	if err != nil {
		return err
	}
	ids := keyIDs(cfg.Keys)
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
