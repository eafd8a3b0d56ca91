package config

import (
	"errors"
	"fmt"

	"github.com/novasocial/imagetier/internal/settings"
	"github.com/novasocial/imagetier/origin/sourceurl"
)

// Derived is where the nodes of a fleet share what they made; the zero value is nowhere.
type Derived struct {
	URL  sourceurl.Source // of kind S3
	Text string           // as it was given; it has no secret in it
}

// Set reports whether there is one.
func (d Derived) Set() bool { return d.Text != "" }

func addFleet(add func(settings.Setting), group string, c *Config) {
	add(settings.Setting{Name: "derived", Group: group, Placeholder: "URL", Value: derivedURL(&c.Derived),
		Help: "A store of made variants that nodes share: s3://bucket/prefix?region=&endpoint=&path-style=true. More than one node needs --nats too, which has purges reach all of them."})
}

// derivedURL reads what a source over S3 is, without what only a source has.
func derivedURL(p *Derived) settings.Value {
	return settings.Func(func(text string) error {
		if text == "" {
			*p = Derived{}
			return nil
		}
		parsed, err := sourceurl.Parse(text)
		switch {
		case err != nil:
			return err
		case parsed.Kind != sourceurl.S3:
			return errors.New("want s3://bucket/prefix")
		case parsed.Originals || parsed.MissingIs403:
			return fmt.Errorf("%q: originals and missing are settings of sources", text)
		}
		*p = Derived{URL: parsed, Text: text}
		return nil
	}, func() string { return p.Text })
}
