package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/novasocial/imagetier/internal/adminclient"
	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/program"
)

// explainCmd explains a URL.
type explainCmd struct {
	URL     string        `arg:"" name:"url" help:"A URL, or a path from /i/ on."`
	Local   bool          `help:"Do not ask the tier; only parse the URL."`
	Timeout time.Duration `default:"5s" placeholder:"TIME" help:"How long to wait for the tier (default: ${default})."`
	JSON    bool          `name:"json" help:"Print JSON."`

	settingsOf
}

// Help implements kong.HelpProvider.
func (explainCmd) Help() string {
	return `Asks the tier that runs with the same settings (its private listener) about a URL: signature, parts, ` +
		`cache key, where it is cached, its age, and the last answer of the origin. If the tier does not answer, ` +
		`only the URL is parsed, and its signature is checked if keys are configured. Exits with 1 if it is not an ` +
		`image URL.

    imagetier explain https://img.example.com/i/k1.Jf3kPq0u2mVbXyWc8tRz1A/640x640-cover/v.1/posts/abc.jpg.webp
    imagetier explain --json /i/...`
}

// Run explains.
func (c *explainCmd) Run(ctx context.Context, p *program.Process) error {
	cfg, _, err := c.load(p)
	if err != nil {
		return err
	}
	if !c.Local {
		tier := adminclient.Client{Listen: cfg.PrivateListen, Timeout: c.Timeout}
		e, err := tier.Explain(ctx, c.URL)
		if err == nil {
			return c.print(p, e)
		}
		fmt.Fprintf(p.Stderr, "imagetier: asking the tier failed (%v); this is what the URL alone says:\n", err)
	}
	return c.explainLocally(p, cfg)
}

// explainLocally prints what can be said without a tier.
func (c *explainCmd) explainLocally(p *program.Process, cfg config.Config) error {
	signer, err := cfg.Signer()
	var ids map[string]bool
	if err != nil {
		signer = nil // no keys are configured
	} else {
		ids = keyIDs(cfg.Keys)
	}
	v := readURL(signer, ids, c.URL)
	if c.JSON {
		err = json.NewEncoder(p.Stdout).Encode(v)
	} else {
		err = v.print(p.Stdout)
	}
	if err == nil && !v.Good {
		return program.Failed
	}
	return err
}

func (c *explainCmd) print(p *program.Process, e adminclient.Explanation) (err error) {
	if c.JSON {
		err = printCompact(p, e.JSON)
	} else {
		_, err = io.WriteString(p.Stdout, explanationText(e))
	}
	if err == nil && (e.Error != "" || e.Ref == nil) {
		return program.Failed
	}
	return err
}

func explanationText(e adminclient.Explanation) string {
	var b strings.Builder
	fmt.Fprintln(&b, printable(e.Path))
	row := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "  %-9s  %s\n", name, text)
		}
	}
	row("signature", e.Signature.Detail)
	if e.Error != "" || e.Ref == nil {
		row("why", e.Error)
		return b.String()
	}
	row("source", e.Ref.Source)
	row("name", printable(e.Ref.Name))
	row("version", versionText(e.Ref.Version))
	row("variant", strings.TrimSuffix(e.Ref.Shape+"."+e.Ref.Format, "."))
	row("answer", strings.TrimSpace(fmt.Sprintf("%d %s", e.Status, e.Why)))
	for _, v := range e.Variants {
		name := "cached"
		if v.Class != "" {
			name = v.Class
		}
		if len(v.Held) == 0 {
			row(name, "no: the next request makes it")
		}
		for _, copied := range v.Held {
			row(name, heldText(copied))
		}
	}
	if last := e.LastOrigin; last != nil {
		result := last.Error
		if last.Status != 0 {
			result = strings.TrimSpace(fmt.Sprintf("%d %s", last.Status, last.Error))
		}
		row("origin", fmt.Sprintf("requested at %s: %s", last.At.Format(time.RFC3339), result))
	}
	return b.String()
}

func heldText(h adminclient.HeldCopy) string {
	if h.Error != "" {
		return h.Where + ": " + h.Error
	}
	facts := []string{fmt.Sprintf("%d bytes", h.Bytes), h.ContentType}
	if h.ETag != "" {
		facts = append(facts, "ETag "+h.ETag)
	}
	if h.SoftPurged {
		h.Freshness += " (soft purge)"
	}
	facts = append(facts, h.Freshness)
	if h.Age != nil {
		facts = append(facts, fmt.Sprintf("%s old, fresh for %s", seconds(*h.Age), seconds(h.TTL)))
	}
	return h.Where + ": " + strings.Join(facts, ", ")
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }
