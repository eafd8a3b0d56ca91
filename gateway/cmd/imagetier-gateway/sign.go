package main

import (
	"bufio"
	"fmt"
	"strings"
	"time"

	"github.com/novasocial/imagetier/gateway/cmd/imagetier-gateway/internal/config"
	"github.com/novasocial/imagetier/gateway/imagelink"
	"github.com/novasocial/imagetier/internal/program"
)

// signCmd prints signed URLs.
type signCmd struct {
	URL     []string  `arg:"" name:"url" help:"Plain image URLs; - reads them from standard input, one a line."`
	Profile string    `default:"feed" placeholder:"NAME" help:"Profile of the thumbnail (default: ${default})."`
	Client  string    `default:"jpg@1x" placeholder:"FORMAT@SCALE" help:"Client, as in X-Image-Client: webp@3x (default: ${default})."`
	Created time.Time `format:"2006-01-02" placeholder:"DATE" help:"Day on which the post was created, which selects the key. Without it the first key signs."`
	Public  bool      `help:"The post is public: its URL never expires."`

	commandSettings
}

// Help implements kong.HelpProvider.
func (signCmd) Help() string {
	return `Prints what proxy and serve put into their answers, with the same settings: one signed URL a line.

    imagetier-gateway sign --config gateway.yaml --client webp@3x https://cdn.app.example/2026/11/abc.jpg

For ?version=etag the tier is not asked: the URL is that of the live original. Exits with 2 for a URL that no ` +
		`--image-prefix maps.`
}

// Run signs.
func (c *signCmd) Run(p *program.Process) error {
	cfg, _, err := config.Load(c.purpose, c.Input(p))
	if err != nil {
		return err
	}
	client, err := imagelink.ParseClient(c.Client, imagelink.Client{})
	if err != nil {
		return program.UsageError{Err: fmt.Errorf("--client: %w", err)}
	}
	linker, err := (&gateway{cfg: cfg}).newLinker()
	if err != nil {
		return err
	}
	sign := func(plain string) error {
		minted, err := linker.Mint(client, c.Profile, plain, imagelink.Post{Created: c.Created, Public: c.Public})
		if err != nil {
			return program.UsageError{Err: fmt.Errorf("%q: %w", plain, err)}
		}
		_, err = fmt.Fprintln(p.Stdout, minted.URL)
		return err
	}
	for _, plain := range c.URL {
		if plain != "-" {
			if err := sign(plain); err != nil {
				return err
			}
			continue
		}
		lines := bufio.NewScanner(p.Stdin)
		for lines.Scan() {
			plain := strings.TrimSpace(lines.Text())
			if plain == "" {
				continue
			}
			if err := sign(plain); err != nil {
				return err
			}
		}
		if err := lines.Err(); err != nil {
			return fmt.Errorf("read standard input: %w", err)
		}
	}
	return nil
}
