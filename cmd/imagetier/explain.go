package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/adminclient"
	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/program"
)

// explainCmd tells what a URL means.
type explainCmd struct {
	URL     string        `arg:"" name:"url" help:"A whole URL, or a path from /i/ on."`
	Local   bool          `help:"Do not ask the tier: tell what the URL says by itself."`
	Timeout time.Duration `default:"5s" placeholder:"TIME" help:"How long to wait for the tier (${default})."`
	JSON    bool          `name:"json" help:"Print an object."`

	settingsOf
}

// Help teaches by example.
func (explainCmd) Help() string {
	return `Asks the tier that runs with the same settings (its private listener) what it makes of the URL: signature, parts, key, where it is held, how old, what the origin last said. Where the tier does not answer, what the URL says by itself is told; its signature is then checked only if keys are configured. Exits with 1 if it is no image URL.

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
		said, err := c.askTier(ctx, cfg)
		if err == nil {
			return c.print(p, said)
		}
		fmt.Fprintf(p.Stderr, "imagetier: the tier was not asked (%v); this is what the URL says by itself:\n", err)
	}
	return c.local(p, cfg)
}

// local tells what can be told without a tier.
func (c *explainCmd) local(p *program.Process, cfg config.Config) error {
	signer, err := cfg.Signer()
	var ids map[string]bool
	if err != nil {
		signer = nil // without keys
	} else {
		ids = idsOf(cfg.Keys)
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

func idsOf(keys []imageurl.Key) map[string]bool {
	ids := map[string]bool{}
	for _, k := range keys {
		ids[k.ID] = true
	}
	return ids
}

// explanation is what is read of the answer of /v1/explain; edge makes it.
type explanation struct {
	URL       string
	Path      string
	Signature struct{ Verdict, Key, Detail string }
	Error     string
	Ref       *struct {
		Source, Name, Version, Shape, Format string
		Pinned                               bool
	}
	Status   int
	Why      string
	Variants []struct {
		Class, Key string
		Held       []explainedHeld
	}
	LastAsked *struct {
		At     time.Time
		Status int
		Error  string
	} `json:"last_origin"`

	raw []byte
}

// explainedHeld is one thing that the tier holds of a variant.
type explainedHeld struct {
	Where       string
	Error       string
	Bytes       int64
	ContentType string `json:"content_type"`
	ETag        string
	Freshness   string
	TTL         int64  `json:"ttl_seconds"`
	Age         *int64 `json:"age_seconds"`
}

func (h explainedHeld) text() string {
	if h.Error != "" {
		return h.Where + ": " + h.Error
	}
	facts := []string{fmt.Sprintf("%d bytes", h.Bytes), h.ContentType}
	if h.ETag != "" {
		facts = append(facts, "ETag "+h.ETag)
	}
	facts = append(facts, h.Freshness)
	if h.Age != nil {
		facts = append(facts, fmt.Sprintf("%s old, fresh for %s", seconds(*h.Age), seconds(h.TTL)))
	}
	return h.Where + ": " + strings.Join(facts, ", ")
}

func (c *explainCmd) askTier(ctx context.Context, cfg config.Config) (*explanation, error) {
	tier := adminclient.Client{Listen: cfg.PrivateListen, Timeout: c.Timeout}
	status, body, err := tier.Get(ctx, "/v1/explain?"+url.Values{"url": {c.URL}}.Encode())
	var answer *url.Error
	switch {
	case errors.As(err, &answer):
		return nil, answer.Err
	case err != nil:
		return nil, err
	case status != http.StatusOK:
		return nil, fmt.Errorf("it answers %d: %s", status, adminclient.OneLine(body))
	}
	said := &explanation{raw: body}
	if err := json.Unmarshal(body, said); err != nil {
		return nil, fmt.Errorf("read its answer: %w", err)
	}
	return said, nil
}

func (c *explainCmd) print(p *program.Process, said *explanation) error {
	var err error
	if c.JSON {
		var line bytes.Buffer
		if err = json.Compact(&line, said.raw); err == nil {
			_, err = fmt.Fprintln(p.Stdout, line.String())
		}
	} else {
		_, err = io.WriteString(p.Stdout, said.text())
	}
	if err == nil && (said.Error != "" || said.Ref == nil) {
		return program.Failed
	}
	return err
}

func (e *explanation) text() string {
	var b strings.Builder
	fmt.Fprintln(&b, printable(e.Path))
	row := func(name, format string, args ...any) {
		if text := fmt.Sprintf(format, args...); text != "" {
			fmt.Fprintf(&b, "  %-9s  %s\n", name, text)
		}
	}
	row("signature", "%s", e.Signature.Detail)
	if e.Error != "" || e.Ref == nil {
		row("why", "%s", e.Error)
		return b.String()
	}
	row("source", "%s", e.Ref.Source)
	row("name", "%s", printable(e.Ref.Name))
	row("version", "%s", versionText(e.Ref.Version))
	row("variant", "%s", strings.TrimSuffix(e.Ref.Shape+"."+e.Ref.Format, "."))
	row("answer", "%s", strings.TrimSpace(fmt.Sprintf("%d %s", e.Status, e.Why)))
	for _, v := range e.Variants {
		name := "held"
		if v.Class != "" {
			name = v.Class
		}
		if len(v.Held) == 0 {
			row(name, "nowhere: the next request makes it")
		}
		for _, h := range v.Held {
			row(name, "%s", h.text())
		}
	}
	if last := e.LastAsked; last != nil {
		row("origin", "asked at %s: %s", last.At.Format(time.RFC3339), strings.TrimSpace(fmt.Sprintf("%s %s", nonZero(last.Status), last.Error)))
	}
	return b.String()
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }

func nonZero(status int) string {
	if status == 0 {
		return ""
	}
	return fmt.Sprint(status)
}
